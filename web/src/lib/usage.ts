import type { Limits, UsageDay } from "../api/types";
import type { Unit } from "./format";

/** Something that is counted by day. */
export interface UsageKind {
  key: "samples" | "events" | "bytes" | "queries" | "samples_read" | "refused";
  title: string;
  unit: Unit;
  /** The limit of the day, among the limits of tenants. */
  limit?: string;
}

/** What is counted, in the order it is shown. */
export const USAGE_KINDS: UsageKind[] = [
  { key: "samples", title: "Samples", unit: "short", limit: "samples_per_day_max" },
  { key: "events", title: "Events", unit: "short", limit: "events_per_day_max" },
  { key: "bytes", title: "Bytes sent", unit: "bytes", limit: "bytes_per_day_max" },
  { key: "queries", title: "Queries", unit: "short" },
  { key: "samples_read", title: "Samples read by queries", unit: "short" },
  { key: "refused", title: "Requests refused", unit: "short" },
];

const DAY_MS = 86_400_000;

/** Returns the day of UTC at a time, `2026-11-21`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Returns every day up to today, the oldest first; days on which nothing was used are zero. */
export function everyDay(days: UsageDay[], count: number, nowMs: number): UsageDay[] {
  const known = new Map(days.map((day) => [day.day, day]));
  return Array.from({ length: count }, (_, index) => {
    const day = dayOf(nowMs - (count - 1 - index) * DAY_MS);
    const nothing = { samples: 0, events: 0, bytes: 0, queries: 0, samples_read: 0, refused: 0 };
    return { ...nothing, ...known.get(day), day };
  });
}

/** Returns where a day lies on a time axis, in seconds: its midnight where the browser is. */
export function daySeconds(day: string): number {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return new Date(year, month - 1, date).getTime() / 1_000;
}

/** A number that is held against a limit. */
export interface Share {
  title: string;
  unit: Unit;
  used: number;
  /** Null where there is no limit. */
  limit: number | null;
}

/** Returns what counts against the limits today. */
export function shares(today: UsageDay | undefined, series: number, limits: Limits): Share[] {
  const ofDay = USAGE_KINDS.filter((kind) => kind.limit !== undefined).map((kind): Share => {
    const limit = limits[kind.limit ?? ""] ?? null;
    return { title: `${kind.title} today`, unit: kind.unit, used: today?.[kind.key] ?? 0, limit };
  });
  const active = { title: "Active series", unit: "short" as const, used: series };
  return [{ ...active, limit: limits.series_max ?? null }, ...ofDay];
}
