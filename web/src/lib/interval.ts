import type { MatrixSeries } from "../api/types";
import type { Labels } from "./names";

/** A machine whose metrics are here. */
export interface Host {
  /** The labels that tell it from the others. */
  labels: Labels;
  name: string;
  /** Milliseconds between two of its samples. */
  intervalMs: number;
}

/** Returns the median distance of samples in milliseconds; 1 s where there are too few to tell. */
export function sampleInterval(times: number[]): number {
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  gaps.sort((a, b) => a - b);
  const median = gaps[gaps.length >> 1];
  return median === undefined ? 1_000 : Math.max(1_000, Math.round(median * 1_000));
}

/** Returns the hosts of raw samples of one of their metrics: TinyObs' own collector first, then by name. */
export function hostsOf(matrix: MatrixSeries[]): Host[] {
  const hosts = matrix.map(({ metric, values }) => {
    const labels: Labels = {};
    if (metric.job) labels.job = metric.job;
    if (metric.instance) labels.instance = metric.instance;
    const intervalMs = sampleInterval((values ?? []).map(([second]) => second));
    return { labels, name: metric.instance ?? metric.job ?? "this machine", intervalMs };
  });
  const own = (host: Host): number => (host.labels.job?.startsWith("tinyobs") ? 0 : 1);
  return hosts.sort((a, b) => own(a) - own(b) || (a.name < b.name ? -1 : 1));
}
