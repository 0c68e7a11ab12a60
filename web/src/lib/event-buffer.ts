import type { TailEvent } from "../api/types";

/** Why something is not shown: the log did not keep it, it was too long, or a pause was. */
export type GapCause = "log" | "size" | "pause";

/** A line of the tail: an event, or how many are not shown here. */
export type TailRow =
  | { key: number; kind: "event"; event: TailEvent }
  | { key: number; kind: "gap"; cause: GapCause; count: number };

/** What arrives from the tail, with its size in characters. */
export type Arrival =
  | { kind: "event"; event: TailEvent; chars: number }
  | { kind: "gap"; cause: GapCause; count: number };

/** What the list shows. */
export interface BufferView {
  /** The newest last. */
  rows: TailRow[];
  paused: boolean;
  /** Events that wait for the end of the pause. */
  held: number;
  /** Events that came during the pause and were given up for newer ones. */
  overflowed: number;
  /** Events that came since the beginning. */
  received: number;
  /** Shown events that had to go for newer ones. */
  gone: number;
}

/** The most rows that are kept, and the most that a pause holds back. */
export const ROWS_MAX = 1_000;
/** The most characters of events that either of them keeps. */
export const CHARS_MAX = 33_554_432;

interface Limits {
  rows: number;
  chars: number;
}

interface Sized {
  row: TailRow;
  chars: number;
}

/** A list that keeps the newest and lets go of the oldest. */
class Newest {
  private items: Sized[] = [];
  private chars = 0;

  constructor(private readonly limits: Limits) {}

  /** Adds a row; returns how many events had to go. */
  push(item: Sized): number {
    this.items.push(item);
    this.chars += item.chars;
    let dropped = 0;
    // Taken from the front in one piece now and then: one by one would move all others each time.
    while (this.first < this.items.length - 1 && this.isOver()) {
      const old = this.items[this.first];
      if (!old) break;
      this.chars -= old.chars;
      if (old.row.kind === "event") dropped += 1;
      this.first += 1;
    }
    if (this.first > this.limits.rows) {
      this.items = this.items.slice(this.first);
      this.first = 0;
    }
    return dropped;
  }

  private first = 0;

  private isOver(): boolean {
    return this.items.length - this.first > this.limits.rows || this.chars > this.limits.chars;
  }

  last(): TailRow | undefined {
    return this.first < this.items.length ? this.items.at(-1)?.row : undefined;
  }

  replaceLast(row: TailRow): void {
    const last = this.items.at(-1);
    if (last) this.items[this.items.length - 1] = { ...last, row };
  }

  events(): number {
    let count = 0;
    for (let index = this.first; index < this.items.length; index += 1) {
      if (this.items[index]?.row.kind === "event") count += 1;
    }
    return count;
  }

  take(): Sized[] {
    const items = this.items.slice(this.first);
    this.clear();
    return items;
  }

  rows(): TailRow[] {
    return this.items.slice(this.first).map((item) => item.row);
  }

  clear(): void {
    this.items = [];
    this.first = 0;
    this.chars = 0;
  }
}

/** Keeps the newest events of a tail, and holds them back while somebody reads. */
export class EventBuffer {
  private readonly shown: Newest;
  private readonly held: Newest;
  private paused = false;
  private overflowed = 0;
  private received = 0;
  private gone = 0;
  private nextKey = 0;

  constructor(limits: Limits = { rows: ROWS_MAX, chars: CHARS_MAX }) {
    this.shown = new Newest(limits);
    this.held = new Newest(limits);
  }

  /** Takes in what has arrived, in its order. */
  push(arrivals: Arrival[]): void {
    for (const arrival of arrivals) this.add(arrival);
  }

  private add(arrival: Arrival): void {
    const list = this.paused ? this.held : this.shown;
    if (arrival.kind === "gap") {
      const { kind, cause, count } = arrival;
      const last = list.last();
      // Gaps in a row are told once.
      if (last?.kind === "gap" && last.cause === cause) {
        list.replaceLast({ ...last, count: last.count + count });
      } else list.push({ row: { key: this.key(), kind, cause, count }, chars: 0 });
      return;
    }
    this.received += 1;
    const row: TailRow = { key: this.key(), kind: "event", event: arrival.event };
    const dropped = list.push({ row, chars: arrival.chars });
    if (this.paused) this.overflowed += dropped;
    else this.gone += dropped;
  }

  private key(): number {
    this.nextKey += 1;
    return this.nextKey;
  }

  /** Holds back what comes from now on. */
  pause(): void {
    this.paused = true;
  }

  /** Shows what was held back, and what comes from now on. */
  resume(): void {
    this.paused = false;
    if (this.overflowed > 0) {
      const gap = { kind: "gap", cause: "pause", count: this.overflowed } as const;
      this.gone += this.shown.push({ row: { key: this.key(), ...gap }, chars: 0 });
    }
    for (const item of this.held.take()) this.gone += this.shown.push(item);
    this.overflowed = 0;
  }

  /** Forgets all rows; a pause goes on. */
  clear(): void {
    this.shown.clear();
    this.held.clear();
    this.overflowed = 0;
    this.received = 0;
    this.gone = 0;
  }

  /** Returns what is to be shown; a copy, which later arrivals do not change. */
  view(): BufferView {
    return {
      rows: this.shown.rows(),
      paused: this.paused,
      held: this.held.events(),
      overflowed: this.overflowed,
      received: this.received,
      gone: this.gone,
    };
  }
}
