import { type SseMessage, SseReader } from "../lib/sse";
import { ApiError, openStream, type Request } from "./client";

/** How a stream is connected. */
export type StreamState =
  | { kind: "connecting" }
  | { kind: "live" }
  /** The connection was lost, or the server could not take it; the next attempt begins after a while. */
  | { kind: "waiting"; reason: string; status: number | undefined }
  /** The server does not want to be asked again. */
  | { kind: "refused"; reason: string };

/** What a part of a stream said. */
export interface StreamPart {
  messages: SseMessage[];
  /** The latest identifier of the connection; empty where there was none yet. */
  id: string;
  /** Messages that were too long to be read. */
  dropped: number;
}

/** What is asked for, and who is told. */
export interface StreamSource {
  /** Returns what to ask for; called before each connection. */
  request: (signal: AbortSignal) => Request | Promise<Request>;
  onState: (state: StreamState) => void;
  onPart: (part: StreamPart) => void;
}

/** The pauses between attempts: the first, and the longest. */
const AGAIN_MIN_MS = 500;
const AGAIN_MAX_MS = 15_000;
/** The longest pause that a server can ask for. */
const ASKED_PAUSE_MAX_MS = 60_000;
/** A stream in which nothing arrives for so long is given up; the server says something more often. */
const SILENCE_MAX_MS = 60_000;
/** Statuses after which it is worth asking again. */
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Reads server-sent events, over as many connections as it takes, until it is told to stop. */
export class EventStream {
  private readonly stop = new AbortController();

  constructor(private readonly source: StreamSource) {
    void this.run();
  }

  /** Ends the connection. Nobody is told anything any more. */
  close(): void {
    this.stop.abort();
  }

  private get over(): boolean {
    return this.stop.signal.aborted;
  }

  private tell(state: StreamState): void {
    if (!this.over) this.source.onState(state);
  }

  private async run(): Promise<void> {
    let again = AGAIN_MIN_MS;
    while (!this.over) {
      this.tell({ kind: "connecting" });
      const began = performance.now();
      let reason = "the server ended the connection";
      let status: number | undefined;
      let asked = 0;
      try {
        await this.connect();
      } catch (error) {
        if (this.over) return;
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof ApiError) {
          if (!TRANSIENT.has(error.status)) {
            this.tell({ kind: "refused", reason });
            return;
          }
          status = error.status;
          asked = Math.min(ASKED_PAUSE_MAX_MS, error.retryAfterMs ?? 0);
        }
      }
      if (this.over) return;
      this.tell({ kind: "waiting", reason, status });
      if (performance.now() - began > AGAIN_MAX_MS) again = AGAIN_MIN_MS;
      await rest(Math.max(asked, again), this.stop.signal);
      again = Math.min(AGAIN_MAX_MS, again * 2);
    }
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
      const { signal } = connection;
      const request = await this.source.request(signal);
      const body = await openStream({ ...request, accept: "text/event-stream", signal });
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
      const messages = reader.feed(decoder.decode(value, { stream: true }));
      this.source.onPart({ messages, id: reader.id, dropped: reader.dropped });
      reader.dropped = 0;
    }
  }
}

/** Waits, or until it is not worth it any more. */
export function rest(ms: number, signal: AbortSignal): Promise<void> {
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
