import type { QueryValue } from "../api/types";
import { parseSampleValue } from "./format";
import type { Labels } from "./names";

/** One row of the table of an instant query. */
export interface TableRow {
  /** The letter of the query it comes from. */
  letter: string;
  labels: Labels;
  /** The value as the server wrote it: exact, not rounded. */
  text: string;
  /** The number to sort by; NaN where the value is none. */
  size: number;
}

/** Which column the rows are in the order of. */
export interface Sorting {
  /** A label, or the empty text for the value. */
  column: string;
  descending: boolean;
}

/** The most samples of a range vector that one cell lists. */
const SAMPLES_SHOWN_MAX = 10;

/** Returns the rows of an answer, in the server's order. */
export function tableRows(value: QueryValue, letter: string): TableRow[] {
  switch (value.resultType) {
    case "scalar":
    case "string": {
      const text = value.result[1];
      const size = value.resultType === "scalar" ? parseSampleValue(text) : Number.NaN;
      return [{ letter, labels: {}, text, size }];
    }
    case "vector":
      return value.result.map(({ metric, value: sample, histogram }) => {
        if (sample) {
          return { letter, labels: metric, text: sample[1], size: parseSampleValue(sample[1]) };
        }
        const shown = histogram?.[1];
        const text = shown ? `histogram: count ${shown.count}, sum ${shown.sum}` : "";
        return { letter, labels: metric, text, size: Number(shown?.count ?? Number.NaN) };
      });
    case "matrix":
      return value.result.map(({ metric, values, histograms }) => {
        const samples = values ?? [];
        const shown = samples.slice(0, SAMPLES_SHOWN_MAX).map(([at, text]) => `${text} @${at}`);
        const left = samples.length - shown.length;
        if (left > 0) shown.push(`and ${left} more`);
        if (histograms?.length) shown.push(`${histograms.length} histograms`);
        return { letter, labels: metric, text: shown.join("\n"), size: samples.length };
      });
  }
}

/** Returns the labels that make columns: the metric first, the others by name. */
export function tableColumns(rows: TableRow[]): string[] {
  const names = new Set(rows.flatMap((row) => Object.keys(row.labels)));
  const metric = names.delete("__name__");
  return [...(metric ? ["__name__"] : []), ...[...names].sort()];
}

function compareNumbers(a: number, b: number): number {
  const noA = Number.isNaN(a);
  const noB = Number.isNaN(b);
  if (noA || noB) return Number(noA) - Number(noB);
  return a - b;
}

/** Returns the rows in the wanted order; rows that are equal keep theirs. */
export function sortRows(rows: TableRow[], sorting: Sorting | undefined): TableRow[] {
  if (!sorting) return rows;
  const { column, descending } = sorting;
  const collator = new Intl.Collator("en", { numeric: true });
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const order =
      column === ""
        ? compareNumbers(a.size, b.size)
        : collator.compare(a.labels[column] ?? "", b.labels[column] ?? "");
    return order * sign;
  });
}
