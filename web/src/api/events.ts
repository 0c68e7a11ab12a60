import { LETTERS_PAGE } from "../lib/dead-letters";
import { ask } from "./client";
import type { DeadLetter, DeadLetterInFull, DeadLetterPage, EventsStatus, Replayed } from "./types";

const LETTERS_PATH = "/v1/events/dead-letters";

/** Returns how the event log is. */
export function eventsStatus(signal?: AbortSignal): Promise<EventsStatus> {
  return ask({ path: "/v1/events/status", signal });
}

/** Returns a page of dead letters, the newest first; an empty consumer is all of them. */
export function deadLetters(
  consumer: string,
  before: string | null,
  signal?: AbortSignal,
): Promise<DeadLetterPage> {
  const params: Record<string, string> = { limit: String(LETTERS_PAGE) };
  if (consumer !== "") params.consumer = consumer;
  if (before !== null) params.before = before;
  return ask({ path: LETTERS_PATH, params, signal });
}

function letterPath(id: string): string {
  return `${LETTERS_PATH}/${encodeURIComponent(id)}`;
}

/** Returns a dead letter in full. */
export function deadLetter(id: string, signal?: AbortSignal): Promise<DeadLetterInFull> {
  return ask({ path: letterPath(id), signal });
}

/** Returns a dead letter, or undefined where it is gone. */
export async function findLetter(id: string): Promise<DeadLetter | undefined> {
  // A refusal would be an error in the browser's console; the letter before the next one is none.
  const params = { before: String(BigInt(id) + 1n), limit: "1" };
  const { letters } = await ask<DeadLetterPage>({ path: LETTERS_PATH, params });
  return letters.find((letter) => letter.id === id);
}

/** Stores a dead letter of the gateway after all, or hands it back to the consumer that gave it up. */
export function replayLetter(id: string): Promise<Replayed> {
  return ask({ path: `${letterPath(id)}/replay`, method: "POST" });
}

/** Removes a dead letter for ever. */
export function discardLetter(id: string): Promise<void> {
  return ask({ path: letterPath(id), method: "DELETE" });
}
