/** The pulls of now, made of what the server says one after the other. */

import { comparePulls, isEnded, type Pull } from "./pull";

/** What the server says. */
export type PullChange =
  | { kind: "pull"; pull: Pull }
  /** The server has let go of it, or it does not fit the filter any more. */
  | { kind: "removed"; id: string }
  /** What was said before does not count any more; all there is follows. */
  | { kind: "reset" };

/** What is known. Never changed: each change makes another. */
export interface LivePulls {
  pulls: ReadonlyMap<string, Pull>;
  /** Pulls that ended and were let go of here, because there were too many. */
  forgotten: number;
}

/** The most pulls that are kept; beyond, the oldest of those that ended are let go of. */
export const LIVE_PULLS_MAX = 5_000;

/** Before anything was said. */
export const NO_PULLS: LivePulls = { pulls: new Map(), forgotten: 0 };

/** Returns whether what is said of a pull is newer than what is known, so that late news change nothing. */
function isNews(known: Pull | undefined, said: Pull): boolean {
  if (!known || said.updatedAt !== known.updatedAt) {
    return !known || said.updatedAt > known.updatedAt;
  }
  return isEnded(said) || !isEnded(known);
}

/** Lets go of the oldest pulls that ended, where there are more than a limit in all. */
function forget(pulls: Map<string, Pull>, limit: number): number {
  const excess = pulls.size - limit;
  if (excess <= 0) return 0;
  const ended = [...pulls.values()].filter(isEnded).sort(comparePulls);
  const oldest = ended.slice(Math.max(0, ended.length - excess));
  for (const { id } of oldest) pulls.delete(id);
  return oldest.length;
}

/** Returns what is known after some changes, in the order in which they came. */
export function applyChanges(
  before: LivePulls,
  changes: readonly PullChange[],
  limit = LIVE_PULLS_MAX,
): LivePulls {
  if (changes.length === 0) return before;
  const pulls = new Map(before.pulls);
  let { forgotten } = before;
  for (const change of changes) {
    if (change.kind === "reset") {
      pulls.clear();
      forgotten = 0;
    } else if (change.kind === "removed") pulls.delete(change.id);
    else if (isNews(pulls.get(change.pull.id), change.pull)) {
      pulls.set(change.pull.id, change.pull);
    }
  }
  return { pulls, forgotten: forgotten + forget(pulls, limit) };
}

/** How many pulls there are, and how fast they are together. */
export interface PullTotals {
  total: number;
  active: number;
  completed: number;
  failed: number;
  stalled: number;
  bytesPerSecond: number;
}

/** Returns the totals of pulls. */
export function totalsOf(pulls: Iterable<Pull>): PullTotals {
  const totals = { total: 0, active: 0, completed: 0, failed: 0, stalled: 0, bytesPerSecond: 0 };
  for (const pull of pulls) {
    totals.total += 1;
    if (pull.state === "completed") totals.completed += 1;
    else if (pull.state === "failed") totals.failed += 1;
    else {
      totals.active += 1;
      totals.bytesPerSecond += pull.bytesPerSecond;
      if (pull.stalledSince !== undefined) totals.stalled += 1;
    }
  }
  return totals;
}
