import { queryInstant } from "./client";

/** Differences below this are the network's, not the clock's. */
const OFFSET_MIN_MS = 1_500;

let offsetMs = 0;

/** Returns the server's present time: the browser's clock may be wrong, or on another machine. */
export function serverNow(): number {
  return Date.now() + offsetMs;
}

/** Asks the server for its time and remembers how far the browser's clock is off. */
export async function measureClock(signal?: AbortSignal): Promise<number> {
  const sent = Date.now();
  const { value } = await queryInstant("time()", undefined, signal);
  const middle = (sent + Date.now()) / 2;
  if (value.resultType === "scalar") {
    const measured = Number(value.result[1]) * 1_000 - middle;
    offsetMs = Math.abs(measured) < OFFSET_MIN_MS ? 0 : measured;
  }
  return offsetMs;
}
