import { useIntersection } from "@mantine/hooks";
import { memo, useMemo, useState } from "react";
import { type LiveFrames, useLive } from "../api/live";
import { mutedColor, seriesColor } from "../lib/colors";
import { growingStart, lastValue } from "../lib/frame";
import type { Panel } from "../lib/live-panels";
import { seriesName } from "../lib/names";
import { exploreHref } from "../lib/url-state";
import { Chart } from "./chart";
import type { ChartLook, Line } from "./chart-options";
import { ExploreIcon } from "./icons";
import { Legend, toggleHidden } from "./legend";
import { followLink } from "./shell";
import { useTheme } from "./use-theme";

interface LivePanelProps {
  panel: Panel;
  /** The range as in addresses, `now-5m`. */
  from: string;
  rangeMs: number;
  stepMs: number;
}

const HEIGHT = 168;
const SYNC_KEY = "overview";
const NO_TIMES: number[] = [];

/** Returns all lines of a panel on the times of its first query; every query has the same grid. */
function panelLines(panel: Panel, data: LiveFrames | undefined, theme: "light" | "dark"): Line[] {
  const lines: Omit<Line, "color">[] = [];
  panel.queries.forEach((query, index) => {
    for (const series of data?.frames[index]?.series ?? []) {
      const label = "label" in query.name ? series.labels[query.name.label] : query.name.text;
      const name = label ?? seriesName(series.labels);
      lines.push({ key: `${index}:${series.key}`, name, values: series.values });
    }
  });
  const order = panel.order;
  if (order) {
    const rank = (name: string): number =>
      (order.indexOf(name) + order.length + 1) % (order.length + 1);
    lines.sort((a, b) => rank(a.name) - rank(b.name) || (a.name < b.name ? -1 : 1));
  }
  const muted = panel.muted;
  return lines.map((line, index) => {
    const color = line.name === muted ? mutedColor(theme) : seriesColor(index, theme);
    return { ...line, color };
  });
}

/** A chart that follows its queries, with its legend. It rests while it is outside the screen. */
export const LivePanel = memo(function LivePanel(props: LivePanelProps): React.JSX.Element {
  const { panel, from, rangeMs, stepMs } = props;
  const theme = useTheme();
  const { ref, entry } = useIntersection<HTMLElement>({ rootMargin: "200px" });
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);
  const visible = entry?.isIntersecting ?? false;
  const { data, error } = useLive({ panel, rangeMs, stepMs, enabled: visible });

  const all = useMemo(() => panelLines(panel, data, theme), [panel, data, theme]);
  const lines = useMemo(() => all.filter((line) => !hidden.has(line.key)), [all, hidden]);
  const look = useMemo((): ChartLook => {
    return {
      theme,
      unit: panel.unit,
      stacked: panel.stacked,
      filled: all.length <= 1,
      yMin: panel.yMin,
      yMax: panel.yMax,
      syncKey: SYNC_KEY,
      zoomable: false,
    };
  }, [theme, panel, all.length]);
  const items = all.map((line) => ({
    ...line,
    value: cursor === null ? lastValue(line.values) : (line.values[cursor] ?? null),
  }));
  const keys = all.map((line) => line.key);
  const times = data?.frames[0]?.times ?? NO_TIMES;
  const end = data?.grid.endMs ?? 0;
  const start = data ? growingStart(data.frames, data.grid) : end;
  const message = data
    ? all.length === 0 && !error && "No data for this chart yet."
    : (error?.message ?? "Loading");
  return (
    <section ref={ref} className={panel.wide ? "panel wide" : "panel"} aria-label={panel.title}>
      <div className="panel-head">
        <h3>{panel.title}</h3>
        {data && error && (
          <span className="panel-stale" title={error.message}>
            not updating
          </span>
        )}
        <a
          className="panel-link"
          href={exploreHref(
            panel.queries.map((query) => query.expr),
            { from, to: "now" },
          )}
          onClick={followLink}
          aria-label={`Open ${panel.title} in Explore`}
          title="Open in Explore"
        >
          <ExploreIcon size={14} />
        </a>
      </div>
      <div className="panel-chart">
        <Chart
          label={panel.title}
          times={times}
          lines={lines}
          look={look}
          window={{ min: start, max: end / 1_000 }}
          height={HEIGHT}
          onCursor={setCursor}
        />
        {message && <div className="panel-message">{message}</div>}
      </div>
      <Legend
        items={items}
        unit={panel.unit}
        hidden={hidden}
        onToggle={(key, only) => setHidden((old) => toggleHidden(old, keys, { key, only }))}
      />
    </section>
  );
});
