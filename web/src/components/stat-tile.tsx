import { useQuery } from "@tanstack/react-query";
import { queryInstant } from "../api/client";
import { formatNumber, parseSampleValue } from "../lib/format";
import type { Stat } from "../lib/live-panels";

/** Shares of the limit from which a bar warns, and from which it alarms. */
const WARN_AT = 0.75;
const ALARM_AT = 0.9;

function level(share: number): string {
  if (share >= ALARM_AT) return "alarm";
  return share >= WARN_AT ? "warn" : "fine";
}

/** One number that is asked for every second, with a bar where it has a limit. */
export function StatTile({ stat }: { stat: Stat }): React.JSX.Element {
  const { data, error } = useQuery({
    queryKey: ["stat", stat.expr],
    queryFn: async ({ signal }) => {
      const { value } = await queryInstant(stat.expr, undefined, signal);
      const sample = value.resultType === "vector" ? value.result[0]?.value : undefined;
      return sample ? parseSampleValue(sample[1]) : null;
    },
    refetchInterval: 1_000,
    placeholderData: (previous) => previous,
  });
  const share = stat.limit === undefined ? undefined : Math.min(1, (data ?? 0) / stat.limit);
  return (
    <div
      className="stat"
      data-testid={`stat-${stat.id}`}
      data-stale={error !== null}
      title={error?.message}
    >
      <div className="stat-title">{stat.title}</div>
      <div className="stat-value">{formatNumber(data ?? null, stat.unit)}</div>
      {share === undefined || Number.isNaN(share) ? (
        <div className="stat-bar none" />
      ) : (
        <div className="stat-bar" data-level={level(share)}>
          <div style={{ transform: `scaleX(${share})` }} />
        </div>
      )}
    </div>
  );
}
