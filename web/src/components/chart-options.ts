import uPlot from "uplot";
import { spreadOut } from "../lib/axis";
import { type Theme, withAlpha } from "../lib/colors";
import { formatNumber, type Unit } from "../lib/format";
import { isolatedPoints } from "../lib/frame";
import { formatAxisTimes } from "../lib/time";

/** A line of a chart. */
export interface Line {
  key: string;
  name: string;
  color: string;
  values: (number | null)[];
}

/** What a chart looks like, apart from its data. */
export interface ChartLook {
  theme: Theme;
  unit: Unit;
  stacked: boolean;
  /** Fills the area below single lines lightly. */
  filled: boolean;
  /** The axis reaches at least this far. */
  yMin?: number | undefined;
  yMax?: number | undefined;
  /** Charts with the same key share the pointer's time. */
  syncKey?: string | undefined;
  zoomable: boolean;
}

const AXIS_FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** Left axes of all charts are this wide, so that charts above each other line up. */
const AXIS_WIDTH = 62;

const BINARY_STEPS = Array.from({ length: 62 }, (_, power) => 2 ** power);

function axisColors(theme: Theme): { text: string; grid: string } {
  return theme === "dark"
    ? { text: "#8d97a5", grid: "#ffffff14" }
    : { text: "#66707e", grid: "#10182812" };
}

function yRange(look: ChartLook): uPlot.Range.Function {
  return (_chart, low, high) => {
    if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) {
      return [look.yMin ?? 0, look.yMax ?? 1];
    }
    const lowest = Math.min(low, look.yMin ?? low);
    const [bottom, top] = spreadOut(lowest, Math.max(high, look.yMax ?? high));
    const fixedBottom = look.yMin !== undefined && low >= look.yMin;
    const fixedTop = look.yMax !== undefined && high <= look.yMax * 1.001;
    const [padLow, padHigh] = uPlot.rangeNum(bottom, top, {
      min: { pad: 0.08, soft: 0, mode: 3 },
      max: { pad: 0.08, soft: 0, mode: 3 },
    });
    return [
      fixedBottom ? (look.yMin ?? 0) : (padLow ?? bottom),
      fixedTop ? (look.yMax ?? 1) : (padHigh ?? top),
    ];
  };
}

function series(line: Line, look: ChartLook): uPlot.Series {
  const fillAlpha = look.stacked ? 0.55 : look.filled ? 0.12 : 0;
  return {
    label: line.name,
    stroke: line.color,
    width: look.stacked ? 1 : 1.5,
    ...(fillAlpha > 0 ? { fill: withAlpha(line.color, fillAlpha) } : {}),
    spanGaps: false,
    points: {
      show: true,
      size: 5,
      fill: line.color,
      filter: (chart, index) => isolatedPoints(chart.data[index] ?? []),
    },
  };
}

/** Returns the options of a chart of the given lines. */
export function chartOptions(
  lines: Line[],
  look: ChartLook,
  size: { width: number; height: number },
): uPlot.Options {
  const colors = axisColors(look.theme);
  const axis = {
    stroke: colors.text,
    font: AXIS_FONT,
    grid: { stroke: colors.grid, width: 1 },
    ticks: { show: false },
  };
  const binary = look.unit === "bytes" || look.unit === "bytes-per-second";
  const stackedBands = lines.slice(1).map((_, index): uPlot.Band => {
    return { series: [index + 2, index + 1] };
  });
  return {
    ...size,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { size: 7, width: 1.5 },
      drag: { x: look.zoomable, y: false, setScale: false },
      ...(look.syncKey ? { sync: { key: look.syncKey, scales: ["x", null] } } : {}),
    },
    scales: {
      x: { time: true, range: (_chart, low, high) => [low, high] },
      y: { range: yRange(look) },
    },
    axes: [
      {
        ...axis,
        size: 26,
        gap: 6,
        space: 52,
        values: (_chart, splits, _axis, _space, increment) => formatAxisTimes(splits, increment),
      },
      {
        ...axis,
        size: AXIS_WIDTH,
        gap: 6,
        space: 28,
        ...(binary ? { incrs: BINARY_STEPS } : {}),
        values: (_chart, splits) => splits.map((value) => formatNumber(value, look.unit)),
      },
    ],
    // Bands fill from each stacked line down to the one below it.
    ...(look.stacked ? { bands: stackedBands } : {}),
    series: [{}, ...lines.map((line) => series(line, look))],
  };
}
