import { LETTERS_PAGE } from "../lib/dead-letters";
import { ask } from "./client";
import type { DeadLetterInFull, DeadLetterPage, EventsStatus } from "./types";

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

/** Hands a dead letter back to the consumer that gave it up. */
export function replayLetter(id: string): Promise<void> {
  return ask({ path: `${letterPath(id)}/replay`, method: "POST" });
}

/** Removes a dead letter for ever. */
export function discardLetter(id: string): Promise<void> {
  return ask({ path: letterPath(id), method: "DELETE" });
}
