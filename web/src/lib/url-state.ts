import { parseDuration, parseTime, type RangeText } from "./time";

/** One query of Explore. */
export interface ExploreQuery {
  expr: string;
  /** A hidden query keeps its text but is not evaluated. */
  hidden: boolean;
}

/** Everything that Explore shows, as kept in the address: sharing the address shares the view. */
export interface ExploreState {
  queries: ExploreQuery[];
  range: RangeText;
  /** Empty for automatic, else a duration such as `15s`. */
  step: string;
  tab: "graph" | "table";
  stacked: boolean;
  /** The instant of the table; empty for the end of the range. */
  at: string;
  /** Seconds between two runs; 0 for never. */
  refreshS: number;
}

/** The most queries shown together. */
export const QUERIES_MAX = 12;
/** The longest query that is kept in the address, in characters. */
export const QUERY_CHARS_MAX = 10_000;
/** The intervals at which Explore can run again by itself, in seconds. */
export const REFRESH_CHOICES_S = [0, 1, 5, 15, 60];

/** The view without any parameter. */
export const EXPLORE_DEFAULT: ExploreState = {
  queries: [{ expr: "", hidden: false }],
  range: { from: "now-1h", to: "now" },
  step: "",
  tab: "graph",
  stacked: false,
  at: "",
  refreshS: 0,
};

/** Returns the address parameters of a view; what is at its default is left out. */
export function encodeExplore(state: ExploreState): string {
  const params = new URLSearchParams();
  for (const query of state.queries) {
    if (query.expr.trim() === "" && state.queries.length === 1) continue;
    params.append(query.hidden ? "hidden" : "q", query.expr);
  }
  if (state.range.from !== EXPLORE_DEFAULT.range.from || state.range.to !== "now") {
    params.set("from", state.range.from);
    params.set("to", state.range.to);
  }
  if (state.step !== "") params.set("step", state.step);
  if (state.tab !== "graph") params.set("tab", state.tab);
  if (state.stacked) params.set("stacked", "1");
  if (state.at !== "") params.set("at", state.at);
  if (state.refreshS !== 0) params.set("refresh", String(state.refreshS));
  return params.toString();
}

/** Returns the view of address parameters; what cannot be read falls back to its default. */
export function decodeExplore(search: string): ExploreState {
  const params = new URLSearchParams(search);
  const queries: ExploreQuery[] = [];
  for (const [name, value] of params) {
    if ((name === "q" || name === "hidden") && queries.length < QUERIES_MAX) {
      queries.push({ expr: value.slice(0, QUERY_CHARS_MAX), hidden: name === "hidden" });
    }
  }
  const range = { from: params.get("from") ?? "", to: params.get("to") ?? "" };
  const readable = parseTime(range.from, 0) !== undefined && parseTime(range.to, 0) !== undefined;
  const step = params.get("step") ?? "";
  const at = params.get("at") ?? "";
  const refreshS = Number(params.get("refresh") ?? 0);
  return {
    queries: queries.length > 0 ? queries : EXPLORE_DEFAULT.queries,
    range: readable ? range : EXPLORE_DEFAULT.range,
    step: (parseDuration(step) ?? 0) > 0 ? step : "",
    tab: params.get("tab") === "table" ? "table" : "graph",
    stacked: params.get("stacked") === "1",
    at: parseTime(at, 0) !== undefined ? at : "",
    refreshS: REFRESH_CHOICES_S.includes(refreshS) ? refreshS : 0,
  };
}

/** Returns the address of Explore with queries and a range filled in. */
export function exploreHref(exprs: string[], range: RangeText = EXPLORE_DEFAULT.range): string {
  const queries = exprs.slice(0, QUERIES_MAX).map((expr) => ({ expr, hidden: false }));
  const search = encodeExplore({ ...EXPLORE_DEFAULT, queries, range });
  return search === "" ? "/explore" : `/explore?${search}`;
}

/** Returns the letter by which a query is called: A, B, C. */
export function queryLetter(index: number): string {
  return String.fromCharCode(65 + (index % 26));
}
