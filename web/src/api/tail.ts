import type { Arrival } from "../lib/event-buffer";
import { type EventFilter, tailParams, tailStart } from "../lib/event-filter";
import { type SseMessage, SseReader } from "../lib/sse";
import { ApiError, openStream } from "./client";
import { serverNow } from "./clock";
import { eventsStatus } from "./events";
import type { TailEvent } from "./types";

/** How the tail is connected. */
export type TailState =
  | { kind: "connecting" }
  | { kind: "live" }
  /** The connection was lost; the next attempt begins after a while. */
  | { kind: "waiting"; reason: string }
  /** The server does not want to be asked again. */
  | { kind: "refused"; reason: string };

/** Who is told what the tail does. */
export interface TailListener {
  onState: (state: TailState) => void;
  onArrivals: (arrivals: Arrival[]) => void;
}

/** The pauses between attempts: the first, and the longest. */
const AGAIN_MIN_MS = 500;
const AGAIN_MAX_MS = 15_000;
/** A stream in which nothing arrives for so long is given up; the server says something more often. */
const SILENCE_MAX_MS = 60_000;
/** Statuses after which it is worth asking again. */
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Returns what a message of the stream says, or undefined where it says nothing of events. */
export function arrivalOf({ data }: SseMessage): Arrival | undefined {
  let item: (Partial<TailEvent> & { skipped?: unknown }) | null;
  try {
    item = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof item?.skipped === "number") return { kind: "gap", cause: "log", count: item.skipped };
  if (typeof item?.offset !== "number" || typeof item.event !== "object") return undefined;
  return { kind: "event", event: item as TailEvent, chars: data.length };
}

/** Follows the events that fit a filter until it is told to stop. */
export class Tail {
  /** Where the next connection begins; undefined before the first one. */
  private from: string | undefined;
  private readonly stop = new AbortController();

  constructor(
    private readonly filter: EventFilter,
    private readonly listener: TailListener,
  ) {
    void this.run();
  }

  /** Ends the connection. Nobody is told anything any more. */
  close(): void {
    this.stop.abort();
  }

  private get over(): boolean {
    return this.stop.signal.aborted;
  }

  private tell(state: TailState): void {
    if (!this.over) this.listener.onState(state);
  }

  private async run(): Promise<void> {
    let again = AGAIN_MIN_MS;
    while (!this.over) {
      this.tell({ kind: "connecting" });
      const began = performance.now();
      let reason = "the server ended the connection";
      try {
        await this.connect();
      } catch (error) {
        if (this.over) return;
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof ApiError && !TRANSIENT.has(error.status)) {
          this.tell({ kind: "refused", reason });
          return;
        }
      }
      if (this.over) return;
      this.tell({ kind: "waiting", reason });
      if (performance.now() - began > AGAIN_MAX_MS) again = AGAIN_MIN_MS;
      await this.rest(again);
      again = Math.min(AGAIN_MAX_MS, again * 2);
    }
  }

  private rest(ms: number): Promise<void> {
    const { signal } = this.stop;
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      signal.addEventListener("abort", wake);
    });
  }

  /** Returns where to begin: after the last place that the server named, else where the filter says. */
  private async start(signal: AbortSignal): Promise<string> {
    if (this.from === undefined) {
      const { from } = this.filter;
      const status = from === "recent" ? await eventsStatus(signal) : undefined;
      this.from = tailStart(from, serverNow(), status?.log);
    }
    return this.from;
  }

  /** Reads one connection to its end. */
  private async connect(): Promise<void> {
    const connection = new AbortController();
    const end = (): void => connection.abort();
    this.stop.signal.addEventListener("abort", end);
    let watch: ReturnType<typeof setTimeout> | undefined;
    let silent = false;
    const heard = (): void => {
      clearTimeout(watch);
      watch = setTimeout(() => {
        silent = true;
        end();
      }, SILENCE_MAX_MS);
    };
    try {
      heard();
      const params = { ...tailParams(this.filter), from: await this.start(connection.signal) };
      const path = "/v1/events/tail";
      const accept = "text/event-stream";
      const body = await openStream({ path, params, accept, signal: connection.signal });
      this.tell({ kind: "live" });
      await this.read(body.getReader(), heard);
    } catch (error) {
      if (silent) throw new Error("nothing was heard for a minute", { cause: error });
      throw error;
    } finally {
      clearTimeout(watch);
      this.stop.signal.removeEventListener("abort", end);
      end();
    }
  }

  private async read(
    body: ReadableStreamDefaultReader<Uint8Array>,
    heard: () => void,
  ): Promise<void> {
    const reader = new SseReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await body.read();
      if (done || this.over) return;
      heard();
      const arrivals: Arrival[] = [];
      for (const message of reader.feed(decoder.decode(value, { stream: true }))) {
        const arrival = arrivalOf(message);
        if (arrival) arrivals.push(arrival);
      }
      // An identifier without an event says how far the server has looked.
      if (/^\d+$/.test(reader.id)) this.from = String(Number(reader.id) + 1);
      if (reader.dropped > 0) {
        arrivals.push({ kind: "gap", cause: "size", count: reader.dropped });
        reader.dropped = 0;
      }
      if (arrivals.length > 0) this.listener.onArrivals(arrivals);
    }
  }
}
