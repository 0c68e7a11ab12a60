import type { PullChange } from "../lib/live-pulls";
import { readPull } from "../lib/pull";
import type { SseMessage } from "../lib/sse";
import { livePulls } from "./pulls";
import { EventStream, rest, type StreamPart, type StreamState } from "./stream";
import type { WirePullEvent } from "./types";

/** How the pulls of now are followed. */
export type FeedState =
  | StreamState
  /** The server has no room for another stream: it is asked again and again instead. */
  | { kind: "polling"; reason: string };

/** Who is told what is followed. */
export interface FeedListener {
  onState: (state: FeedState) => void;
  onChanges: (changes: PullChange[]) => void;
}

/** How often it is looked while there is no stream. */
const POLL_EVERY_MS = 2_000;

/** Returns what a message of the stream says, or undefined where it says nothing of pulls. */
export function changeOf({ event, data }: SseMessage): PullChange | undefined {
  if (event === "resync") return { kind: "reset" };
  let item: (Partial<WirePullEvent> & { id?: unknown }) | null;
  try {
    item = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof item !== "object" || item === null) return undefined;
  if (event === "removed") {
    return typeof item.id === "string" ? { kind: "removed", id: item.id } : undefined;
  }
  if (event !== "message" || !item.pull) return undefined;
  const pull = readPull(item.pull, item.nodeName);
  return pull && { kind: "pull", pull };
}

/**
 * Follows the pulls of now: over a stream, and while the server has no room for one by asking again
 * and again. The filter is not the server's matter: it does not tell of a pull that fits no more.
 */
export class PullFeed {
  private readonly stream: EventStream;
  /** Ends what is asked beside the stream. */
  private beside: AbortController | undefined;
  private polling = false;
  /** The last event of the stream; undefined before the first one, and once something else was asked. */
  private lastId: string | undefined;
  /** What was removed since all pulls were asked for. */
  private removed = new Set<string>();

  constructor(private readonly listener: FeedListener) {
    this.stream = new EventStream({
      request: () => {
        const { lastId } = this;
        const known = lastId === undefined ? {} : { lastEventId: lastId };
        return { path: "/api/v1/events", ...known };
      },
      onState: (state) => this.changed(state),
      onPart: (part) => this.read(part),
    });
  }

  /** Ends it. Nobody is told anything any more. */
  close(): void {
    this.beside?.abort();
    this.stream.close();
  }

  /** Begins to ask something beside the stream, in place of what was asked before. */
  private ask(): AbortSignal {
    this.beside?.abort();
    this.beside = new AbortController();
    return this.beside.signal;
  }

  private changed(state: StreamState): void {
    if (state.kind === "live") {
      this.beside?.abort();
      this.polling = false;
      // Without a place to go on from, all there is comes anew.
      if (this.lastId === undefined) this.listener.onChanges([{ kind: "reset" }]);
    } else if (state.kind === "refused") {
      this.beside?.abort();
      this.polling = false;
    } else if (state.kind === "waiting" && state.status === 503 && !this.polling) {
      this.polling = true;
      void this.poll(state.reason, this.ask());
    }
    // While it is looked again and again, attempts at a stream are of no interest.
    if (!this.polling) this.listener.onState(state);
  }

  /** Looks again and again until there is a stream. */
  private async poll(reason: string, signal: AbortSignal): Promise<void> {
    this.lastId = undefined;
    while (!signal.aborted) {
      try {
        const pulls = await livePulls(signal);
        if (signal.aborted) return;
        const said = pulls.map((pull): PullChange => ({ kind: "pull", pull }));
        this.listener.onChanges([{ kind: "reset" }, ...said]);
        this.listener.onState({ kind: "polling", reason });
      } catch (error) {
        if (signal.aborted) return;
        const text = error instanceof Error ? error.message : String(error);
        this.listener.onState({ kind: "waiting", reason: text, status: undefined });
      }
      await rest(POLL_EVERY_MS, signal);
    }
  }

  private read({ messages, id }: StreamPart): void {
    if (id !== "") this.lastId = id;
    const changes = messages.flatMap((message) => changeOf(message) ?? []);
    for (const change of changes) {
      if (change.kind === "removed") this.removed.add(change.id);
      if (change.kind === "reset") void this.refill(this.ask());
    }
    if (changes.length > 0) this.listener.onChanges(changes);
  }

  /** Asks for the pulls that ended before something was missed: the stream does not tell them again. */
  private async refill(signal: AbortSignal): Promise<void> {
    this.removed.clear();
    try {
      const pulls = await livePulls(signal);
      if (signal.aborted) return;
      const still = pulls.filter((pull) => !this.removed.has(pull.id));
      this.listener.onChanges(still.map((pull) => ({ kind: "pull", pull })));
    } catch {
      // The stream goes on all the same: only pulls that ended some time ago are missing.
    }
  }
}
