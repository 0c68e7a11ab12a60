import { parseDuration } from "./time";

/** What of the events the tail shows, as kept in the address; empty is everything. */
export interface EventFilter {
  app: string;
  category: string;
  type: string;
  device: string;
  /** A condition in JSONPath on the event. */
  path: string;
  /** Where the tail begins: one of `TAIL_STARTS`. */
  from: string;
}

/** The fields by which events are chosen. */
export const FILTER_FIELDS = ["app", "category", "type", "device", "path"] as const;

/** The longest text of a field, in characters. */
export const FILTER_CHARS_MAX = 2_000;

/** The categories of events, in the order of the schema. */
export const CATEGORIES = ["user", "screen", "interaction", "commerce", "system", "custom"];

/** Where a tail can begin. */
export const TAIL_STARTS: { value: string; label: string }[] = [
  { value: "recent", label: "the latest few" },
  { value: "latest", label: "new ones only" },
  { value: "5m", label: "5 minutes ago" },
  { value: "1h", label: "an hour ago" },
  { value: "1d", label: "a day ago" },
  { value: "earliest", label: "the oldest" },
];

/** How many events before the end `recent` begins. */
export const RECENT_EVENTS = 200;

/** The filter that leaves nothing out. */
export const FILTER_NONE: EventFilter = {
  app: "",
  category: "",
  type: "",
  device: "",
  path: "",
  from: "recent",
};

/** Returns the filter of address parameters; what cannot be read falls back to its default. */
export function decodeFilter(search: string): EventFilter {
  const params = new URLSearchParams(search);
  const filter = { ...FILTER_NONE };
  for (const name of FILTER_FIELDS) {
    filter[name] = (params.get(name) ?? "").trim().slice(0, FILTER_CHARS_MAX).trim();
  }
  const from = params.get("from");
  if (TAIL_STARTS.some((start) => start.value === from)) filter.from = from ?? filter.from;
  return filter;
}

/** Returns the address parameters of a filter; what is at its default is left out. */
export function encodeFilter(filter: EventFilter): string {
  return filterParams(filter).toString();
}

function filterParams(filter: EventFilter): URLSearchParams {
  const params = new URLSearchParams();
  for (const name of FILTER_FIELDS) {
    const value = filter[name].trim();
    if (value !== "") params.set(name, value);
  }
  if (filter.from !== FILTER_NONE.from) params.set("from", filter.from);
  return params;
}

/** Returns whether a filter leaves events out. */
export function isFiltering(filter: EventFilter): boolean {
  return FILTER_FIELDS.some((name) => filter[name] !== "");
}

/** Returns what the server is asked for; where to begin is another matter. */
export function tailParams(filter: EventFilter): Record<string, string> {
  const params: Record<string, string> = {};
  for (const name of FILTER_FIELDS) {
    if (filter[name] !== "") params[name] = filter[name];
  }
  return params;
}

/** What is known of the log. */
interface LogEnds {
  first: number;
  end: number;
}

/** Returns where the server shall begin, given the log's ends where they are known. */
export function tailStart(from: string, nowMs: number, log: LogEnds | undefined): string {
  if (from === "latest" || from === "earliest") return from;
  const back = parseDuration(from);
  if (back !== undefined) return new Date(nowMs - back).toISOString();
  return log ? String(Math.max(log.first, log.end - RECENT_EVENTS)) : "latest";
}
