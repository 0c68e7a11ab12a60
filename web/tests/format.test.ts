import { describe, expect, test } from "vitest";
import {
  formatCount,
  formatNumber,
  guessUnit,
  parseSampleValue,
  type Unit,
} from "../src/lib/format";

describe("numbers", () => {
  test.each<[number | null, Unit, string]>([
    [0, "short", "0"],
    [0.5, "short", "0.5"],
    [1234, "short", "1.23k"],
    [-1_500_000, "short", "-1.5M"],
    [0.00001, "short", "1.0e-5"],
    [1e25, "short", "1.00e+25"],
    [12.345, "percent", "12.3 %"],
    [100, "percent", "100 %"],
    [0.123, "percent", "0.12 %"],
    [512, "bytes", "512 B"],
    [1536, "bytes", "1.5 KiB"],
    [3 * 2 ** 30, "bytes", "3 GiB"],
    [2048, "bytes-per-second", "2 KiB/s"],
    [1200, "per-second", "1.2k/s"],
    [0, "seconds", "0 s"],
    [0.0000005, "seconds", "500 ns"],
    [0.00025, "seconds", "250 µs"],
    [0.25, "seconds", "250 ms"],
    [90, "seconds", "90 s"],
    [3 * 86_400, "seconds", "3 d"],
    [59.9, "age", "59s"],
    [3_599, "age", "59m 59s"],
    [86_399, "age", "23h 59m"],
    [3.55 * 86_400, "age", "3d 13h"],
    [null, "bytes", "–"],
    [Number.NaN, "bytes", "NaN"],
    [Number.POSITIVE_INFINITY, "short", "+Inf"],
    [Number.NEGATIVE_INFINITY, "short", "-Inf"],
  ])("%j as %s is %j", (value, unit, expected) => {
    expect(formatNumber(value, unit)).toBe(expected);
  });

  test("counts are grouped", () => {
    expect(formatCount(1_234_567)).toBe("1\u202f234\u202f567");
    expect(formatCount(123)).toBe("123");
  });
});

test("sample values are read as Prometheus writes them", () => {
  expect(parseSampleValue("+Inf")).toBe(Number.POSITIVE_INFINITY);
  expect(parseSampleValue("-Inf")).toBe(Number.NEGATIVE_INFINITY);
  expect(parseSampleValue("NaN")).toBeNaN();
  expect(parseSampleValue("1.5e+3")).toBe(1500);
});

test.each<[string, Unit]>([
  ["rate(node_network_receive_bytes_total[5m])", "bytes-per-second"],
  ["node_memory_MemFree_bytes", "bytes"],
  ["node_memory_MemFree_bytes / node_memory_MemTotal_bytes", "short"],
  ["histogram_quantile(0.9, rate(http_request_duration_seconds_bucket[5m]))", "seconds"],
  ["rate(process_cpu_seconds_total[5m])", "short"],
  ["up", "short"],
])("the unit of %s is %s", (expr, expected) => {
  expect(guessUnit(expr)).toBe(expected);
});
