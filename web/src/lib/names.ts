/** Names of series as people read them. They are text: nothing here makes markup. */

/** The labels of a series; `__name__` is the metric. */
export type Labels = Record<string, string>;

/** Returns an identity of a label set that does not depend on the order of its labels. */
export function seriesKey(labels: Labels): string {
  return JSON.stringify(
    Object.keys(labels)
      .sort()
      .map((name) => [name, labels[name]]),
  );
}

function quote(value: string): string {
  return `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`;
}

const LEGACY_LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const LEGACY_METRIC = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** Returns a metric's name as a selector: names outside the classic set are quoted in braces. */
export function metricSelector(name: string): string {
  return LEGACY_METRIC.test(name) ? name : `{${quote(name)}}`;
}

/** Returns a series in PromQL's notation, `up{job="a"}`; labels in the order of their names. */
export function seriesName(labels: Labels): string {
  const metric = labels.__name__ ?? "";
  const rest = Object.keys(labels)
    .filter((name) => name !== "__name__")
    .sort()
    .map((name) => `${LEGACY_LABEL.test(name) ? name : quote(name)}=${quote(labels[name] ?? "")}`);
  const classic = LEGACY_METRIC.test(metric);
  if (metric !== "" && !classic) rest.unshift(quote(metric));
  if (rest.length === 0) return classic ? metric : "{}";
  return `${classic ? metric : ""}{${rest.join(", ")}}`;
}

/** Returns a selector with one more equality matcher for each given label. */
export function matchers(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((name) => `${name}=${quote(labels[name] ?? "")}`)
    .join(",");
}
