/** The views of pulls and their addresses. */

import { encodePullFilter, PULL_FILTER_NONE, type PullFilter } from "./pull-filter";
import type { RangeText } from "./time";
import { PULLS_PATH } from "./views";

/** A view of pulls; the first is shown where none is asked for. */
export const PULL_VIEWS = [
  { id: "live", name: "Live" },
  { id: "history", name: "History" },
  { id: "images", name: "Images" },
  { id: "nodes", name: "Nodes" },
  { id: "pods", name: "Pods" },
] as const;
export type PullViewId = (typeof PULL_VIEWS)[number]["id"];

/** The range of the history where none is asked for. */
export const HISTORY_RANGE: RangeText = { from: "now-24h", to: "now" };

/** Returns the address of a view with a filter. */
export function pullsHref(
  view: PullViewId,
  filter: PullFilter = PULL_FILTER_NONE,
  range: RangeText = HISTORY_RANGE,
): string {
  const path = view === "live" ? PULLS_PATH : `${PULLS_PATH}/${view}`;
  const params = encodePullFilter(filter);
  if (range.from !== HISTORY_RANGE.from || range.to !== HISTORY_RANGE.to) {
    params.set("from", range.from);
    params.set("to", range.to);
  }
  return params.size > 0 ? `${path}?${params}` : path;
}

/** Returns the address of one pull. */
export function pullHref(id: string): string {
  return `${PULLS_PATH}/${encodeURIComponent(id)}`;
}

/** Returns which view is at a path, or which pull. */
export function pullsPlace(path: string): { view: PullViewId } | { pull: string } {
  const part = path.slice(PULLS_PATH.length + 1).split("/")[0] ?? "";
  if (part === "") return { view: "live" };
  const view = PULL_VIEWS.find(({ id }) => id === part);
  return view ? { view: view.id } : { pull: part };
}
