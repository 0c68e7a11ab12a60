import { NativeSelect } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { settings, usage } from "../../api/admin";
import { serverNow } from "../../api/clock";
import type { Limits, Setting, UsageDay } from "../../api/types";
import { Chart } from "../../components/chart";
import type { ChartLook, Line } from "../../components/chart-options";
import { Legend } from "../../components/legend";
import { ListState } from "../../components/list-state";
import { useSession } from "../../components/session";
import { useTheme } from "../../components/use-theme";
import { mutedColor, seriesColor } from "../../lib/colors";
import { formatCount, formatNumber } from "../../lib/format";
import { lastValue } from "../../lib/frame";
import { managesServer } from "../../lib/session";
import {
  amountOf,
  daySeconds,
  effectiveLimit,
  everyDay,
  type Share,
  shares,
  USAGE_KINDS,
  type UsageKind,
} from "../../lib/usage";

const DAYS_CHOICES = [7, 30, 90];
const DAYS_DEFAULT = 30;
const HEIGHT = 150;
/** Half a day on both sides, so that the first and last day are not cut. */
const MARGIN_S = 43_200;
const NOT_KNOWN: Setting[] = [];
const NONE_HIDDEN: ReadonlySet<string> = new Set();

interface DaysChartProps {
  kind: UsageKind;
  days: UsageDay[];
  limits: Limits;
  /** The server's settings, as far as they may be seen. */
  known: Setting[];
}

function DaysChart({ kind, days, limits, known }: DaysChartProps): React.JSX.Element {
  const theme = useTheme();
  const limit = kind.limit === undefined ? null : effectiveLimit(limits, kind.limit, known);
  const times = useMemo(() => days.map((day) => daySeconds(day.day)), [days]);
  const lines = useMemo((): Line[] => {
    const used = days.map((day) => amountOf(day, kind));
    const lines = [{ key: "used", name: "used", color: seriesColor(0, theme), values: used }];
    if (limit !== null) {
      const flat = days.map(() => limit);
      lines.push({ key: "limit", name: "limit", color: mutedColor(theme), values: flat });
    }
    return lines;
  }, [days, kind, limit, theme]);
  const look: ChartLook = {
    theme,
    unit: kind.unit,
    stacked: false,
    filled: limit === null,
    yMin: 0,
    syncKey: "usage",
    zoomable: false,
  };
  const items = lines.map((line) => ({ ...line, value: lastValue(line.values) }));
  return (
    <section className="panel" aria-label={kind.title}>
      <div className="panel-head">
        <h3>{kind.title}</h3>
      </div>
      <Chart
        label={`${kind.title} by day`}
        times={times}
        lines={lines}
        look={look}
        window={{ min: (times[0] ?? 0) - MARGIN_S, max: (times.at(-1) ?? 0) + MARGIN_S }}
        height={HEIGHT}
      />
      <Legend items={items} unit={kind.unit} hidden={NONE_HIDDEN} onToggle={() => undefined} />
    </section>
  );
}

function ShareTile({ share }: { share: Share }): React.JSX.Element {
  const part = share.limit === null ? undefined : Math.min(1, share.used / share.limit);
  const level = (part ?? 0) >= 0.9 ? "alarm" : (part ?? 0) >= 0.75 ? "warn" : "fine";
  return (
    <div className="stat">
      <div className="stat-title">{share.title}</div>
      <div className="stat-value">
        {formatNumber(share.used, share.unit)}
        <small className="subtle">
          {share.limit === null ? "" : ` of ${formatNumber(share.limit, share.unit)}`}
        </small>
      </div>
      {part === undefined ? (
        <div className="stat-bar none" />
      ) : (
        <div className="stat-bar" data-level={level}>
          <div style={{ transform: `scaleX(${part})` }} />
        </div>
      )}
    </div>
  );
}

/** What the tenant used on each day, against what it may use. */
export function UsageOfTenant(): React.JSX.Element {
  const { session } = useSession();
  const [count, setCount] = useState(DAYS_DEFAULT);
  const found = useQuery({
    queryKey: ["usage", count],
    queryFn: ({ signal }) => usage(count, signal),
    refetchInterval: 30_000,
    placeholderData: (previous) => previous,
  });
  const days = useMemo(
    () => (found.data ? everyDay(found.data.days, count, serverNow()) : []),
    [found.data, count],
  );
  const limits = found.data?.limits ?? {};
  const inForce = useQuery({
    queryKey: ["settings"],
    queryFn: ({ signal }) => settings(signal),
    enabled: managesServer(session),
  });
  const known = inForce.data ?? NOT_KNOWN;
  return (
    <>
      <div className="admin-tools">
        <NativeSelect
          size="xs"
          aria-label="Days"
          data={DAYS_CHOICES.map((each) => ({ value: String(each), label: `${each} days` }))}
          value={String(count)}
          onChange={(event) => setCount(Number(event.currentTarget.value))}
        />
        <span className="subtle">Days are those of UTC.</span>
      </div>
      <ListState query={found} count={days.length} empty="Nothing was used.">
        <div className="stats shares">
          {(found.data ? shares(found.data, days.at(-1), known) : []).map((share) => (
            <ShareTile key={share.title} share={share} />
          ))}
        </div>
        <h2 className="visually-hidden">By day</h2>
        <div className="grid">
          {USAGE_KINDS.map((kind) => (
            <DaysChart key={kind.key} kind={kind} days={days} limits={limits} known={known} />
          ))}
        </div>
        <details className="numbers">
          <summary>The numbers</summary>
          <div className="table-scroll">
            <table className="admin-table">
              <thead>
                <tr>
                  <th scope="col">Day</th>
                  {USAGE_KINDS.map((kind) => (
                    <th key={kind.key} scope="col" className="number">
                      {kind.title}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {days.toReversed().map((day) => (
                  <tr key={day.day}>
                    <th scope="row">{day.day}</th>
                    {USAGE_KINDS.map((kind) => (
                      <td key={kind.key} className="number">
                        {formatCount(amountOf(day, kind))}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </details>
      </ListState>
    </>
  );
}
