/** Times and ranges. All absolute times are milliseconds since the epoch. */

const UNITS_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** A range as people write it: `now`, `now-1h`, a date, or milliseconds since the epoch. */
export interface RangeText {
  from: string;
  to: string;
}

/** A range with fixed ends, both inclusive. */
export interface TimeRange {
  startMs: number;
  endMs: number;
}

/** The longest range that can be asked for: 100 years. */
const RANGE_MAX_MS = 100 * (UNITS_MS.y ?? 0);

/** Returns the length in milliseconds of a Prometheus duration such as `1h30m`, or undefined. */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1_000;
  if (!/^(\d+(ms|[smhdwy]))+$/.test(trimmed)) return undefined;
  let total = 0;
  for (const part of trimmed.matchAll(/(\d+)(ms|[smhdwy])/g)) {
    total += Number(part[1]) * (UNITS_MS[part[2] ?? ""] ?? 0);
  }
  return total;
}

/** Returns the shortest Prometheus duration for a length in milliseconds, such as `1h30m`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  if (rest <= 0) return "0s";
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const size = UNITS_MS[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) {
      text += `${count}${unit}`;
      rest -= count * size;
    }
  }
  return text;
}

/** Returns the moment a person's text stands for, or undefined where it stands for none. */
export function parseTime(text: string, nowMs: number): number | undefined {
  const trimmed = text.trim();
  if (trimmed === "now") return nowMs;
  const relative = /^now\s*([-+])\s*(.+)$/.exec(trimmed);
  if (relative) {
    const length = parseDuration(relative[2] ?? "");
    if (length === undefined) return undefined;
    return relative[1] === "-" ? nowMs - length : nowMs + length;
  }
  if (/^-?\d{9,15}$/.test(trimmed)) return Number(trimmed);
  const date = /^(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?)?$/.exec(
    trimmed,
  );
  if (date) {
    const part = (index: number): number => Number(date[index] ?? 0);
    const millis = Number((date[7] ?? "0").padEnd(3, "0"));
    const value = new Date(part(1), part(2) - 1, part(3), part(4), part(5), part(6), millis);
    const exact = value.getMonth() === part(2) - 1 && value.getDate() === part(3);
    return exact ? value.getTime() : undefined;
  }
  if (/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(trimmed)) {
    const parsed = Date.parse(trimmed);
    return Number.isNaN(parsed) ? undefined : parsed;
  }
  return undefined;
}

/** Returns the fixed range of a written one, or undefined where it is empty, reversed or unreadable. */
export function resolveRange(text: RangeText, nowMs: number): TimeRange | undefined {
  const startMs = parseTime(text.from, nowMs);
  const endMs = parseTime(text.to, nowMs);
  if (startMs === undefined || endMs === undefined) return undefined;
  if (startMs >= endMs || endMs - startMs > RANGE_MAX_MS) return undefined;
  return { startMs, endMs };
}

/** Returns the range as fixed text, which stays the same when it is shared. */
export function fixedRange(range: TimeRange): RangeText {
  return { from: String(Math.round(range.startMs)), to: String(Math.round(range.endMs)) };
}

/** Returns a range moved by half its length: `-1` to the past, `1` to the future. */
export function shiftRange(range: TimeRange, direction: -1 | 1): TimeRange {
  const half = ((range.endMs - range.startMs) / 2) * direction;
  return { startMs: range.startMs + half, endMs: range.endMs + half };
}

/** Returns a range of twice the length around the same middle, ending no later than now. */
export function widenRange(range: TimeRange, nowMs: number): TimeRange {
  const half = (range.endMs - range.startMs) / 2;
  const endMs = Math.min(range.endMs + half, Math.max(nowMs, range.endMs));
  return { startMs: Math.max(endMs - 4 * half, endMs - RANGE_MAX_MS), endMs };
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** Returns `2026-11-21 10:00:00` in the zone of the browser. */
export function formatDateTime(ms: number): string {
  const date = new Date(ms);
  return `${formatDate(date)} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function formatDate(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Returns the label of a written range, such as `Last 1h` or two dates. */
export function describeRange(text: RangeText, nowMs: number): string {
  const last = /^now-(.+)$/.exec(text.from);
  if (last && text.to === "now") return `Last ${last[1]}`;
  const range = resolveRange(text, nowMs);
  if (!range) return "Choose a range";
  const from = formatDateTime(range.startMs);
  const to = formatDateTime(range.endMs);
  const sameDay = from.slice(0, 10) === to.slice(0, 10);
  return `${from} – ${sameDay ? to.slice(11) : to}`;
}

/**
 * Returns the labels of a time axis. The increment between the labels chooses how fine they are; a
 * label on a new day shows the date.
 */
export function formatAxisTimes(seconds: number[], incrementSeconds: number): string[] {
  return seconds.map((second, index) => {
    const date = new Date(second * 1_000);
    const month = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    if (incrementSeconds >= 86_400 * 28) return `${date.getFullYear()}-${two(date.getMonth() + 1)}`;
    if (incrementSeconds >= 86_400) return month;
    const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (incrementSeconds < 1) {
      return `${time}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
    }
    if (incrementSeconds < 60) return `${time}:${two(date.getSeconds())}`;
    const previous = index > 0 ? new Date((seconds[index - 1] ?? 0) * 1_000) : undefined;
    const newDay = previous !== undefined && previous.getDate() !== date.getDate();
    return newDay ? `${month} ${time}` : time;
  });
}

/** Returns how far a time is away in its largest unit: `3h ago`, `in 2d`, `now`. */
export function formatDistance(ms: number, nowMs: number): string {
  const away = Math.abs(nowMs - ms);
  const unit = ["y", "d", "h", "m"].find((name) => away >= (UNITS_MS[name] ?? 0));
  if (!unit) return "now";
  const count = Math.floor(away / (UNITS_MS[unit] ?? 1));
  return ms > nowMs ? `in ${count}${unit}` : `${count}${unit} ago`;
}
