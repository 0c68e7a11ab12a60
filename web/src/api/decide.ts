import {
  countReplay,
  NO_REPLAYS,
  type ReplayResult,
  type Replays,
  replayResult,
} from "../lib/dead-letters";
import { ApiError } from "./client";
import { deadLetter, discardLetter, replayLetter } from "./events";

/** How often it is looked at what became of the letters, and how many times. */
const LOOK_EVERY_MS = 1_000;
const LOOKS_MAX = 15;

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

async function look(id: string): Promise<ReplayResult> {
  try {
    return replayResult(await deadLetter(id));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return replayResult(undefined);
    throw error;
  }
}

/** Sends letters back, and waits a while for what becomes of them; tells each change. */
export async function replayLetters(
  ids: string[],
  onChange: (replays: Replays) => void,
): Promise<void> {
  let replays: Replays = { ...NO_REPLAYS, running: ids.length };
  const count = (result: ReplayResult | string): void => {
    replays = countReplay(replays, result);
    onChange(replays);
  };
  onChange(replays);
  let running: string[] = [];
  for (const id of ids) {
    try {
      await replayLetter(id);
      running.push(id);
    } catch (reason) {
      count(messageOf(reason));
    }
  }
  for (let looks = 0; looks < LOOKS_MAX && running.length > 0; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const still: string[] = [];
    for (const id of running) {
      const result = await look(id).catch(messageOf);
      if (typeof result !== "string" && result.kind === "running") still.push(id);
      else count(result);
    }
    running = still;
  }
  for (const _ of running) count({ kind: "running" });
}

/** Removes letters for ever, one after the other; returns why some were not. */
export async function discardLetters(ids: string[]): Promise<string[]> {
  const failures: string[] = [];
  for (const id of ids) {
    try {
      await discardLetter(id);
    } catch (reason) {
      failures.push(messageOf(reason));
    }
  }
  return failures;
}
