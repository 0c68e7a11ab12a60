import type { Limits, Setting } from "../api/types";

/** A limit of a tenant or key that can be set. */
export interface LimitField {
  key: string;
  label: string;
  /** Whether only whole numbers make sense. */
  whole: boolean;
}

/** The limits of keys; tenants have them too. */
export const KEY_LIMITS: LimitField[] = [
  { key: "requests_per_second", label: "Requests per second", whole: false },
  { key: "requests_burst", label: "Requests at once", whole: true },
  { key: "samples_per_second", label: "Samples per second", whole: false },
  { key: "samples_burst", label: "Samples at once", whole: true },
  { key: "events_per_second", label: "Events per second", whole: false },
  { key: "events_burst", label: "Events at once", whole: true },
];

/** The limits of tenants. */
export const TENANT_LIMITS: LimitField[] = [
  ...KEY_LIMITS,
  { key: "queries_per_second", label: "Queries per second", whole: false },
  { key: "queries_burst", label: "Queries at once", whole: true },
  { key: "queries_concurrent_max", label: "Queries that run together", whole: true },
  { key: "query_samples_max", label: "Samples one query reads", whole: true },
  { key: "series_max", label: "Active series", whole: true },
  { key: "samples_per_day_max", label: "Samples per day", whole: true },
  { key: "events_per_day_max", label: "Events per day", whole: true },
  { key: "bytes_per_day_max", label: "Bytes sent per day", whole: true },
];

/** The multipliers that may follow a number: `1.5M`. */
const MULTIPLIERS: Record<string, number> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** Returns the number that a person wrote, such as `5000`, `5 000` or `1.5M`; undefined for none. */
export function parseAmount(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kMGT]?)$/.exec(text.trim().replace(/[\s_\u202f]+/g, " "));
  if (!match) {
    const grouped = text.replace(/[\s_\u202f]/g, "");
    return grouped !== text && /^\d+$/.test(grouped) ? Number(grouped) : undefined;
  }
  const value = Number(match[1]) * (MULTIPLIERS[match[2] ?? ""] ?? 1);
  // A sum of decimals such as 1.1k is meant to be whole.
  return Math.abs(value - Math.round(value)) < 1e-6 ? Math.round(value) : value;
}

/** Returns why a text is no limit, or undefined; an empty one is the server's default. */
export function limitProblem(field: LimitField, text: string): string | undefined {
  if (text.trim() === "") return undefined;
  const value = parseAmount(text);
  if (value === undefined) return "write a number such as 5000 or 1.5M";
  if (value <= 0) return "more than 0; leave it empty for the server's default";
  if (field.whole && !Number.isInteger(value)) return "a whole number";
  if (!Number.isSafeInteger(Math.ceil(value))) return "less than that";
  return undefined;
}

/** Returns a limit, or null where there is none. */
export function limitOf(limits: Limits, key: string): number | null {
  const value = limits[key];
  return typeof value === "number" ? value : null;
}

/** Returns the setting that says a limit where a tenant or key has none of its own. */
function defaultPath(scope: "tenant" | "key", key: string): string {
  if (key === "series_max") return "metrics.limits.series";
  return `limits.${scope}.${key.replace(/_max$/, "")}`;
}

/** Returns the limit that holds where a tenant has none of its own, or null for none or unknown. */
export function defaultLimit(key: string, settings: Setting[]): number | null {
  const found = settings.find(({ path }) => path === defaultPath("tenant", key));
  const value = Number(found?.value ?? 0);
  return Number.isFinite(value) && value > 0 ? value : null;
}

/** Returns what a form says where a limit is left empty. */
export function defaultText(scope: "tenant" | "key", key: string, settings: Setting[]): string {
  const value = settings.find(({ path }) => path === defaultPath(scope, key))?.value;
  if (value === null || value === undefined) return "server's default";
  return value === "0" ? "default: no limit" : `default: ${value}`;
}

/** The texts of a form of limits, by key. */
export type LimitTexts = Record<string, string>;

/** Returns what a form shows for limits. */
export function limitTexts(fields: LimitField[], limits: Limits): LimitTexts {
  return Object.fromEntries(
    fields.map(({ key }) => {
      const value = limitOf(limits, key);
      return [key, value === null ? "" : String(value)];
    }),
  );
}

/** Returns the limits of a form whose texts have no problem; what is empty is null. */
export function limitsOf(fields: LimitField[], texts: LimitTexts): Limits {
  return Object.fromEntries(fields.map(({ key }) => [key, parseAmount(texts[key] ?? "") ?? null]));
}

/** Returns whether a form of limits can be sent. */
export function limitsReady(fields: LimitField[], texts: LimitTexts): boolean {
  return fields.every((field) => limitProblem(field, texts[field.key] ?? "") === undefined);
}

/** Returns how many limits are set. */
export function limitCount(limits: Limits): number {
  return Object.keys(limits).filter((key) => limitOf(limits, key) !== null).length;
}
