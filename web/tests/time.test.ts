import { describe, expect, test } from "vitest";
import {
  describeRange,
  fixedRange,
  formatAxisTimes,
  formatDateTime,
  formatDuration,
  parseDuration,
  parseTime,
  resolveRange,
  shiftRange,
  widenRange,
} from "../src/lib/time";

const NOW = new Date(2026, 10, 21, 12, 0, 0).getTime();

describe("durations", () => {
  test.each([
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["250ms", 250],
    ["1w", 604_800_000],
    ["15", 15_000],
    ["0.5", 500],
    ["", undefined],
    ["m", undefined],
    ["5 m", undefined],
    ["-5m", undefined],
    ["1x", undefined],
  ])("%j is %j ms", (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each([
    [0, "0s"],
    [250, "250ms"],
    [90_000, "1m30s"],
    [86_400_000, "1d"],
    [5_400_000, "1h30m"],
  ])("%j ms is written %j", (ms, expected) => {
    expect(formatDuration(ms)).toBe(expected);
  });

  test("what is written is read back", () => {
    for (const ms of [1, 999, 1_000, 61_001, 3_600_000, 90_061_001]) {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }
  });
});

describe("times", () => {
  test.each([
    ["now", NOW],
    ["now-1h", NOW - 3_600_000],
    ["now - 90m", NOW - 5_400_000],
    ["now+5m", NOW + 300_000],
    ["1700000000000", 1_700_000_000_000],
    ["2026-11-21 10:00:00", NOW - 7_200_000],
    ["2026-11-21T10:00", NOW - 7_200_000],
    ["2026-11-21", NOW - 43_200_000],
    ["2026-11-21T10:00:00Z", Date.UTC(2026, 10, 21, 10)],
    ["2026-02-30", undefined],
    ["2026-13-01", undefined],
    ["now-", undefined],
    ["now-1y2", undefined],
    ["yesterday", undefined],
    ["12", undefined],
    ["", undefined],
  ])("%j", (text, expected) => {
    expect(parseTime(text, NOW)).toBe(expected);
  });

  test("a written time is read back", () => {
    expect(parseTime(formatDateTime(NOW), 0)).toBe(NOW);
  });
});

describe("ranges", () => {
  const hour = { startMs: NOW - 3_600_000, endMs: NOW };

  test("are resolved against now", () => {
    expect(resolveRange({ from: "now-1h", to: "now" }, NOW)).toEqual(hour);
  });

  test("that are empty, reversed or endless are none", () => {
    expect(resolveRange({ from: "now", to: "now" }, NOW)).toBeUndefined();
    expect(resolveRange({ from: "now", to: "now-1h" }, NOW)).toBeUndefined();
    expect(resolveRange({ from: "now-101y", to: "now" }, NOW)).toBeUndefined();
    expect(resolveRange({ from: "x", to: "now" }, NOW)).toBeUndefined();
  });

  test("move by half their length", () => {
    expect(shiftRange(hour, -1)).toEqual({ startMs: NOW - 5_400_000, endMs: NOW - 1_800_000 });
  });

  test("widen to twice their length, but not into the future", () => {
    expect(widenRange(hour, NOW)).toEqual({ startMs: NOW - 7_200_000, endMs: NOW });
    const old = { startMs: NOW - 10_000_000, endMs: NOW - 8_000_000 };
    expect(widenRange(old, NOW)).toEqual({ startMs: NOW - 11_000_000, endMs: NOW - 7_000_000 });
  });

  test("are described shortly", () => {
    expect(describeRange({ from: "now-6h", to: "now" }, NOW)).toBe("Last 6h");
    expect(describeRange(fixedRange(hour), NOW)).toBe("2026-11-21 11:00:00 – 12:00:00");
    expect(describeRange({ from: "?", to: "now" }, NOW)).toBe("Choose a range");
  });
});

test("axis labels are as fine as their distance, and a new day shows its date", () => {
  const second = NOW / 1_000;
  expect(formatAxisTimes([second, second + 5], 5)).toEqual(["12:00:00", "12:00:05"]);
  expect(formatAxisTimes([second, second + 43_200], 43_200)).toEqual(["12:00", "11-22 00:00"]);
  expect(formatAxisTimes([second], 86_400)).toEqual(["11-21"]);
});
