import type { Limits, Setting, Usage, UsageDay } from "../api/types";
import type { Unit } from "./format";
import { defaultLimit, limitOf } from "./limits";

/** Something that is counted by day. */
export interface UsageKind {
  key: string;
  title: string;
  unit: Unit;
  /** The limit of the day, among the limits of tenants. */
  limit?: string;
}

/** What is counted, in the order it is shown. */
export const USAGE_KINDS: UsageKind[] = [
  { key: "samples", title: "Samples", unit: "short", limit: "samples_per_day_max" },
  { key: "events", title: "Events", unit: "short", limit: "events_per_day_max" },
  { key: "bytes_in", title: "Bytes sent", unit: "bytes", limit: "bytes_per_day_max" },
  { key: "requests", title: "Requests", unit: "short" },
  { key: "queries", title: "Queries", unit: "short" },
  { key: "samples_read", title: "Samples read by queries", unit: "short" },
  { key: "refused", title: "Requests refused", unit: "short" },
];

const DAY_MS = 86_400_000;

/** Returns the day of UTC at a time, `2026-11-21`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Returns how much of a kind was used on a day. */
export function amountOf(day: UsageDay | undefined, kind: UsageKind): number {
  const amount = day?.[kind.key];
  return typeof amount === "number" ? amount : 0;
}

/** Returns every day up to today, the oldest first, those on which nothing was used as well. */
export function everyDay(days: UsageDay[], count: number, nowMs: number): UsageDay[] {
  const known = new Map(days.map((day) => [day.day, day]));
  return Array.from({ length: count }, (_, index) => {
    const day = dayOf(nowMs - (count - 1 - index) * DAY_MS);
    return known.get(day) ?? { day };
  });
}

/** Returns where a day lies on a time axis, in seconds: its midnight where the browser is. */
export function daySeconds(day: string): number {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return new Date(year, month - 1, date).getTime() / 1_000;
}

/** Returns the limit that holds: the tenant's own, or the server's as far as it is known. */
export function effectiveLimit(limits: Limits, key: string, settings: Setting[]): number | null {
  return limitOf(limits, key) ?? defaultLimit(key, settings);
}

/** A number that is held against a limit. */
export interface Share {
  title: string;
  unit: Unit;
  used: number;
  /** Null where there is no limit, or none is known. */
  limit: number | null;
}

/** Returns what counts against the limits now and today, and how much is stored. */
export function shares(usage: Usage, today: UsageDay | undefined, settings: Setting[]): Share[] {
  const { series, limits } = usage;
  const limitFor = (key: string): number | null => effectiveLimit(limits, key, settings);
  const ofDay = USAGE_KINDS.filter((kind) => kind.limit !== undefined).map((kind): Share => {
    const limit = limitFor(kind.limit ?? "");
    return { title: `${kind.title} today`, unit: kind.unit, used: amountOf(today, kind), limit };
  });
  const active = { title: "Active series", unit: "short" as const, used: series };
  const stored = { title: "On disk", unit: "bytes" as const, used: usage.storage_bytes };
  return [{ ...active, limit: limitFor("series_max") }, ...ofDay, { ...stored, limit: null }];
}
