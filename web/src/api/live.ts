import { useQuery, useQueryClient } from "@tanstack/react-query";
import { continueFrame, type Frame, type Grid, liveGrid, toFrame } from "../lib/frame";
import type { Panel } from "../lib/live-panels";
import { queryRange } from "./client";
import { serverNow } from "./clock";

/** The frames of a panel's queries on one grid. */
export interface LiveFrames {
  grid: Grid;
  frames: Frame[];
}

/** Steps at the end that are asked for again, because their samples may have come late. */
const OVERLAP_STEPS = 4;
/** The longest time between two looks, whatever the step is. */
const POLL_MAX_MS = 10_000;

/** What of a panel to follow. */
export interface LiveRequest {
  panel: Panel;
  rangeMs: number;
  stepMs: number;
  enabled: boolean;
}

/**
 * Follows a panel: its history first, then only what is new, at each step. Nothing is asked while
 * the page is hidden; when it is shown again, what was missed comes with the next answer.
 */
export function useLive({ panel, rangeMs, stepMs, enabled }: LiveRequest) {
  const client = useQueryClient();
  const exprs = panel.queries.map((query) => query.expr);
  const key = ["live", rangeMs, stepMs, exprs];
  return useQuery({
    queryKey: key,
    enabled,
    structuralSharing: false,
    gcTime: 30_000,
    refetchInterval: Math.min(POLL_MAX_MS, Math.max(1_000, stepMs)),
    queryFn: async ({ signal }): Promise<LiveFrames> => {
      const grid = liveGrid(serverNow(), rangeMs, stepMs);
      const before = client.getQueryData<LiveFrames>(key);
      const known = before?.frames.length === exprs.length ? before : undefined;
      const tailStart = known
        ? Math.max(grid.startMs, known.grid.endMs - OVERLAP_STEPS * stepMs)
        : grid.startMs;
      const tail = { ...grid, startMs: Math.min(tailStart, grid.endMs) };
      const frames = await Promise.all(
        exprs.map(async (expr, index) => {
          const { value } = await queryRange(expr, tail, signal);
          const frame = toFrame(value.resultType === "matrix" ? value.result : [], tail);
          const head = known?.frames[index];
          return head ? continueFrame(head, frame, grid.startMs) : frame;
        }),
      );
      return { grid, frames };
    },
  });
}
