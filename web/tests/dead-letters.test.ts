import { describe, expect, test } from "vitest";
import type { DeadLetter } from "../src/api/types";
import {
  countReplay,
  decodeBase64,
  discardsText,
  hexDump,
  NO_REPLAYS,
  type ReplayResult,
  type Replays,
  readableText,
  replayAnswer,
  replayResult,
  replaysText,
  stillChosen,
} from "../src/lib/dead-letters";

const LETTER: DeadLetter = {
  id: "12",
  at: "2026-11-21T15:42:13.123Z",
  state: "waiting",
  consumer: "gateway",
  subject: "events.shop.screen.view",
  headers: {},
  offset: null,
  attempts: 2,
  error: "no",
  bytes: 3,
  event: null,
};

describe("the bytes of a letter", () => {
  test("come from Base64", () => {
    expect(decodeBase64("AP8=")).toEqual(new Uint8Array([0, 255]));
    expect(decodeBase64("%")).toBeUndefined();
  });

  test("are shown with their places and as text", () => {
    const bytes = new Uint8Array([...Array(16).keys()].map((index) => index + 0x5b));
    expect(hexDump(bytes)).toBe(
      "00000000  5b 5c 5d 5e 5f 60 61 62  63 64 65 66 67 68 69 6a  [\\]^_`abcdefghij",
    );
    expect(hexDump(new Uint8Array([0x41, 0x0a]))).toBe(`00000000  41 0a${" ".repeat(45)}A.`);
    expect(hexDump(new Uint8Array())).toBe("");
  });

  test("are shown up to a limit", () => {
    expect(hexDump(new Uint8Array(17), 16).split("\n")).toHaveLength(2);
    expect(hexDump(new Uint8Array(17), 16)).toContain("… 1 more bytes");
    expect(hexDump(new Uint8Array(16), 16).split("\n")).toHaveLength(1);
  });

  test.each<[string, number[], string | undefined]>([
    ["text", [0x7b, 0x0a, 0xc3, 0xa4, 0x7d], "{\nä}"],
    ["other bytes than text", [0x0a, 0x04, 0x41], undefined],
    ["broken text", [0xc3], undefined],
    ["nothing", [], undefined],
  ])("are read where they are %s", (_, bytes, expected) => {
    expect(readableText(new Uint8Array(bytes))).toBe(expected);
  });
});

describe("a letter that was sent back", () => {
  test("is gone, on its way, or has failed again", () => {
    expect(replayResult(undefined)).toEqual({ kind: "processed" });
    expect(replayResult({ ...LETTER, state: "replaying" })).toEqual({ kind: "running" });
    expect(replayResult(LETTER)).toEqual({ kind: "failed", error: "no" });
  });

  test.each<[string, ReplayResult]>([
    ["accepted", { kind: "processed" }],
    ["duplicate", { kind: "processed" }],
    ["rejected", { kind: "failed", error: "no" }],
    ["replaying", { kind: "running" }],
  ])("is %s at once", (state, expected) => {
    expect(replayAnswer({ state, event_id: null, offset: null, error: "no" })).toEqual(expected);
  });

  test.each<[Partial<Replays>, string]>([
    [{ running: 1 }, "1 letter is being processed again …"],
    [{ processed: 2 }, "2 letters were processed."],
    [
      { processed: 1, failures: ["no", "no"] },
      "1 letter was processed. 2 letters failed again: no.",
    ],
    [
      { unknown: 3, running: 2 },
      "3 letters are still on the way back. 2 letters are being processed again …",
    ],
  ])("%j is told as %j", (replays, expected) => {
    expect(replaysText({ ...NO_REPLAYS, ...replays })).toBe(expected);
  });

  test("is counted once", () => {
    let replays: Replays = { ...NO_REPLAYS, running: 4 };
    replays = countReplay(replays, { kind: "processed" });
    replays = countReplay(replays, { kind: "failed", error: "a" });
    replays = countReplay(replays, "b");
    replays = countReplay(replays, { kind: "running" });
    expect(replays).toEqual({ running: 0, processed: 1, failures: ["a", "b"], unknown: 1 });
  });
});

test("what was discarded is told", () => {
  expect(discardsText(1, [])).toBe("1 letter was discarded.");
  expect(discardsText(2, ["gone", "gone"])).toBe(
    "2 letters were discarded. 2 letters were not: gone.",
  );
  expect(discardsText(0, ["gone"])).toBe("1 letter was not: gone.");
});

test("only what is listed is chosen", () => {
  const letters = [{ id: "3" }, { id: "2" }];
  expect(stillChosen(new Set(["2", "1"]), letters)).toEqual(["2"]);
});
