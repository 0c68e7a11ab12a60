import fc from "fast-check";
import { expect, test } from "vitest";
import { spreadOut } from "../src/lib/axis";

test.each([
  [1, 3, 1, 3],
  [1, 1, 0, 1],
  [0, 0, 0, 1],
  [-2, -2, -2, 0],
  [1, 1 + Number.EPSILON, 0, 1 + Number.EPSILON],
  [1e12, 1e12 + 1, 0, 1e12 + 1],
  [-1e-12, 1e-12, -1e-12, 1e-12],
])("values from %d to %d are drawn from %d to %d", (low, high, bottom, top) => {
  expect(spreadOut(low, high)).toEqual([bottom, top]);
});

test("an axis always holds its values and has room between its ends", () => {
  const number = fc.double({ min: -1e300, max: 1e300, noNaN: true });
  fc.assert(
    fc.property(number, number, (a, b) => {
      const [low, high] = a < b ? [a, b] : [b, a];
      const [bottom, top] = spreadOut(low, high);
      expect(bottom).toBeLessThanOrEqual(low);
      expect(top).toBeGreaterThanOrEqual(high);
      expect(top - bottom).toBeGreaterThan(Math.max(Math.abs(bottom), Math.abs(top)) * 1e-7);
    }),
  );
});
