import { reportConnected, reportDisconnected } from "./connection";
import { identityHeaders, reportLoginNeeded } from "./identity";
import type { Health, MetricMetadata, QueryAnswer, QueryValue } from "./types";

/** The server refused a request and said why. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    message: string,
    /** Prometheus' kind of error or the own code, such as `bad_data` or `timeout`. */
    readonly kind: string,
    readonly status: number,
    /** How long the server wants not to be asked again, where it said so. */
    readonly retryAfterMs?: number,
  ) {
    super(message);
  }
}

/** The server was not reached, or what answered was not TinyObs. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
}

/** A request to the server. */
export interface Request {
  path: string;
  /** In the address with GET, else a form. */
  params?: Record<string, string>;
  /** The body as JSON, in place of a form. */
  json?: unknown;
  method?: "GET" | "POST" | "PATCH" | "DELETE";
  /** Whether a refusal for want of a login is the caller's to say. */
  isLogin?: boolean;
  /** Whether it is about all tenants, so that the chosen one does not matter. */
  unscoped?: boolean;
  /** The type of answer that is wanted, where there are several. */
  accept?: string;
  /** The last event of a stream that is already known; what came after it is wanted. */
  lastEventId?: string;
  signal?: AbortSignal | undefined;
}

interface Envelope {
  status?: unknown;
  data?: unknown;
  error?: unknown;
  errorType?: unknown;
  code?: unknown;
  message?: unknown;
  warnings?: unknown;
  infos?: unknown;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function bodyOf({ params, json }: Request, headers: Record<string, string>): BodyInit | null {
  if (json !== undefined) {
    headers["Content-Type"] = "application/json";
    return JSON.stringify(json);
  }
  return params ? new URLSearchParams(params) : null;
}

async function send(request: Request): Promise<Response> {
  const { path, params = {}, method = "GET", isLogin = false, signal } = request;
  const headers = identityHeaders(method, request.unscoped);
  if (request.accept !== undefined) headers.Accept = request.accept;
  if (request.lastEventId !== undefined) headers["Last-Event-ID"] = request.lastEventId;
  const form = new URLSearchParams(params);
  const query = method === "GET" && form.size > 0 ? `?${form}` : "";
  const body = method === "GET" ? null : bodyOf(request, headers);
  try {
    const options = { method, headers, body, signal: signal ?? null };
    const response = await fetch(`${path}${query}`, options);
    if (response.status === 401 && !isLogin) reportLoginNeeded();
    return response;
  } catch (cause) {
    if (signal?.aborted) throw cause;
    reportDisconnected();
    throw new ConnectionError("the server cannot be reached", { cause });
  }
}

async function bodyJson(response: Response, signal: AbortSignal | undefined): Promise<unknown> {
  let body: unknown;
  try {
    body = await response.json();
  } catch (cause) {
    if (signal?.aborted) throw cause;
    // Only a gateway in front of the server answers 502 to 504 without JSON.
    if (response.status >= 502) reportDisconnected();
    throw new ConnectionError(`the server answered ${response.status} without JSON`, { cause });
  }
  reportConnected();
  return body;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Returns what the server said, in the shape of Prometheus' routes or of the own ones. */
function refusal(body: Envelope, { status, headers }: Response): ApiError {
  const message = text(body.message) ?? text(body.error) ?? `status ${status}`;
  const kind = text(body.errorType) ?? text(body.code) ?? "unknown";
  const seconds = Number(headers.get("Retry-After") ?? Number.NaN);
  return new ApiError(message, kind, status, seconds >= 0 ? seconds * 1_000 : undefined);
}

async function request<T>(options: Request): Promise<Envelope & { data: T }> {
  const response = await send(options);
  const body = (await bodyJson(response, options.signal)) as Envelope;
  if (!response.ok || body.status !== "success") throw refusal(body, response);
  return body as Envelope & { data: T };
}

/** Asks one of the own routes, whose answers are JSON without an envelope, or nothing. */
export async function ask<T>(options: Request): Promise<T> {
  const response = await send(options);
  if (response.status === 204) {
    reportConnected();
    return undefined as T;
  }
  const body = await bodyJson(response, options.signal);
  if (!response.ok) throw refusal((body ?? {}) as Envelope, response);
  return body as T;
}

/** Asks one of the own routes for an answer that goes on, and returns it once it begins. */
export async function openStream(options: Request): Promise<ReadableStream<Uint8Array>> {
  const response = await send(options);
  if (!response.ok) {
    const body = await bodyJson(response, options.signal);
    throw refusal((body ?? {}) as Envelope, response);
  }
  reportConnected();
  if (!response.body) throw new ConnectionError("the server answered without a body");
  return response.body;
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
  const body = await request<unknown>({ path, signal });
  return texts(body.data);
}

/** Returns what is known about metrics, by name. */
export async function metadata(signal?: AbortSignal): Promise<Record<string, MetricMetadata[]>> {
  const path = "/api/v1/metadata";
  const params = { limit_per_metric: "1" };
  const body = await request<Record<string, MetricMetadata[]>>({ path, params, signal });
  return body.data;
}

/** Returns the version of the server. */
export async function serverVersion(signal?: AbortSignal): Promise<string> {
  const path = "/api/v1/status/buildinfo";
  const body = await request<{ version?: string }>({ path, signal });
  return body.data.version ?? "";
}

/** Returns the server's health; a degraded server says it with status 503. */
export async function health(signal?: AbortSignal): Promise<Health> {
  const response = await send({ path: "/v1/health", signal });
  const body = (await bodyJson(response, signal)) as Partial<Health>;
  if (typeof body.status !== "string") throw refusal(body, response);
  return { ...(body as Health), checks: body.checks ?? {}, problems: texts(body.problems) };
}
