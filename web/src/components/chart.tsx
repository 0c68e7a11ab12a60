import { useEffect, useLayoutEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatNumber } from "../lib/format";
import { drawable, stackColumns } from "../lib/frame";
import { formatDateTime } from "../lib/time";
import { type ChartLook, chartOptions, type Line } from "./chart-options";
import { ChartTooltip, type TooltipRow } from "./chart-tooltip";

interface ChartProps {
  /** What the chart shows, for those who cannot see it. */
  label: string;
  times: number[];
  lines: Line[];
  look: ChartLook;
  /** Seconds since the epoch of both ends of the time axis. */
  window: { min: number; max: number };
  height: number;
  /** Called with the index of the time under the pointer, or null. */
  onCursor?: ((index: number | null) => void) | undefined;
  /** Called with milliseconds when a part of the time axis was drawn over. */
  onZoom?: ((startMs: number, endMs: number) => void) | undefined;
}

/** What the callbacks of a living chart need from the latest rendering. */
interface Latest {
  lines: Line[];
  look: ChartLook;
  onCursor: ChartProps["onCursor"];
  onZoom: ChartProps["onZoom"];
}

function tooltipRows(chart: uPlot, index: number, latest: Latest): TooltipRow[] {
  const top = chart.cursor.top ?? -1;
  const rows: TooltipRow[] = [];
  let nearest: TooltipRow | undefined;
  let distance = Number.POSITIVE_INFINITY;
  latest.lines.forEach((line, position) => {
    const value = line.values[index];
    if (value === null || value === undefined) return;
    const text = formatNumber(value, latest.look.unit);
    const row = { name: line.name, color: line.color, value: text, size: value, nearest: false };
    rows.push(row);
    const drawn = chart.data[position + 1]?.[index];
    if (drawn == null) return;
    const away = Math.abs(chart.valToPos(drawn, "y") - top);
    if (away < distance) {
      distance = away;
      nearest = row;
    }
  });
  if (nearest && rows.length > 1) nearest.nearest = true;
  return rows;
}

function interactions(latest: { current: Latest }): uPlot.Plugin {
  let tooltip: ChartTooltip | undefined;
  let inside = false;
  const leave = (): void => {
    inside = false;
    tooltip?.hide();
    latest.current.onCursor?.(null);
  };
  return {
    hooks: {
      ready: (chart) => {
        tooltip = new ChartTooltip(chart);
        chart.over.addEventListener("mouseenter", () => {
          inside = true;
        });
        chart.over.addEventListener("mouseleave", leave);
      },
      setCursor: (chart) => {
        const { idx, left = -1, top = -1 } = chart.cursor;
        latest.current.onCursor?.(left < 0 || idx == null ? null : idx);
        if (!inside || left < 0 || idx == null) {
          tooltip?.hide();
          return;
        }
        const time = chart.data[0][idx];
        const rows = tooltipRows(chart, idx, latest.current);
        if (time === undefined || rows.length === 0) tooltip?.hide();
        else tooltip?.show(formatDateTime(time * 1_000), rows, { left, top });
      },
      setSelect: (chart) => {
        const { left, width } = chart.select;
        if (width < 4) return;
        const start = chart.posToVal(left, "x") * 1_000;
        const end = chart.posToVal(left + width, "x") * 1_000;
        chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        latest.current.onZoom?.(start, end);
      },
      destroy: () => tooltip?.destroy(),
    },
  };
}

function columns(times: number[], lines: Line[], stacked: boolean): uPlot.AlignedData {
  const values = lines.map((line) => line.values);
  const drawn = stacked ? stackColumns(values) : values.map(drawable);
  return [times, ...drawn];
}

/** Draws lines over time. It is rebuilt only when its lines or look change; new data is only set. */
export function Chart(props: ChartProps): React.JSX.Element {
  const { label, times, lines, look, window: span, height, onCursor, onZoom } = props;
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const latest = useRef<Latest>({ lines, look, onCursor, onZoom });
  latest.current = { lines, look, onCursor, onZoom };

  const shape = JSON.stringify([look, lines.map((line) => [line.key, line.name, line.color])]);
  const data = useMemo(() => columns(times, lines, look.stacked), [times, lines, look.stacked]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: shape stands for lines and look, which are new objects at each rendering
  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const size = { width: Math.max(50, element.clientWidth), height };
    const { lines: drawn, look: drawnLook } = latest.current;
    const options = chartOptions(drawn, drawnLook, size);
    const plot = new uPlot({ ...options, plugins: [interactions(latest)] }, undefined, element);
    chart.current = plot;
    const observer = new ResizeObserver(() => {
      const width = element.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
      chart.current = undefined;
    };
  }, [shape, height]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a rebuilt chart needs its data again
  useEffect(() => {
    const plot = chart.current;
    if (!plot) return;
    plot.batch(() => {
      plot.setData(data, false);
      plot.setScale("x", { min: span.min, max: span.max });
    });
  }, [data, span.min, span.max, shape, height]);

  const points = lines.reduce((most, line) => {
    return Math.max(
      most,
      line.values.reduce<number>((sum, v) => sum + (v === null ? 0 : 1), 0),
    );
  }, 0);
  return (
    <div
      ref={host}
      className="chart"
      role="img"
      aria-label={`${label}: ${lines.length} series`}
      data-testid="chart"
      data-series={lines.length}
      data-points={points}
      style={{ height }}
    />
  );
}
