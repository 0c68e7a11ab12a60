import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MatrixSeries } from "../src/api/types";
import {
  continueFrame,
  drawable,
  growingStart,
  isolatedPoints,
  lastValue,
  liveGrid,
  stackColumns,
  toFrame,
} from "../src/lib/frame";

function series(name: string, points: [number, string][]): MatrixSeries {
  return { metric: { __name__: name }, values: points };
}

/** Returns the columns of a frame by the name of the metric. */
function columns(frame: ReturnType<typeof toFrame>): Record<string, (number | null)[]> {
  return Object.fromEntries(frame.series.map((each) => [each.labels.__name__, each.values]));
}

const GRID = { startMs: 10_000, endMs: 14_000, stepMs: 1_000 };

describe("the columns of an answer", () => {
  test("have a gap where a series has no sample", () => {
    const frame = toFrame(
      [
        series("a", [
          [10, "1"],
          [12, "3"],
        ]),
        series("b", [[14, "5"]]),
      ],
      GRID,
    );
    expect(frame.times).toEqual([10, 11, 12, 13, 14]);
    expect(columns(frame)).toEqual({ a: [1, null, 3, null, null], b: [null, null, null, null, 5] });
  });

  test("leave out samples outside the grid", () => {
    expect(
      columns(
        toFrame(
          [
            series("a", [
              [9, "1"],
              [15, "1"],
            ]),
          ],
          GRID,
        ),
      ),
    ).toEqual({
      a: [null, null, null, null, null],
    });
  });

  test("of a series with histograms only are gaps", () => {
    const histogram: MatrixSeries = { metric: { __name__: "h" }, histograms: [] };
    expect(columns(toFrame([histogram], GRID)).h).toEqual([null, null, null, null, null]);
  });

  test("of a grid that makes no sense are empty", () => {
    expect(toFrame([], { startMs: 0, endMs: 1e15, stepMs: 1 }).times).toEqual([]);
    expect(toFrame([], { startMs: 2, endMs: 1, stepMs: 1 }).times).toEqual([]);
  });
});

describe("a continued frame", () => {
  test("takes the later answer where both have a time, and drops what is too old", () => {
    const head = toFrame(
      [
        series("a", [
          [10, "1"],
          [11, "2"],
          [14, "9"],
        ]),
      ],
      GRID,
    );
    const next = { startMs: 13_000, endMs: 15_000, stepMs: 1_000 };
    const tail = toFrame(
      [
        series("a", [
          [13, "4"],
          [15, "6"],
        ]),
        series("b", [[14, "7"]]),
      ],
      next,
    );
    const frame = continueFrame(head, tail, 11_000);
    expect(frame.times).toEqual([11, 12, 13, 14, 15]);
    expect(columns(frame)).toEqual({ a: [2, null, 4, null, 6], b: [null, null, null, 7, null] });
  });

  test("forgets a series that has no sample left", () => {
    const head = toFrame([series("a", [[10, "1"]]), series("b", [[14, "1"]])], GRID);
    const tail = toFrame([], { startMs: 15_000, endMs: 16_000, stepMs: 1_000 });
    expect(columns(continueFrame(head, tail, 12_000))).toEqual({ b: [null, null, 1, null, null] });
  });

  test("starts anew after a long pause", () => {
    const head = toFrame([series("a", [[10, "1"]])], GRID);
    const tail = toFrame([series("a", [[100, "2"]])], {
      startMs: 100_000,
      endMs: 101_000,
      stepMs: 1_000,
    });
    const frame = continueFrame(head, tail, 100_000);
    expect(frame.times).toEqual([100, 101]);
    expect(columns(frame)).toEqual({ a: [2, null] });
  });

  test("equals one answer for the whole range, wherever it was cut", () => {
    const values = fc.array(fc.option(fc.integer({ min: 0, max: 9 })), {
      minLength: 12,
      maxLength: 12,
    });
    fc.assert(
      fc.property(values, values, fc.integer({ min: 1, max: 11 }), (a, b, cut) => {
        const matrix = [a, b].map((column, index) =>
          series(
            `s${index}`,
            column.flatMap((v, i): [number, string][] => (v === null ? [] : [[i, `${v}`]])),
          ),
        );
        const on = (from: number, to: number) =>
          toFrame(matrix, { startMs: from * 1_000, endMs: to * 1_000, stepMs: 1_000 });
        const joined = continueFrame(on(0, cut), on(cut, 11), 2_000);
        const whole = on(2, 11);
        const kept = whole.series.filter((each) => each.values.some((value) => value !== null));
        expect(joined).toEqual({ times: whole.times, series: kept });
      }),
    );
  });
});

test("a live grid ends at the last whole step", () => {
  expect(liveGrid(61_999, 10_000, 5_000)).toEqual({
    startMs: 50_000,
    endMs: 60_000,
    stepMs: 5_000,
  });
});

test("stacked columns add up over gaps", () => {
  const stacked = stackColumns([
    [1, null, 2, null],
    [10, 20, null, null],
    [100, Number.NaN, Number.POSITIVE_INFINITY, null],
  ]);
  expect(stacked).toEqual([
    [1, null, 2, null],
    [11, 20, 2, null],
    [111, 20, 2, null],
  ]);
});

test("what is not a finite number is not drawn", () => {
  expect(drawable([1, Number.NaN, Number.POSITIVE_INFINITY, null])).toEqual([1, null, null, null]);
});

test("points between gaps are found", () => {
  expect(isolatedPoints([1, null, 2, 3, null, 4])).toEqual([0, 5]);
});

test("the last value does not come from too far back", () => {
  expect(lastValue([1, 2, null])).toBe(2);
  expect(lastValue([1, null, null], 2)).toBeNull();
  expect(lastValue([])).toBeNull();
});

test("the window of a live chart grows from a minute to its whole range", () => {
  const grid = { startMs: 0, endMs: 300_000, stepMs: 1_000 };
  const since = (second: number) => [toFrame([series("a", [[second, "1"]])], grid)];
  expect(growingStart([], grid)).toBe(240);
  expect(growingStart(since(290), grid)).toBe(240);
  expect(growingStart(since(100), grid)).toBe(100);
  expect(growingStart(since(0), grid)).toBe(0);
  expect(growingStart(since(100), { ...grid, endMs: 900_000 })).toBe(0);
});
