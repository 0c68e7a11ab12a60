/** Numbers with units, short enough for an axis. */

/** What a number measures. */
export type Unit =
  | "short"
  | "percent"
  | "bytes"
  | "bytes-per-second"
  | "per-second"
  | "seconds"
  | "age";

const SI = ["", "k", "M", "G", "T", "P", "E"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function digits(value: number, significant: number): string {
  if (value === 0) return "0";
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.min(6, Math.max(0, significant - 1 - magnitude));
  return value
    .toFixed(decimals)
    .replace(/(\.\d*?)0+$/, "$1")
    .replace(/\.$/, "");
}

function special(value: number): string | undefined {
  if (Number.isNaN(value)) return "NaN";
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return undefined;
}

function scaled(value: number, base: number, prefixes: string[]): [number, string] {
  let size = value;
  let index = 0;
  while (Math.abs(size) >= base && index < prefixes.length - 1) {
    size /= base;
    index += 1;
  }
  return [size, prefixes[index] ?? ""];
}

function short(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1).replace("e-", "e-");
  if (Math.abs(value) >= 1e21) return value.toExponential(2);
  const [size, prefix] = scaled(value, 1_000, SI);
  return `${digits(size, 3)}${prefix}`;
}

function bytes(value: number): string {
  const [size, prefix] = scaled(value, 1_024, BINARY);
  return `${digits(size, 3)} ${prefix}`;
}

function seconds(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-6) return `${digits(value * 1e9, 3)} ns`;
  if (size < 1e-3) return `${digits(value * 1e6, 3)} µs`;
  if (size < 1) return `${digits(value * 1e3, 3)} ms`;
  if (size < 120) return `${digits(value, 3)} s`;
  if (size < 7_200) return `${digits(value / 60, 3)} min`;
  if (size < 172_800) return `${digits(value / 3_600, 3)} h`;
  return `${digits(value / 86_400, 3)} d`;
}

/** Returns how long something has lasted, in its two largest units: `3d 13h`. */
function age(value: number): string {
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  const hours = Math.floor(whole / 3_600);
  if (hours < 24) return `${hours}h ${Math.floor((whole % 3_600) / 60)}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** Returns a number with its unit and about three significant digits. */
export function formatNumber(value: number | null | undefined, unit: Unit = "short"): string {
  if (value === null || value === undefined) return "–";
  const name = special(value);
  if (name !== undefined) return name;
  switch (unit) {
    case "short":
      return short(value);
    case "percent":
      return `${digits(value, Math.abs(value) < 1 ? 2 : 3)} %`;
    case "bytes":
      return bytes(value);
    case "bytes-per-second":
      return `${bytes(value)}/s`;
    case "per-second":
      return `${short(value)}/s`;
    case "seconds":
      return seconds(value);
    case "age":
      return age(value);
  }
}

/** Returns a number with a space between groups of three digits, for counts that are read exactly. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

/** Returns the number of a sample as the server wrote it: the wire has `NaN` and `+Inf` as words. */
export function parseSampleValue(text: string): number {
  if (text === "+Inf" || text === "Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return Number(text);
}

/** Guesses the unit of a query's result from the names of its metrics and functions. */
export function guessUnit(expr: string): Unit {
  const rate = /\b(rate|irate|deriv)\s*\(/.test(expr);
  if (/_bytes(_total|_sum)?\b/.test(expr) && !/[/]/.test(expr)) {
    return rate ? "bytes-per-second" : "bytes";
  }
  if (/_seconds(_sum|_bucket)?\b/.test(expr) && !rate && !/[/]/.test(expr)) return "seconds";
  if (/histogram_quantile\s*\(.*_seconds_bucket/.test(expr)) return "seconds";
  return "short";
}
