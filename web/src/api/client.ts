import { reportConnected, reportDisconnected } from "./connection";
import type { MetricMetadata, QueryAnswer, QueryValue } from "./types";

/** The server refused a request and said why. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    message: string,
    /** Prometheus' kind of error, such as `bad_data` or `timeout`. */
    readonly kind: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** The server was not reached, or what answered was not TinyObs. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
}

interface Envelope {
  status?: unknown;
  data?: unknown;
  error?: unknown;
  errorType?: unknown;
  warnings?: unknown;
  infos?: unknown;
}

interface Request {
  path: string;
  params: Record<string, string>;
  method: "GET" | "POST";
  signal?: AbortSignal | undefined;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

async function send({ path, params, method, signal }: Request): Promise<Response> {
  const form = new URLSearchParams(params);
  const query = form.size > 0 ? `?${form}` : "";
  try {
    return method === "GET"
      ? await fetch(`${path}${query}`, { signal: signal ?? null })
      : await fetch(path, { method, body: form, signal: signal ?? null });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    reportDisconnected();
    throw new ConnectionError("the server cannot be reached", { cause });
  }
}

async function request<T>(options: Request): Promise<Envelope & { data: T }> {
  const response = await send(options);
  let body: Envelope;
  try {
    body = (await response.json()) as Envelope;
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    // Only a gateway in front of the server answers 502 to 504 without JSON.
    if (response.status >= 502) reportDisconnected();
    throw new ConnectionError(`the server answered ${response.status} without JSON`, { cause });
  }
  reportConnected();
  if (!response.ok || body.status !== "success") {
    const message = typeof body.error === "string" ? body.error : `status ${response.status}`;
    const kind = typeof body.errorType === "string" ? body.errorType : "unknown";
    throw new ApiError(message, kind, response.status);
  }
  return body as Envelope & { data: T };
}

async function query(
  path: string,
  options: Omit<Request, "path" | "method">,
): Promise<QueryAnswer> {
  const started = performance.now();
  const body = await request<QueryValue>({ ...options, path, method: "POST" });
  return {
    value: body.data,
    warnings: texts(body.warnings),
    infos: texts(body.infos),
    durationMs: performance.now() - started,
  };
}

function seconds(ms: number): string {
  return String(ms / 1_000);
}

/** Evaluates a query at one time; without a time, at the server's now. */
export function queryInstant(
  expr: string,
  atMs: number | undefined,
  signal?: AbortSignal,
): Promise<QueryAnswer> {
  const params: Record<string, string> = { query: expr };
  if (atMs !== undefined) params.time = seconds(atMs);
  return query("/api/v1/query", { params, signal });
}

/** Evaluates a query at each step of a range, both ends inclusive. */
export function queryRange(
  expr: string,
  grid: { startMs: number; endMs: number; stepMs: number },
  signal?: AbortSignal,
): Promise<QueryAnswer> {
  const params = {
    query: expr,
    start: seconds(grid.startMs),
    end: seconds(grid.endMs),
    step: seconds(grid.stepMs),
  };
  return query("/api/v1/query_range", { params, signal });
}

/** Returns the names of all metrics, ascending. */
export async function metricNames(signal?: AbortSignal): Promise<string[]> {
  const path = "/api/v1/label/__name__/values";
  const body = await request<unknown>({ path, params: {}, method: "GET", signal });
  return texts(body.data);
}

/** Returns what is known about metrics, by name. */
export async function metadata(signal?: AbortSignal): Promise<Record<string, MetricMetadata[]>> {
  const path = "/api/v1/metadata";
  const params = { limit_per_metric: "1" };
  const body = await request<Record<string, MetricMetadata[]>>({
    path,
    params,
    method: "GET",
    signal,
  });
  return body.data;
}

/** Returns the version of the server. */
export async function serverVersion(signal?: AbortSignal): Promise<string> {
  const path = "/api/v1/status/buildinfo";
  const body = await request<{ version?: string }>({ path, params: {}, method: "GET", signal });
  return body.data.version ?? "";
}

/** What `/v1/health` says; a degraded server answers it with status 503. */
export interface Health {
  status: string;
  /** Why the server is degraded, one sentence each. */
  problems: string[];
}

/** Returns the server's health. */
export async function health(signal?: AbortSignal): Promise<Health> {
  const response = await send({ path: "/v1/health", params: {}, method: "GET", signal });
  let body: Record<string, unknown>;
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch (cause) {
    if (!signal?.aborted && response.status >= 502) reportDisconnected();
    throw new ConnectionError(`the server answered ${response.status} without JSON`, { cause });
  }
  reportConnected();
  const reasons = texts(body.problems ?? body.reasons);
  const reason = typeof body.reason === "string" ? [body.reason] : [];
  return { status: String(body.status ?? "unknown"), problems: [...reasons, ...reason] };
}
