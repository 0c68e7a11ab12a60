import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { discardLetters, replayLetters } from "../src/api/decide";
import { replaysText } from "../src/lib/dead-letters";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** What the server has, by identifier; what is sent back keeps its state until the test changes it. */
function server(letters: Map<string, string>) {
  vi.stubGlobal("fetch", async (address: string, init: RequestInit) => {
    const url = new URL(address, "http://h");
    const id = url.pathname.split("/")[4];
    if (id === undefined) {
      const [found] = [...letters].filter(
        ([each]) => each < (url.searchParams.get("before") ?? ""),
      );
      const list = found ? [{ id: found[0], state: found[1], error: "again", attempts: 2 }] : [];
      return Response.json({ letters: list, more: false, depths: [] });
    }
    if (!letters.has(id)) {
      return Response.json({ code: "not_found", message: "no such letter" }, { status: 404 });
    }
    if (init.method === "DELETE") {
      letters.delete(id);
      return new Response(null, { status: 204 });
    }
    if (letters.get(id) === "refused") return Response.json({ state: "rejected", error: "no" });
    letters.set(id, "replaying");
    return Response.json({ state: "replaying", error: null });
  });
}

test("it is told what becomes of letters that are sent back", async () => {
  const letters = new Map([
    ["7", "waiting"],
    ["6", "waiting"],
    ["5", "waiting"],
  ]);
  server(letters);
  const told: string[] = [];
  const done = replayLetters(["7", "6", "5", "4"], (replays) => told.push(replaysText(replays)));
  await vi.advanceTimersByTimeAsync(1_500);
  expect(told.at(-1)).toBe(
    "1 letter failed again: no such letter. 3 letters are being processed again …",
  );
  letters.delete("7");
  letters.set("6", "waiting");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(told.at(-1)).toContain("1 letter was processed.");
  expect(told.at(-1)).toContain("2 letters failed again: no such letter; again.");
  await vi.advanceTimersByTimeAsync(60_000);
  await done;
  expect(told.at(-1)).toContain("1 letter is still on the way back.");
});

test("the gateway says at once what becomes of a letter", async () => {
  server(new Map([["7", "refused"]]));
  const told: string[] = [];
  await replayLetters(["7"], (replays) => told.push(replaysText(replays)));
  expect(told.at(-1)).toBe("1 letter failed again: no.");
});

test("a letter that cannot be discarded does not keep the others", async () => {
  const letters = new Map([
    ["7", "waiting"],
    ["5", "waiting"],
  ]);
  server(letters);
  expect(await discardLetters(["7", "6", "5"])).toEqual(["no such letter"]);
  expect(letters.size).toBe(0);
});
