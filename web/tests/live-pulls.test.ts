import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  applyChanges,
  type LivePulls,
  NO_PULLS,
  type PullChange,
  totalsOf,
} from "../src/lib/live-pulls";
import type { Pull } from "../src/lib/pull";
import { Throttle } from "../src/lib/throttle";
import { pull } from "./some-pulls";

/** A pull at a moment, in seconds. */
function at(id: string, second: number, state = "downloading", fields = {}): Pull {
  const updatedAt = new Date(Date.UTC(2026, 10, 21, 12, 0, second)).toISOString();
  const completedAt = state === "completed" || state === "failed" ? { completedAt: updatedAt } : {};
  return pull({ id, state, updatedAt, ...completedAt, ...fields });
}

function said(...pulls: Pull[]): PullChange[] {
  return pulls.map((each) => ({ kind: "pull", pull: each }));
}

function states(live: LivePulls): string {
  return [...live.pulls.values()].map(({ id, state }) => `${id} ${state}`).join(", ");
}

function know(...changes: PullChange[]): LivePulls {
  return applyChanges(NO_PULLS, changes);
}

describe("the pulls of now", () => {
  test("are the newest that was said of each", () => {
    expect(states(know(...said(at("a", 1), at("b", 1), at("a", 2, "completed"))))).toBe(
      "a completed, b downloading",
    );
  });

  test("do not change by what comes late or twice", () => {
    const late = know(...said(at("a", 5, "unpacking"), at("a", 3), at("a", 5, "unpacking")));
    expect(states(late)).toBe("a unpacking");
  });

  test("stay ended where a picture of the same moment says otherwise", () => {
    expect(states(know(...said(at("a", 5, "completed"), at("a", 5))))).toBe("a completed");
    expect(states(know(...said(at("a", 5), at("a", 5, "failed"))))).toBe("a failed");
  });

  test("take what is new without a new time: that it stalls, that its agent is silent", () => {
    const stalled = at("a", 5, "downloading", { stalledSince: "2026-11-21T12:00:05Z" });
    const live = know(...said(at("a", 5), stalled));
    expect(live.pulls.get("a")?.stalledSince).toBeDefined();
    expect(states(know(...said(at("a", 5), at("a", 5, "unknown"))))).toBe("a unknown");
  });

  test("come back when a silent agent does", () => {
    expect(states(know(...said(at("a", 5, "unknown"), at("a", 9))))).toBe("a downloading");
  });

  test("go when the server lets go of them", () => {
    const live = know(...said(at("a", 1), at("b", 1)), { kind: "removed", id: "a" });
    expect(states(live)).toBe("b downloading");
    expect(states(applyChanges(live, [{ kind: "removed", id: "else" }]))).toBe("b downloading");
  });

  test("are others after a reset", () => {
    const live = know(...said(at("a", 1), at("b", 1)), { kind: "reset" }, ...said(at("b", 1)));
    expect(states(live)).toBe("b downloading");
  });

  test("are not changed in place", () => {
    const before = know(...said(at("a", 1)));
    applyChanges(before, [{ kind: "reset" }]);
    expect(states(before)).toBe("a downloading");
    expect(applyChanges(before, [])).toBe(before);
  });

  test("are kept up to a limit: those that go on, and the newest that ended", () => {
    const minute = (id: string, value: number, state: string): Pull =>
      at(id, 1, state, { startedAt: `2026-11-21T11:0${value}:00Z` });
    const pulls = [
      minute("oldest", 1, "completed"),
      minute("old", 2, "failed"),
      minute("new", 3, "completed"),
      minute("runs", 0, "downloading"),
    ];
    const live = applyChanges(NO_PULLS, said(...pulls), 2);
    expect(states(live)).toBe("new completed, runs downloading");
    expect(live.forgotten).toBe(2);
    const running = applyChanges(NO_PULLS, said(at("a", 1), at("b", 1), at("c", 1)), 2);
    expect(running.pulls.size).toBe(3);
  });

  const step = fc.record({
    id: fc.constantFrom("a", "b", "c"),
    second: fc.nat(30),
    state: fc.constantFrom("queued", "downloading", "unpacking", "unknown"),
  });

  test("are the same however the news are ordered, repeated and cut into parts", () => {
    const news = fc.uniqueArray(step, { maxLength: 20, selector: (s) => `${s.id} ${s.second}` });
    fc.assert(
      fc.property(
        news.chain((steps) =>
          fc.record({
            steps: fc.constant(steps),
            ends: fc.subarray(["a", "b", "c"]),
            order: fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
            cut: fc.nat(40),
          }),
        ),
        ({ steps, ends, order, cut }) => {
          const pulls = [
            ...steps.map(({ id, second, state }) => at(id, second, state)),
            ...ends.map((id) => at(id, 40, "completed")),
          ];
          const twice = [...pulls, ...pulls].map((each, index) => ({
            each,
            key: order[index] ?? 0,
          }));
          const shuffled = twice.sort((a, b) => a.key - b.key).map(({ each }) => each);
          const parts = [shuffled.slice(0, cut), shuffled.slice(cut)];
          const live = parts.reduce((known, part) => applyChanges(known, said(...part)), NO_PULLS);
          for (const id of ["a", "b", "c"]) {
            const newest = pulls
              .filter((each) => each.id === id)
              .sort((x, y) => x.updatedAt - y.updatedAt)
              .at(-1);
            expect(live.pulls.get(id)?.updatedAt).toBe(newest?.updatedAt);
            expect(live.pulls.get(id)?.state).toBe(newest?.state);
          }
        },
      ),
    );
  });

  test("add up", () => {
    const ended = ["completed", "failed", "completed"].map((state, n) => at(`e${n}`, 1, state));
    const stalled = at("s", 1, "downloading", { stalledSince: "2026-11-21T12:00:00Z" });
    const fast = at("f", 1, "downloading", { bytesPerSec: 7 });
    const totals = totalsOf([...ended, { ...stalled, bytesPerSecond: 0 }, fast]);
    expect(totals).toEqual({
      total: 5,
      active: 2,
      completed: 2,
      failed: 1,
      stalled: 1,
      bytesPerSecond: 7,
    });
  });
});

describe("a flood of news", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("is drawn ten times in a second, and to its end", () => {
    let drawn = 0;
    let newest = -1;
    let seen = -1;
    const throttle = new Throttle(() => {
      drawn += 1;
      seen = newest;
    }, 100);
    for (let index = 0; index < 10_000; index += 1) {
      newest = index;
      throttle.want();
      if (index % 10 === 9) vi.advanceTimersByTime(1);
    }
    expect(drawn).toBe(10);
    vi.advanceTimersByTime(1_000);
    expect(seen).toBe(9_999);
    expect(drawn).toBeLessThanOrEqual(11);
    throttle.want();
    throttle.stop();
    vi.advanceTimersByTime(1_000);
    expect(drawn).toBeLessThanOrEqual(11);
  });

  test("of a hundred thousand pulls leaves few in the page", () => {
    let live = NO_PULLS;
    for (let part = 0; part < 100; part += 1) {
      const pulls = Array.from({ length: 1_000 }, (_, n) => ({
        ...at("x", 1, "completed"),
        id: `${part}-${n}`,
        startedAt: part * 1_000 + n,
      }));
      live = applyChanges(live, said(...pulls));
    }
    expect(live.pulls.size).toBe(5_000);
    expect(live.forgotten).toBe(95_000);
    expect(live.pulls.has("99-999")).toBe(true);
  });
});
