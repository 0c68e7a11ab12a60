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
  // Whole seconds: a jitter of milliseconds must not change the queries.
  return median === undefined ? 1_000 : Math.max(1, Math.round(median)) * 1_000;
}

/**
 * Returns the hosts of raw samples of one of their metrics: those with the finest samples first,
 * which TinyObs' own collector takes, then by name.
 */
export function hostsOf(matrix: MatrixSeries[]): Host[] {
  const instances = matrix.map(({ metric }) => metric.instance);
  const hosts = matrix.map(({ metric, values }) => {
    const labels: Labels = {};
    if (metric.job) labels.job = metric.job;
    if (metric.instance) labels.instance = metric.instance;
    const shared = instances.filter((instance) => instance === metric.instance).length > 1;
    const plain = metric.instance ?? metric.job ?? "this machine";
    const name = shared && metric.job ? `${plain} (${metric.job})` : plain;
    const intervalMs = sampleInterval((values ?? []).map(([second]) => second));
    return { labels, name, intervalMs };
  });
  return hosts.sort((a, b) => a.intervalMs - b.intervalMs || (a.name < b.name ? -1 : 1));
}
