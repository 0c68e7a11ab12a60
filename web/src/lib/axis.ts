/** Less than this share of its size is no difference that an axis could show. */
const SPREAD_MIN = 1e-6;

/**
 * Returns both ends of values with room for an axis between them. Values that are all but equal get
 * zero for the other end: an axis between numbers that differ in the last digits has no end of marks.
 */
export function spreadOut(low: number, high: number): [number, number] {
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > size * SPREAD_MIN) return [low, high];
  if (size === 0) return [0, 1];
  return high > 0 ? [0, high] : [low, 0];
}
