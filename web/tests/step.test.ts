import { expect, test } from "vitest";
import { chooseStep, POINTS_MAX, stepProblem } from "../src/lib/step";

test.each([
  [60_000, 1_000],
  [300_000, 1_000],
  [3_600_000, 10_000],
  [86_400_000, 300_000],
  [7 * 86_400_000, 1_800_000],
])("a range of %d ms has a step of %d ms", (rangeMs, expected) => {
  expect(chooseStep(rangeMs)).toBe(expected);
});

test("the chosen step never asks for more points than the server answers", () => {
  for (let rangeMs = 1_000; rangeMs < 3e12; rangeMs *= 1.7) {
    const stepMs = chooseStep(rangeMs);
    expect(stepProblem(stepMs, rangeMs)).toBeUndefined();
    expect(stepMs % 1_000).toBe(0);
  }
});

test("a step at the limit is fine, one below it is not", () => {
  const rangeMs = (POINTS_MAX - 1) * 1_000;
  expect(stepProblem(1_000, rangeMs)).toBeUndefined();
  expect(stepProblem(1_000, rangeMs + 1_000)).toBe(
    "a step of 1s gives 11001 points per series; use 2s or more",
  );
  expect(stepProblem(Number.NaN, rangeMs)).toBe("the step must be at least 1ms");
  expect(stepProblem(0, rangeMs)).toBe("the step must be at least 1ms");
});
