import type { Arrival } from "../lib/event-buffer";
import { type EventFilter, tailParams, tailStart } from "../lib/event-filter";
import type { SseMessage } from "../lib/sse";
import { serverNow } from "./clock";
import { eventsStatus } from "./events";
import { EventStream, type StreamPart, type StreamState } from "./stream";
import type { TailEvent } from "./types";

/** Who is told what the tail does. */
export interface TailListener {
  onState: (state: StreamState) => void;
  onArrivals: (arrivals: Arrival[]) => void;
}

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
  private readonly stream: EventStream;

  constructor(
    private readonly filter: EventFilter,
    private readonly listener: TailListener,
  ) {
    this.stream = new EventStream({
      request: async (signal) => {
        const params = { ...tailParams(this.filter), from: await this.start(signal) };
        return { path: "/v1/events/tail", params };
      },
      onState: listener.onState,
      onPart: (part) => this.read(part),
    });
  }

  /** Ends the connection. Nobody is told anything any more. */
  close(): void {
    this.stream.close();
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

  private read({ messages, id, dropped }: StreamPart): void {
    const arrivals: Arrival[] = [];
    for (const message of messages) {
      const arrival = arrivalOf(message);
      if (arrival) arrivals.push(arrival);
    }
    // An identifier without an event says how far the server has looked.
    if (/^\d+$/.test(id)) this.from = String(Number(id) + 1);
    if (dropped > 0) arrivals.push({ kind: "gap", cause: "size", count: dropped });
    if (arrivals.length > 0) this.listener.onArrivals(arrivals);
  }
}
