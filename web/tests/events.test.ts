import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TailEvent } from "../src/api/types";
import { type Arrival, EventBuffer, type GapCause } from "../src/lib/event-buffer";
import {
  decodeFilter,
  type EventFilter,
  encodeFilter,
  FILTER_CHARS_MAX,
  FILTER_NONE,
  isFiltering,
  RECENT_EVENTS,
  TAIL_STARTS,
  tailParams,
  tailStart,
} from "../src/lib/event-filter";
import { eventPanels } from "../src/lib/event-panels";
import {
  arrivalDelay,
  curlExample,
  eventTime,
  formatClock,
  payloadOf,
  SUMMARY_CHARS_MAX,
  summary,
} from "../src/lib/event-text";
import { COLORED_CHARS_MAX, jsonTokens } from "../src/lib/json-tokens";

function event(offset: number, fields: Partial<TailEvent> = {}): TailEvent {
  return {
    offset,
    received_at: "2026-11-21T15:42:13.123Z",
    app: "shop",
    category: "screen",
    type: "view",
    device: "d1",
    event: { id: "1", appId: "shop", deviceId: "d1", screenView: { screenName: "Home" } },
    ...fields,
  };
}

function arrival(offset: number, chars = 10): Arrival {
  return { kind: "event", event: event(offset), chars };
}

function offsets(buffer: EventBuffer): (number | string)[] {
  return buffer
    .view()
    .rows.map((row) => (row.kind === "event" ? row.event.offset : `${row.cause} ${row.count}`));
}

function range(from: number, to: number): Arrival[] {
  return Array.from({ length: to - from + 1 }, (_, index) => arrival(from + index));
}

describe("the filter's address", () => {
  test("of no filter is empty", () => {
    expect(encodeFilter(FILTER_NONE)).toBe("");
    expect(decodeFilter("")).toEqual(FILTER_NONE);
    expect(isFiltering(FILTER_NONE)).toBe(false);
  });

  test("gives back every filter", () => {
    const text = fc.string({ unit: "grapheme" }).map((value) => value.trim());
    const filter: fc.Arbitrary<EventFilter> = fc.record({
      app: text,
      category: text,
      type: text,
      device: text,
      path: text,
      from: fc.constantFrom(...TAIL_STARTS.map((start) => start.value)),
    });
    fc.assert(
      fc.property(filter, (wanted) => {
        expect(decodeFilter(`?${encodeFilter(wanted)}`)).toEqual(wanted);
      }),
    );
  });

  test("falls back where it makes no sense, and is no longer than allowed", () => {
    const long = "x".repeat(FILTER_CHARS_MAX + 1);
    const filter = decodeFilter(`?from=yesterday&device=${long}&other=1`);
    expect(filter).toEqual({ ...FILTER_NONE, device: "x".repeat(FILTER_CHARS_MAX) });
  });

  test("is asked of the server without what is empty", () => {
    const filter = { ...FILTER_NONE, app: "shop", path: "$.screenView", from: "1h" };
    expect(tailParams(filter)).toEqual({ app: "shop", path: "$.screenView" });
  });

  test.each([
    ["recent", "800"],
    ["latest", "latest"],
    ["earliest", "earliest"],
    ["5m", "1970-01-01T00:05:00.000Z"],
  ])("%s begins at %s", (from, expected) => {
    const log = { first: 1, end: 800 + RECENT_EVENTS };
    expect(tailStart(from, 600_000, log)).toBe(expected);
  });

  test("the latest few begin no earlier than the log", () => {
    expect(tailStart("recent", 0, { first: 90, end: 100 })).toBe("90");
    expect(tailStart("recent", 0, undefined)).toBe("latest");
  });
});

describe("the list of events", () => {
  test("keeps the newest", () => {
    const buffer = new EventBuffer({ rows: 3, chars: 1_000 });
    buffer.push(range(1, 3));
    expect(offsets(buffer)).toEqual([1, 2, 3]);
    expect(buffer.view().gone).toBe(0);
    buffer.push(range(4, 9));
    expect(offsets(buffer)).toEqual([7, 8, 9]);
    expect(buffer.view()).toMatchObject({ received: 9, gone: 6 });
  });

  test("keeps no more characters than allowed, but always the newest event", () => {
    const buffer = new EventBuffer({ rows: 10, chars: 100 });
    buffer.push([arrival(1, 40), arrival(2, 60)]);
    expect(offsets(buffer)).toEqual([1, 2]);
    buffer.push([arrival(3, 1)]);
    expect(offsets(buffer)).toEqual([2, 3]);
    buffer.push([arrival(4, 5_000)]);
    expect(offsets(buffer)).toEqual([4]);
  });

  test("holds back what comes during a pause", () => {
    const buffer = new EventBuffer({ rows: 5, chars: 1_000 });
    buffer.push(range(1, 2));
    buffer.pause();
    buffer.push(range(3, 4));
    expect(offsets(buffer)).toEqual([1, 2]);
    expect(buffer.view()).toMatchObject({ paused: true, held: 2, overflowed: 0, received: 4 });
    buffer.resume();
    expect(offsets(buffer)).toEqual([1, 2, 3, 4]);
    expect(buffer.view()).toMatchObject({ paused: false, held: 0 });
  });

  test("says how much a long pause let go", () => {
    const buffer = new EventBuffer({ rows: 3, chars: 1_000 });
    buffer.push([arrival(1)]);
    buffer.pause();
    buffer.push(range(2, 9));
    expect(buffer.view()).toMatchObject({ held: 3, overflowed: 5 });
    expect(offsets(buffer)).toEqual([1]);
    buffer.resume();
    expect(offsets(buffer)).toEqual([7, 8, 9]);

    buffer.pause();
    buffer.push(range(10, 13));
    buffer.clear();
    expect(buffer.view()).toMatchObject({ rows: [], held: 0, overflowed: 0, received: 0 });
    expect(buffer.view().paused).toBe(true);
  });

  test("shows a pause's gap where there is room for it", () => {
    const buffer = new EventBuffer({ rows: 4, chars: 50 });
    buffer.pause();
    buffer.push([arrival(1, 30), arrival(2, 30)]);
    buffer.resume();
    expect(offsets(buffer)).toEqual(["pause 1", 2]);
  });

  test("tells gaps in a row once", () => {
    const buffer = new EventBuffer();
    const gap = (cause: GapCause, count: number): Arrival => ({ kind: "gap", cause, count });
    buffer.push([gap("log", 2), gap("log", 3), arrival(9), gap("log", 1), gap("size", 1)]);
    expect(offsets(buffer)).toEqual(["log 5", 9, "log 1", "size 1"]);
    expect(buffer.view().received).toBe(1);
  });

  test("a view does not change any more, and keys are never used twice", () => {
    const buffer = new EventBuffer({ rows: 3, chars: 1_000 });
    buffer.push(range(1, 2));
    const view = buffer.view();
    buffer.push(range(3, 5));
    expect(view.rows).toHaveLength(2);
    const keys = [...view.rows, ...buffer.view().rows].map((row) => row.key);
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe("the text of an event", () => {
  test.each<[string, Record<string, unknown>]>([
    ["screenName: Home", { screenView: { screenName: "Home" } }],
    ["a: 1 · b: [2]", { appId: "shop", deviceContext: { x: 1 }, appStart: { a: 1, b: [2] } }],
    ["text: a b", { buttonTap: { text: "a\n\tb" } }],
    [
      "level: 3 · won: true",
      { customEvent: { eventName: "done", intParams: { level: "3" }, boolParams: { won: true } } },
    ],
    ["", { networkChange: {} }],
    ["", { id: "1" }],
  ])("is %j", (expected, envelope) => {
    expect(summary(envelope)).toBe(expected);
  });

  test("is cut", () => {
    const text = summary({ appCrash: { stackTrace: "x".repeat(10_000) } });
    expect(text).toHaveLength(SUMMARY_CHARS_MAX);
    expect(text.endsWith("…")).toBe(true);
  });

  test("has the payload's name", () => {
    expect(payloadOf(event(1).event)?.[0]).toBe("screenView");
    expect(payloadOf({ id: "1" })).toBeUndefined();
  });

  test.each([
    ["1795275732123", "1 s later"],
    [1_795_275_733_123, "at the same time"],
    ["1795275736123", "3 s earlier: the sender's clock is ahead"],
    ["soon", ""],
    [undefined, ""],
  ])("that happened at %j arrived %j", (timestampMs, expected) => {
    const envelope = timestampMs === undefined ? {} : { timestampMs };
    expect(arrivalDelay(event(1, { event: envelope }))).toBe(expected);
  });

  test("has a time only where the sender said one", () => {
    expect(eventTime({ timestampMs: "5" })).toBe(5);
    expect(eventTime({ timestampMs: "0" })).toBeUndefined();
    expect(eventTime({})).toBeUndefined();
  });

  test("has the time of arrival to the millisecond", () => {
    expect(formatClock("2026-11-21T15:42:13.007Z")).toMatch(/^\d\d:\d\d:13\.007$/);
    expect(formatClock("<b>")).toBe("<b>");
  });

  test("the example names a key only where one is needed", () => {
    expect(curlExample("http://h:1", false)).toContain("curl http://h:1/v1/events/ingest");
    expect(curlExample("http://h:1", false)).not.toContain("X-API-Key");
    expect(curlExample("http://h:1", true)).toContain("X-API-Key");
  });
});

describe("the pieces of JSON", () => {
  test("are together the text", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value, null, 2);
        expect(
          jsonTokens(text)
            .map((token) => token.text)
            .join(""),
        ).toBe(text);
      }),
    );
  });

  test("have kinds", () => {
    const kinds = jsonTokens('{"a": "b:\\"", "c": [-1.5e3, true, null]}')
      .filter((token) => token.kind !== "plain")
      .map((token) => `${token.kind} ${token.text}`);
    expect(kinds).toEqual([
      'name "a"',
      'string "b:\\""',
      'name "c"',
      "number -1.5e3",
      "word true",
      "word null",
    ]);
  });

  test("of a long text are one", () => {
    const list = (chars: number): string => `[${"1,".repeat((chars - 4) / 2)}1 ]`;
    expect(jsonTokens(list(COLORED_CHARS_MAX)).length).toBeGreaterThan(1);
    expect(jsonTokens(list(COLORED_CHARS_MAX + 2))).toHaveLength(1);
  });
});

test("rates follow the filter's labels", () => {
  const exprs = (filter: EventFilter) =>
    eventPanels(5_000, filter).flatMap((panel) => panel.queries.map((query) => query.expr));
  expect(exprs(FILTER_NONE)[0]).toBe("topk(12, sum by (app) (rate(tinyobs_events_total[20s])))");
  const filter = { ...FILTER_NONE, app: 'a"b', type: "view", device: "d1" };
  for (const expr of exprs(filter)) expect(expr).toContain('{app="a\\"b",type="view"}');
  const several = { ...FILTER_NONE, type: "view,a.b" };
  for (const expr of exprs(several)) expect(expr).toContain('{type=~"view|a\\\\.b"}');
});
