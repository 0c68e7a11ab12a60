import { TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { metadata, metricNames } from "../api/client";
import { metricSelector } from "../lib/names";

interface MetricBrowserProps {
  /** Called with the expression that a click stands for. */
  onPick: (expr: string) => void;
}

/** The most metrics listed at once; a search finds the others. */
const METRICS_SHOWN_MAX = 200;

/** Returns a first query for a metric: the rate of what only grows, else its value. */
function firstQuery(name: string, type: string): string {
  const selector = metricSelector(name);
  const counts = type === "counter" || /_(total|count|sum|bucket)$/.test(name);
  return counts ? `rate(${selector}[1m])` : selector;
}

/** Lists the metrics that exist, with what is known about them; a click makes a query. */
export function MetricBrowser({ onPick }: MetricBrowserProps): React.JSX.Element {
  const [search, setSearch] = useState("");
  const wanted = useDeferredValue(search.trim().toLowerCase());
  const names = useQuery({
    queryKey: ["metric-names"],
    queryFn: ({ signal }) => metricNames(signal),
    staleTime: 10_000,
  });
  const about = useQuery({
    queryKey: ["metadata"],
    queryFn: ({ signal }) => metadata(signal),
    staleTime: 60_000,
  });
  const all = names.data ?? [];
  const found = all.filter((name) => {
    const help = about.data?.[name]?.[0]?.help ?? "";
    return wanted
      .split(/\s+/)
      .every((word) => name.toLowerCase().includes(word) || help.toLowerCase().includes(word));
  });
  return (
    <div className="metrics" data-testid="metric-browser">
      <div className="metrics-head">
        <TextInput
          size="xs"
          className="metrics-search"
          aria-label="Search metrics"
          placeholder="Search metrics"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
        <span className="subtle">
          {names.isPending ? "Loading" : `${found.length} of ${all.length} metrics`}
        </span>
      </div>
      {names.error && <p className="empty">{names.error.message}</p>}
      {names.data && all.length === 0 && (
        <p className="empty">
          No metrics are stored yet. Send some to <code>/api/v1/write</code>,{" "}
          <code>/v1/ingest</code> or <code>/v1/metrics</code>, or turn on the built-in collector.
        </p>
      )}
      <ul className="metrics-list">
        {found.slice(0, METRICS_SHOWN_MAX).map((name) => {
          const known = about.data?.[name]?.[0];
          return (
            <li key={name}>
              <button type="button" onClick={() => onPick(firstQuery(name, known?.type ?? ""))}>
                <span className="metrics-name mono">{name}</span>
                <span className="metrics-type">{known?.type ?? ""}</span>
                <span className="metrics-help">{known?.help ?? ""}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {found.length > METRICS_SHOWN_MAX && (
        <p className="empty">{found.length - METRICS_SHOWN_MAX} more; search to find them.</p>
      )}
    </div>
  );
}
