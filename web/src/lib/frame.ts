import type { MatrixSeries } from "../api/types";
import { parseSampleValue } from "./format";
import { type Labels, seriesKey } from "./names";

/** The regular times a range query is evaluated at: both ends inclusive, milliseconds. */
export interface Grid {
  startMs: number;
  endMs: number;
  stepMs: number;
}

/** One series of a frame; `null` where there is no sample, which is drawn as a gap. */
export interface FrameSeries {
  key: string;
  labels: Labels;
  values: (number | null)[];
}

/** Series on common times in seconds since the epoch, ascending: the columns a chart draws. */
export interface Frame {
  times: number[];
  series: FrameSeries[];
}

/** The most points a grid may have; a longer one is a mistake of the caller. */
const GRID_POINTS_MAX = 100_000;

/** Returns the grid of a length that ends at the last whole step before now. */
export function liveGrid(nowMs: number, rangeMs: number, stepMs: number): Grid {
  const endMs = Math.floor(nowMs / stepMs) * stepMs;
  return { startMs: endMs - Math.floor(rangeMs / stepMs) * stepMs, endMs, stepMs };
}

function gridTimes(grid: Grid): number[] {
  const count = Math.floor((grid.endMs - grid.startMs) / grid.stepMs + 1e-6) + 1;
  if (!(count >= 1 && count <= GRID_POINTS_MAX)) return [];
  return Array.from({ length: count }, (_, index) => (grid.startMs + index * grid.stepMs) / 1_000);
}

/** Returns the columns of a range query's answer: times without a sample are gaps. */
export function toFrame(matrix: MatrixSeries[], grid: Grid): Frame {
  const times = gridTimes(grid);
  const series = matrix.map(({ metric, values }) => {
    const column: (number | null)[] = new Array<number | null>(times.length).fill(null);
    for (const [second, text] of values ?? []) {
      const index = Math.round((second * 1_000 - grid.startMs) / grid.stepMs);
      if (index >= 0 && index < column.length) column[index] = parseSampleValue(text);
    }
    return { key: seriesKey(metric), labels: metric, values: column };
  });
  return { times, series };
}

/**
 * Returns a frame continued by a later one, without what is before the start. Where both have a time,
 * the later frame holds. Series of either are kept as long as they have a sample.
 */
export function continueFrame(frame: Frame, tail: Frame, startMs: number): Frame {
  const start = startMs / 1_000;
  const cut = tail.times[0] ?? Number.POSITIVE_INFINITY;
  const from = firstAtOrAfter(frame.times, start);
  const to = firstAtOrAfter(frame.times, cut);
  const tailFrom = firstAtOrAfter(tail.times, start);
  const head = frame.times.slice(from, to);
  const times = head.concat(tail.times.slice(tailFrom));
  const tails = new Map(tail.series.map((series) => [series.key, series]));
  const joined: FrameSeries[] = [];
  for (const series of frame.series) {
    const later = tails.get(series.key);
    tails.delete(series.key);
    const values = series.values.slice(from, to);
    joined.push({ ...series, values: values.concat(sliceOrGaps(later, tailFrom, tail)) });
  }
  for (const series of tails.values()) {
    const gaps = new Array<number | null>(head.length).fill(null);
    joined.push({ ...series, values: gaps.concat(series.values.slice(tailFrom)) });
  }
  const kept = joined.filter((series) => series.values.some((value) => value !== null));
  return { times, series: kept };
}

function sliceOrGaps(
  series: FrameSeries | undefined,
  from: number,
  tail: Frame,
): (number | null)[] {
  if (series) return series.values.slice(from);
  return new Array<number | null>(Math.max(0, tail.times.length - from)).fill(null);
}

function firstAtOrAfter(times: number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Returns columns that add up, the first at the bottom. A gap counts as nothing, except where all have one. */
export function stackColumns(columns: (number | null)[][]): (number | null)[][] {
  const sums: (number | null)[] = new Array<number | null>(columns[0]?.length ?? 0).fill(null);
  return columns.map((column) =>
    column.map((value, index) => {
      const below = sums[index] ?? null;
      const usable = value !== null && Number.isFinite(value) ? value : null;
      const sum = usable === null ? below : (below ?? 0) + usable;
      sums[index] = sum;
      return sum;
    }),
  );
}

/** Returns a column that a chart can draw: what is not a finite number is a gap. */
export function drawable(column: (number | null)[]): (number | null)[] {
  return column.map((value) => (value !== null && Number.isFinite(value) ? value : null));
}

/** Returns the indices of samples with a gap on both sides, which a line would not show. */
export function isolatedPoints(column: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  for (let index = 0; index < column.length; index += 1) {
    if (column[index] == null) continue;
    if (column[index - 1] == null && column[index + 1] == null) found.push(index);
  }
  return found;
}

/** Returns the last value that is not a gap, looking back no further than the given number of points. */
export function lastValue(column: (number | null)[], lookback = 15): number | null {
  const oldest = Math.max(0, column.length - lookback);
  for (let index = column.length - 1; index >= oldest; index -= 1) {
    const value = column[index];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

/** The least that a growing window shows. */
const GROWING_WINDOW_MIN_MS = 60_000;
/** Longer ranges are shown whole: who asks for a day wants to see that half of it is missing. */
const GROWING_WINDOW_MAX_MS = 300_000;

/**
 * Returns where the window of a live chart starts, in seconds: where its data start while there is less
 * than the grid holds, so that a young server fills its charts; never less than a minute.
 */
export function growingStart(frames: Frame[], grid: Grid): number {
  if (grid.endMs - grid.startMs > GROWING_WINDOW_MAX_MS) return grid.startMs / 1_000;
  const firsts = frames.flatMap((frame) =>
    frame.series.map((series) => {
      return frame.times[series.values.findIndex((value) => value !== null)] ?? Infinity;
    }),
  );
  const first = Math.min(...firsts, (grid.endMs - GROWING_WINDOW_MIN_MS) / 1_000);
  return Math.max(first, grid.startMs / 1_000);
}
