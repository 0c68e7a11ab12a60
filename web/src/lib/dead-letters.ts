import type { DeadLetter, Replayed } from "../api/types";

/** Letters of one page. */
export const LETTERS_PAGE = 50;
/** The most bytes of a letter that are shown. */
export const BYTES_SHOWN_MAX = 16_384;

/** Returns the bytes of a Base64 text, or undefined where it is none. */
export function decodeBase64(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}

const ROW_BYTES = 16;

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/** Returns bytes as lines of place, sixteen bytes and what they read as. */
export function hexDump(bytes: Uint8Array, limit = BYTES_SHOWN_MAX): string {
  const shown = bytes.subarray(0, limit);
  const lines: string[] = [];
  for (let start = 0; start < shown.length; start += ROW_BYTES) {
    const row = [...shown.subarray(start, start + ROW_BYTES)];
    const left = row.slice(0, 8).map((byte) => hex(byte, 2));
    const right = row.slice(8).map((byte) => hex(byte, 2));
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."));
    const digits = `${left.join(" ").padEnd(23)}  ${right.join(" ").padEnd(23)}`;
    lines.push(`${hex(start, 8)}  ${digits}  ${text.join("")}`);
  }
  if (bytes.length > shown.length) lines.push(`… ${bytes.length - shown.length} more bytes`);
  return lines.join("\n");
}

/** What became of a letter that was sent back. */
export type ReplayResult =
  | { kind: "running" }
  | { kind: "processed" }
  | { kind: "failed"; error: string };

/** Returns what the server said at once about a letter that was sent back. */
export function replayAnswer({ state, error }: Replayed): ReplayResult {
  if (state === "replaying") return { kind: "running" };
  if (state === "rejected") return { kind: "failed", error: error ?? "rejected" };
  return { kind: "processed" };
}

/**
 * Returns what became of a letter that was sent back: it is gone once its consumer has processed it,
 * and waits again with one more attempt where that failed.
 */
export function replayResult(now: DeadLetter | undefined): ReplayResult {
  if (!now) return { kind: "processed" };
  if (now.state === "replaying") return { kind: "running" };
  return { kind: "failed", error: now.error };
}

/** Letters that were sent back, by what became of them. */
export interface Replays {
  running: number;
  processed: number;
  /** What went wrong, one text per letter. */
  failures: string[];
  /** Letters of which nothing was heard in time. */
  unknown: number;
}

/** No letters at all. */
export const NO_REPLAYS: Replays = { running: 0, processed: 0, failures: [], unknown: 0 };

/** Returns the replays once one of those that run has come to a result, or to an error. */
export function countReplay(replays: Replays, result: ReplayResult | string): Replays {
  const { processed, failures, unknown } = replays;
  const rest = { ...replays, running: replays.running - 1 };
  if (typeof result === "string") return { ...rest, failures: [...failures, result] };
  if (result.kind === "failed") return { ...rest, failures: [...failures, result.error] };
  if (result.kind === "processed") return { ...rest, processed: processed + 1 };
  return { ...rest, unknown: unknown + 1 };
}

function counted(count: number, one: string, several: string): string {
  return count === 1 ? `1 letter ${one}` : `${count} letters ${several}`;
}

function reasons(failures: string[]): string {
  return [...new Set(failures)].join("; ");
}

/** Returns what became of replays as sentences. */
export function replaysText({ running, processed, failures, unknown }: Replays): string {
  const parts: string[] = [];
  if (processed > 0) parts.push(`${counted(processed, "was", "were")} processed.`);
  if (failures.length > 0) {
    parts.push(`${counted(failures.length, "failed", "failed")} again: ${reasons(failures)}.`);
  }
  if (unknown > 0) parts.push(`${counted(unknown, "is", "are")} still on the way back.`);
  if (running > 0) parts.push(`${counted(running, "is", "are")} being processed again …`);
  return parts.join(" ");
}

/** Returns how many letters were discarded, and why others were not. */
export function discardsText(done: number, failures: string[]): string {
  const parts: string[] = [];
  if (done > 0) parts.push(`${counted(done, "was", "were")} discarded.`);
  if (failures.length > 0) {
    parts.push(`${counted(failures.length, "was", "were")} not: ${reasons(failures)}.`);
  }
  return parts.join(" ");
}

/** Returns the identifiers that are both chosen and listed. */
export function stillChosen(
  chosen: ReadonlySet<string>,
  letters: Pick<DeadLetter, "id">[],
): string[] {
  return letters.map((letter) => letter.id).filter((id) => chosen.has(id));
}

/** Returns bytes as text, or undefined where they are none that people can read. */
export function readableText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what makes a text unreadable
    return text === "" || /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
