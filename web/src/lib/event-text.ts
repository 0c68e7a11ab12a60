import type { EventJson, TailEvent } from "../api/types";
import type { GapCause } from "./event-buffer";
import { formatCount, formatNumber } from "./format";
import { formatDateTime } from "./time";

/** The members of an event that are no payload. */
const ENVELOPE = new Set([
  "id",
  "appId",
  "deviceId",
  "timestampMs",
  "correlationId",
  "deviceContext",
  "idempotencyKey",
]);

/** The longest summary, in characters. */
export const SUMMARY_CHARS_MAX = 240;

/** Returns the payload of an event and the name of its member, or undefined where it has none. */
export function payloadOf(event: EventJson): [string, unknown] | undefined {
  return Object.entries(event).find(([name]) => !ENVELOPE.has(name));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function short(value: unknown): string {
  if (typeof value === "string") return value;
  return JSON.stringify(value) ?? "";
}

/** The parameters of a custom event are what it is about, whatever their type is. */
const CUSTOM_PARAMS = ["stringParams", "intParams", "floatParams", "boolParams"];

/** Returns the content of an event in one line, `screenName: Home · previousScreen: Start`. */
export function summary(event: EventJson): string {
  const payload = payloadOf(event)?.[1];
  if (!isObject(payload)) return "";
  const parts = Object.entries(payload).flatMap(([name, value]): [string, unknown][] => {
    if (name === "eventName") return [];
    if (CUSTOM_PARAMS.includes(name) && isObject(value)) return Object.entries(value);
    return [[name, value]];
  });
  let text = "";
  for (const [name, value] of parts) {
    text += `${text === "" ? "" : " · "}${name}: ${short(value)}`.replace(/\s+/g, " ");
    if (text.length > SUMMARY_CHARS_MAX) return `${text.slice(0, SUMMARY_CHARS_MAX - 1)}…`;
  }
  return text;
}

/** Returns `10:00:00.123` in the zone of the browser; what is no time as it is. */
export function formatClock(at: string): string {
  const ms = Date.parse(at);
  if (Number.isNaN(ms)) return at;
  const millis = String(new Date(ms).getMilliseconds()).padStart(3, "0");
  return `${formatDateTime(ms).slice(11)}.${millis}`;
}

/** Returns `2026-11-21 10:00:00.123` in the zone of the browser; what is no time as it is. */
export function formatExact(at: string | number): string {
  const ms = typeof at === "number" ? at : Date.parse(at);
  if (Number.isNaN(new Date(ms).getTime())) return String(at);
  const millis = String(new Date(ms).getMilliseconds()).padStart(3, "0");
  return `${formatDateTime(ms)}.${millis}`;
}

/** Returns when an event happened by its sender's clock, in milliseconds, or undefined. */
export function eventTime(event: EventJson): number | undefined {
  const { timestampMs } = event;
  const ms = typeof timestampMs === "string" ? Number(timestampMs) : timestampMs;
  return typeof ms === "number" && Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

/** Returns how long after it happened an event arrived: `1.2 s later`, `3 s earlier`. */
export function arrivalDelay(event: TailEvent): string {
  const happened = eventTime(event.event);
  const received = Date.parse(event.received_at);
  if (happened === undefined || Number.isNaN(received)) return "";
  const ms = received - happened;
  if (ms === 0) return "at the same time";
  const length = formatNumber(Math.abs(ms) / 1_000, "seconds");
  return ms > 0 ? `${length} later` : `${length} earlier: the sender's clock is ahead`;
}

/** Returns a command that sends an event to a server, for a shell. */
export function curlExample(origin: string, needsKey: boolean): string {
  const key = needsKey ? ' \\\n  -H "X-API-Key: $TINYOBS_KEY"' : "";
  return (
    `curl ${origin}/v1/events/ingest \\\n  -H 'Content-Type: application/json'${key} \\\n` +
    `  -d '{"event":{"appId":"shop","deviceId":"d1","timestampMs":'$(date +%s)'000,` +
    `"screenView":{"screenName":"Home"}}}'`
  );
}

/** Returns what is said in the place of what is not shown. */
export function gapText(cause: GapCause, count: number): string {
  const number = formatCount(count);
  switch (cause) {
    case "log":
      return `${number} positions of the log are not kept any more`;
    case "size":
      return count === 1 ? "1 event is too long to show" : `${number} events are too long to show`;
    case "pause":
      return count === 1
        ? "1 event was let go during the pause"
        : `${number} events were let go during the pause`;
  }
}
