import { SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { queryInstant } from "../api/client";
import { LivePanel } from "../components/live-panel";
import { navigate, useSearch } from "../components/router";
import { useSession } from "../components/session";
import { StatTile } from "../components/stat-tile";
import { serverPanels, serverStats } from "../lib/server-panels";
import { chooseStep } from "../lib/step";
import { parseDuration } from "../lib/time";
import { SERVER_PATH } from "../lib/views";

const RANGES = ["5m", "15m", "1h", "6h", "24h"];
const RANGE_DEFAULT = "15m";
/** Points per series. */
const POINTS = 240;
/** How often it is looked for own series where there are none. */
const LOOK_EVERY_MS = 10_000;

/** TinyObs itself: what it does, how long that takes, and what it refuses. */
export function Server(): React.JSX.Element {
  const { tenant } = useSession();
  const asked = new URLSearchParams(useSearch()).get("range") ?? "";
  const range = RANGES.includes(asked) ? asked : RANGE_DEFAULT;
  const rangeMs = parseDuration(range) ?? 900_000;
  const stepMs = chooseStep(rangeMs, POINTS);
  const groups = useMemo(() => serverPanels(stepMs), [stepMs]);
  const own = useQuery({
    queryKey: ["own-series"],
    queryFn: async ({ signal }) => {
      const { value } = await queryInstant("count(tinyobs_build_info)", undefined, signal);
      return value.resultType === "vector" && value.result.length > 0;
    },
    refetchInterval: (query) => (query.state.data ? false : LOOK_EVERY_MS),
  });
  return (
    <div className="overview">
      <div className="bar">
        <h1 className="title">Server</h1>
        <span className="subtle">TinyObs itself</span>
        <SegmentedControl
          className="bar-end"
          aria-label="Time range"
          size="xs"
          data={RANGES}
          value={range}
          onChange={(value) => {
            const href = value === RANGE_DEFAULT ? SERVER_PATH : `${SERVER_PATH}?range=${value}`;
            navigate(href, { replace: true });
          }}
        />
      </div>
      {own.data === false && (
        <p className="empty" role="status">
          The tenant <code>{tenant}</code> has no series of TinyObs itself. The built-in collector
          writes them into the tenant <code>default</code> unless <code>collector.enabled</code> is{" "}
          <code>false</code>.
        </p>
      )}
      <div className="stats">
        {serverStats().map((stat) => (
          <StatTile key={stat.id} stat={stat} />
        ))}
      </div>
      {groups.map(({ title, panels }) => (
        <section key={title} aria-label={title}>
          <h2 className="section">{title}</h2>
          <div className="grid">
            {panels.map((panel) => (
              <LivePanel
                key={panel.id}
                panel={panel}
                from={`now-${range}`}
                rangeMs={rangeMs}
                stepMs={stepMs}
              />
            ))}
          </div>
        </section>
      ))}
    </div>
  );
}
