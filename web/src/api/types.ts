import type { Labels } from "../lib/names";

/** A sample on the wire: seconds since the epoch, and the value as text. */
export type WireSample = [number, string];

/** A native histogram on the wire. */
export interface WireHistogram {
  count: string;
  sum: string;
}

/** One series of a range query's answer. */
export interface MatrixSeries {
  metric: Labels;
  values?: WireSample[];
  histograms?: [number, WireHistogram][];
}

/** One series of an instant query's answer. */
export interface VectorSample {
  metric: Labels;
  value?: WireSample;
  histogram?: [number, WireHistogram];
}

/** The value of a query. */
export type QueryValue =
  | { resultType: "matrix"; result: MatrixSeries[] }
  | { resultType: "vector"; result: VectorSample[] }
  | { resultType: "scalar"; result: WireSample }
  | { resultType: "string"; result: WireSample };

/** A query's answer with what the server wants to be known about it. */
export interface QueryAnswer {
  value: QueryValue;
  warnings: string[];
  infos: string[];
  /** From sending the request to the end of its answer, as the browser sees it. */
  durationMs: number;
}

/** What is known about a metric. */
export interface MetricMetadata {
  type: string;
  help: string;
  unit?: string;
}
