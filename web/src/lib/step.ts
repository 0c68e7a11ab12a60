import { formatDuration } from "./time";

/** The most points per series that the server answers. */
export const POINTS_MAX = 11_000;

/** Points per series that a chart of a usual width can show. */
export const POINTS_WANTED = 480;

const STEPS_S = [
  1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200,
  86_400, 172_800, 604_800,
];

/** Returns a round step in milliseconds with about the wanted number of points, at least 1 s. */
export function chooseStep(rangeMs: number, pointsWanted: number = POINTS_WANTED): number {
  const wanted = rangeMs / 1_000 / Math.max(1, pointsWanted);
  const round = STEPS_S.find((step) => step >= wanted * 0.999);
  return (round ?? Math.ceil(wanted / 86_400) * 86_400) * 1_000;
}

/** Returns what is wrong with a step for a range, in words for people, or undefined. */
export function stepProblem(stepMs: number, rangeMs: number): string | undefined {
  if (!Number.isFinite(stepMs) || stepMs < 1) return "the step must be at least 1ms";
  const points = Math.floor(rangeMs / stepMs) + 1;
  if (points <= POINTS_MAX) return undefined;
  const smallest = formatDuration(Math.ceil(rangeMs / (POINTS_MAX - 1) / 1_000) * 1_000);
  return `a step of ${formatDuration(stepMs)} gives ${points} points per series; use ${smallest} or more`;
}
