import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { serverNow } from "../../api/clock";
import { searchPulls } from "../../api/pulls";
import { ListState } from "../../components/list-state";
import { PullFilterForm } from "../../components/pull-filter-form";
import { PullList } from "../../components/pull-list";
import { TimeRangePicker } from "../../components/time-range";
import { usePullFilter } from "../../components/use-pull-filter";
import { formatCount } from "../../lib/format";
import { isStalled } from "../../lib/pull";
import { isFilteringPulls, type PullFilter } from "../../lib/pull-filter";
import type { RangeText, TimeRange } from "../../lib/time";
import { resolveRange } from "../../lib/time";

/** How often it is looked for new pulls, while only the first page is shown. */
const LOOK_EVERY_MS = 5_000;

function usePullPages(filter: PullFilter, range: RangeText) {
  return useInfiniteQuery({
    queryKey: ["pull-history", filter, range],
    queryFn: ({ pageParam, signal }) => {
      const now = serverNow();
      const fixed: TimeRange = resolveRange(range, now) ?? {
        startMs: now - 86_400_000,
        endMs: now,
      };
      return searchPulls(filter, fixed, pageParam, signal);
    },
    // Comparing all pages with those of before would cost more than drawing what is seen.
    structuralSharing: false,
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 1) > 1 ? false : LOOK_EVERY_MS),
  });
}

/** The pulls of before, the newest first. */
export function PullHistory(): React.JSX.Element {
  const { filter, range, setFilter, setRange } = usePullFilter("history");
  const pages = usePullPages(filter, range);
  const found = pages.data?.pages.flatMap((page) => page.pulls) ?? [];
  const pulls = filter.state === "stalled" ? found.filter(isStalled) : found;
  return (
    <>
      <PullFilterForm filter={filter} onChange={setFilter}>
        <TimeRangePicker range={range} onChange={setRange} />
      </PullFilterForm>
      <ListState
        query={pages}
        count={pulls.length}
        empty={
          isFilteringPulls(filter)
            ? "No pull of this time fits the filter."
            : "No pulls in this time. Choose a longer one."
        }
      >
        <PullList pulls={pulls} />
      </ListState>
      {pulls.length > 0 && (
        <div className="admin-more">
          <span className="subtle" role="status">
            {formatCount(pulls.length)} {pulls.length === 1 ? "pull" : "pulls"}
            {pages.hasNextPage ? "" : ", that is all"}
          </span>
          {pages.hasNextPage && (
            <Button
              size="xs"
              variant="default"
              loading={pages.isFetchingNextPage}
              onClick={() => void pages.fetchNextPage()}
            >
              Older pulls
            </Button>
          )}
        </div>
      )}
    </>
  );
}
