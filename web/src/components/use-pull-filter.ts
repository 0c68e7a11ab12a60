import { useMemo } from "react";
import { decodePullFilter, encodePullFilter, type PullFilter } from "../lib/pull-filter";
import { HISTORY_RANGE, type PullViewId, pullsHref } from "../lib/pull-views";
import type { RangeText } from "../lib/time";
import { parseTime } from "../lib/time";
import { navigate, useSearch } from "./router";

/** The filter and the range of a view, as the address holds them, and how to show others. */
interface ShownFilter {
  filter: PullFilter;
  range: RangeText;
  setFilter: (filter: PullFilter) => void;
  setRange: (range: RangeText) => void;
}

/** Returns which pulls a view shows. Another filter takes the place of the former one in the browser's history. */
export function usePullFilter(view: PullViewId): ShownFilter {
  const search = useSearch();
  const key = encodePullFilter(decodePullFilter(search)).toString();
  const filter = useMemo(() => decodePullFilter(key), [key]);
  const params = new URLSearchParams(search);
  const asked = { from: params.get("from") ?? "", to: params.get("to") ?? "" };
  const readable = parseTime(asked.from, 0) !== undefined && parseTime(asked.to, 0) !== undefined;
  const range = readable ? asked : HISTORY_RANGE;
  return {
    filter,
    range,
    setFilter: (next) => navigate(pullsHref(view, next, range), { replace: true }),
    setRange: (next) => navigate(pullsHref(view, filter, next)),
  };
}
