import { useEffect, useMemo, useState } from "react";
import { type FeedState, PullFeed } from "../api/pull-feed";
import { applyChanges, type LivePulls, NO_PULLS, type PullChange } from "../lib/live-pulls";
import { comparePulls, type Pull } from "../lib/pull";
import { Throttle } from "../lib/throttle";

/** The shortest time between two pictures: ten in a second. */
export const DRAW_EVERY_MS = 100;

/** The pulls of now as they are drawn. */
export interface DrawnPulls {
  state: FeedState;
  /** Whether all that there is has been said. */
  known: boolean;
  /** Those that go on first, then the newest first. */
  pulls: Pull[];
  /** Pulls that ended and were let go of, because there were too many. */
  forgotten: number;
  /** Connects again after a refusal. */
  again: () => void;
}

/** Changes that may wait while the page is hidden. */
const WAITING_MAX = 1_000;

/**
 * Follows the pulls of now. However many changes come, they are drawn ten times in a second at most,
 * and not at all while the page is hidden.
 */
export function useLivePulls(): DrawnPulls {
  const [state, setState] = useState<FeedState>({ kind: "connecting" });
  const [live, setLive] = useState<LivePulls | undefined>(undefined);
  const [attempt, setAttempt] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt is another connection
  useEffect(() => {
    let known = NO_PULLS;
    let waiting: PullChange[] = [];
    const apply = (): void => {
      known = applyChanges(known, waiting);
      waiting = [];
    };
    const draw = new Throttle(() => {
      if (document.hidden) return;
      apply();
      setLive(known);
    }, DRAW_EVERY_MS);
    const feed = new PullFeed({
      onState: setState,
      onChanges: (changes) => {
        for (const change of changes) waiting.push(change);
        if (waiting.length > WAITING_MAX) apply();
        draw.want();
      },
    });
    const shown = (): void => draw.want();
    document.addEventListener("visibilitychange", shown);
    return () => {
      feed.close();
      draw.stop();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [attempt]);

  const pulls = useMemo(() => [...(live?.pulls.values() ?? [])].sort(comparePulls), [live]);
  return {
    state,
    known: live !== undefined,
    pulls,
    forgotten: live?.forgotten ?? 0,
    again: () => setAttempt((old) => old + 1),
  };
}
