import { type Panel, type PanelQuery, rateWindow, type Stat } from "./live-panels";

/** Charts under one heading. */
export interface PanelGroup {
  title: string;
  panels: Panel[];
}

/** The most routes drawn in one chart. */
const ROUTES_MAX = 8;

function chart(panel: Pick<Panel, "id" | "title" | "unit" | "queries"> & Partial<Panel>): Panel {
  return { stacked: false, yMin: 0, ...panel };
}

function quantiles(metric: string, window: string, by = ""): PanelQuery[] {
  return [0.5, 0.9, 0.99].map((quantile) => ({
    expr: `histogram_quantile(${quantile}, sum by (le${by}) (rate(${metric}_bucket[${window}])))`,
    name: { text: `${quantile * 100} %` },
  }));
}

function gauge(expr: string, text: string): PanelQuery {
  return { expr, name: { text } };
}

/** Returns the numbers on top of the server's view. */
export function serverStats(): Stat[] {
  return [
    {
      id: "requests",
      title: "Requests",
      unit: "per-second",
      expr: "sum(rate(tinyobs_http_requests_total[30s]))",
    },
    {
      id: "errors",
      title: "Failed requests",
      unit: "percent",
      expr: "100 * max(tinyobs_http_error_ratio)",
      limit: 100,
    },
    {
      id: "ingested",
      title: "Samples taken in",
      unit: "per-second",
      expr: "sum(rate(tinyobs_samples_appended_total[30s]))",
    },
    { id: "series", title: "Active series", unit: "short", expr: "sum(tinyobs_series)" },
    {
      id: "query-time",
      title: "Queries, 99 % within",
      unit: "seconds",
      expr: "histogram_quantile(0.99, sum by (le) (rate(tinyobs_query_duration_seconds_bucket[5m])))",
    },
    { id: "disk", title: "On disk", unit: "bytes", expr: "sum(tinyobs_storage_bytes)" },
    {
      id: "memory",
      title: "Memory",
      unit: "bytes",
      expr: 'sum(process_resident_memory_bytes{job="tinyobs"})',
    },
    {
      id: "uptime",
      title: "Running for",
      unit: "age",
      expr: 'time() - max(process_start_time_seconds{job="tinyobs"})',
    },
  ];
}

/** Returns the charts of the server's view. */
export function serverPanels(stepMs: number): PanelGroup[] {
  const window = rateWindow(1_000, stepMs);
  const rate = (metric: string): string => `rate(${metric}[${window}])`;
  return [
    {
      title: "Requests",
      panels: [
        chart({
          id: "requests-route",
          title: "Requests by route",
          unit: "per-second",
          wide: true,
          stacked: true,
          queries: [
            {
              expr: `topk(${ROUTES_MAX}, sum by (route) (${rate("tinyobs_http_requests_total")}))`,
              name: { label: "route" },
            },
          ],
        }),
        chart({
          id: "requests-status",
          title: "Answers by status",
          unit: "per-second",
          order: ["2xx", "3xx", "4xx", "5xx", "1xx"],
          queries: [
            {
              expr: `sum by (status) (${rate("tinyobs_http_requests_total")})`,
              name: { label: "status" },
            },
          ],
        }),
        chart({
          id: "latency",
          title: "Time to answer",
          unit: "seconds",
          queries: quantiles("tinyobs_http_request_duration_seconds", window),
        }),
        chart({
          id: "latency-route",
          title: "99 % of answers within, by route",
          unit: "seconds",
          wide: true,
          queries: [
            {
              expr: `topk(${ROUTES_MAX}, histogram_quantile(0.99, sum by (le, route) (${rate("tinyobs_http_request_duration_seconds_bucket")})) > 0)`,
              name: { label: "route" },
            },
          ],
        }),
        chart({
          id: "refused-route",
          title: "Requests refused, by route",
          unit: "per-second",
          queries: [
            {
              expr: `topk(${ROUTES_MAX}, sum by (route) (${rate('tinyobs_http_requests_total{status="4xx"}')}) > 0)`,
              name: { label: "route" },
            },
          ],
        }),
        chart({
          id: "in-flight",
          title: "Requests and connections now",
          unit: "short",
          queries: [
            gauge("sum(tinyobs_http_requests_in_flight)", "requests"),
            gauge("sum(tinyobs_connections)", "connections"),
            gauge("sum(tinyobs_live_connections)", "live updates"),
          ],
        }),
      ],
    },
    {
      title: "Taking in",
      panels: [
        chart({
          id: "ingested",
          title: "Samples taken in, by tenant",
          unit: "per-second",
          stacked: true,
          queries: [
            {
              expr: `sum by (tenant) (${rate("tinyobs_samples_appended_total")})`,
              name: { label: "tenant" },
            },
          ],
        }),
        chart({
          id: "ingested-protocol",
          title: "Samples sent, by protocol",
          unit: "per-second",
          queries: [
            {
              expr: `sum by (protocol) (${rate("tinyobs_ingest_samples_total")})`,
              name: { label: "protocol" },
            },
          ],
        }),
        chart({
          id: "refused-samples",
          title: "Samples refused, by reason",
          unit: "per-second",
          queries: [
            {
              expr: `sum by (reason) (${rate("tinyobs_samples_rejected_total")})`,
              name: { label: "reason" },
            },
          ],
        }),
        chart({
          id: "own-series",
          title: "Series",
          unit: "short",
          queries: [
            gauge("sum(tinyobs_series)", "active"),
            gauge("sum(tinyobs_head_series)", "in memory"),
          ],
        }),
      ],
    },
    {
      title: "Queries",
      panels: [
        chart({
          id: "query-time",
          title: "Duration of queries",
          unit: "seconds",
          queries: quantiles("tinyobs_query_duration_seconds", window),
        }),
        chart({
          id: "queries-now",
          title: "Queries now",
          unit: "short",
          queries: [
            gauge("sum(tinyobs_queries_running)", "running"),
            gauge("sum(tinyobs_queries_waiting)", "waiting"),
          ],
        }),
        chart({
          id: "query-samples",
          title: "Samples read",
          unit: "per-second",
          queries: [gauge(`sum(${rate("tinyobs_query_samples_read_total")})`, "read")],
        }),
        chart({
          id: "query-errors",
          title: "Queries failed or refused",
          unit: "per-second",
          queries: [
            {
              expr: `sum by (code) (${rate("tinyobs_query_errors_total")})`,
              name: { label: "code" },
            },
          ],
        }),
      ],
    },
    {
      title: "Storage",
      panels: [
        chart({
          id: "storage",
          title: "On disk, by tenant",
          unit: "bytes",
          stacked: true,
          queries: [{ expr: "sum by (tenant) (tinyobs_storage_bytes)", name: { label: "tenant" } }],
        }),
        chart({
          id: "commit",
          title: "Duration of commits",
          unit: "seconds",
          queries: quantiles("tinyobs_journal_commit_duration_seconds", window),
        }),
        chart({
          id: "storage-io",
          title: "File operations",
          unit: "per-second",
          queries: [
            {
              expr: `sum by (operation) (${rate("tinyobs_storage_operations_total")})`,
              name: { label: "operation" },
            },
          ],
        }),
        chart({
          id: "maintenance",
          title: "Blocks written and compacted",
          unit: "per-second",
          queries: [
            gauge(`sum(${rate("tinyobs_blocks_written_total")})`, "written"),
            gauge(`sum(${rate("tinyobs_blocks_compacted_total")})`, "compacted"),
            gauge(`sum(${rate("tinyobs_maintenance_failures_total")})`, "failed steps"),
          ],
        }),
      ],
    },
    {
      title: "Process",
      panels: [
        chart({
          id: "process-cpu",
          title: "CPU",
          unit: "percent",
          queries: [
            gauge(`100 * sum(${rate('process_cpu_seconds_total{job="tinyobs"}')})`, "of one core"),
          ],
        }),
        chart({
          id: "process-memory",
          title: "Memory",
          unit: "bytes",
          queries: [
            gauge('sum(process_resident_memory_bytes{job="tinyobs"})', "resident"),
            gauge("sum(tinyobs_head_bytes)", "of it the head"),
          ],
        }),
        chart({
          id: "process-files",
          title: "Open files and threads",
          unit: "short",
          queries: [
            gauge('sum(process_open_fds{job="tinyobs"})', "files"),
            gauge('sum(process_threads{job="tinyobs"})', "threads"),
          ],
        }),
      ],
    },
  ];
}
