import {
  countReplay,
  NO_REPLAYS,
  type ReplayResult,
  type Replays,
  replayAnswer,
  replayResult,
} from "../lib/dead-letters";
import { discardLetter, findLetter, replayLetter } from "./events";

/** How often it is looked at what became of the letters, and how many times. */
const LOOK_EVERY_MS = 1_000;
const LOOKS_MAX = 15;

function messageOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

function isRunning(result: ReplayResult | string): boolean {
  return typeof result !== "string" && result.kind === "running";
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
    const result = await replayLetter(id).then(replayAnswer, messageOf);
    if (isRunning(result)) running.push(id);
    else count(result);
  }
  for (let looks = 0; looks < LOOKS_MAX && running.length > 0; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const still: string[] = [];
    for (const id of running) {
      const result = await findLetter(id).then(replayResult, messageOf);
      if (isRunning(result)) still.push(id);
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
