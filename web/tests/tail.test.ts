import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { StreamState } from "../src/api/stream";
import { arrivalOf, Tail } from "../src/api/tail";
import type { Arrival } from "../src/lib/event-buffer";
import { FILTER_NONE } from "../src/lib/event-filter";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

function item(offset: number): string {
  return JSON.stringify({ offset, received_at: "", app: "a", event: { id: "1" } });
}

function message(data: string, id?: number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}data: ${data}\n\n`;
}

/** A server whose streams stay open until the test ends them. */
function server(answers: (() => Response)[] = []) {
  const urls: URL[] = [];
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    urls.push(new URL(url, "http://h"));
    const answer = answers.shift();
    if (answer) return answer();
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        streams.push(controller);
        init.signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
      },
    });
    return new Response(body, { status: 200 });
  });
  const send = (text: string): void => streams.at(-1)?.enqueue(new TextEncoder().encode(text));
  return { urls, streams, send };
}

function follow(from = "latest") {
  const states: StreamState[] = [];
  const arrivals: Arrival[] = [];
  const tail = new Tail(
    { ...FILTER_NONE, app: "a", from },
    {
      onState: (state) => states.push(state),
      onArrivals: (more) => arrivals.push(...more),
    },
  );
  return { tail, states, arrivals };
}

function kinds(states: StreamState[]): string {
  return states.map((state) => state.kind).join(" ");
}

async function settle(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

test("events arrive, and what the server left out", async () => {
  const { urls, send } = server();
  const { tail, states, arrivals } = follow();
  await settle();
  send(`: hello\n\n${message(item(5))}${message('{"skipped":3}')}`);
  await settle();
  expect(urls.map((url) => url.search)).toEqual(["?app=a&from=latest"]);
  expect(kinds(states)).toBe("connecting live");
  expect(arrivals.map((each) => (each.kind === "event" ? each.event.offset : each.count))).toEqual([
    5, 3,
  ]);
  tail.close();
});

test("a lost connection goes on after the last event, after longer and longer pauses", async () => {
  const { urls, streams, send } = server();
  const { tail, states } = follow();
  await settle();
  send(message(item(41), 41));
  await settle();
  streams.at(-1)?.close();
  await settle();
  expect(kinds(states)).toBe("connecting live waiting");
  await settle(499);
  expect(urls).toHaveLength(1);
  await settle(1);
  expect(urls.at(-1)?.searchParams.get("from")).toBe("42");
  streams.at(-1)?.error(new Error("reset"));
  await settle(999);
  expect(urls).toHaveLength(2);
  await settle(1);
  expect(urls).toHaveLength(3);
  expect(kinds(states)).toBe("connecting live waiting connecting live waiting connecting live");
  tail.close();
});

test("an identifier without an event says where to go on", async () => {
  const { urls, streams, send } = server();
  const { tail, arrivals } = follow();
  await settle();
  send(`${message(item(41), 41)}:\nid: 90\n\n`);
  await settle();
  streams.at(-1)?.close();
  await settle(500);
  expect(urls.at(-1)?.searchParams.get("from")).toBe("91");
  expect(arrivals).toHaveLength(1);
  tail.close();
});

test("what is refused is not asked again", async () => {
  const refusal = { code: "bad_request", message: "the JSONPath has no end" };
  const { urls } = server([() => new Response(JSON.stringify(refusal), { status: 400 })]);
  const { states } = follow();
  await settle(60_000);
  expect(urls).toHaveLength(1);
  expect(states.at(-1)).toEqual({ kind: "refused", reason: "the JSONPath has no end" });
});

test("an overloaded server is asked again", async () => {
  const refusal = { code: "unavailable", message: "later" };
  const { urls } = server([() => new Response(JSON.stringify(refusal), { status: 503 })]);
  const { tail, states } = follow();
  await settle();
  expect(states.at(-1)).toEqual({ kind: "waiting", reason: "later", status: 503 });
  await settle(500);
  expect(urls).toHaveLength(2);
  expect(kinds(states)).toBe("connecting waiting connecting live");
  tail.close();
});

test("the latest few begin where the log says", async () => {
  const status = { log: { first: 10, end: 1_000 } };
  const { urls } = server([() => new Response(JSON.stringify(status), { status: 200 })]);
  const { tail } = follow("recent");
  await settle();
  expect(urls.map((url) => url.pathname)).toEqual(["/v1/events/status", "/v1/events/tail"]);
  expect(urls.at(-1)?.searchParams.get("from")).toBe("800");
  tail.close();
});

test("a stream that says nothing for too long is given up", async () => {
  const { urls, send } = server();
  const { tail, states } = follow();
  await settle(50_000);
  send(": beat\n\n");
  await settle(59_999);
  expect(kinds(states)).toBe("connecting live");
  await settle(1);
  expect(states.at(-1)).toEqual({ kind: "waiting", reason: "nothing was heard for a minute" });
  await settle(500);
  expect(urls).toHaveLength(2);
  tail.close();
});

test("a closed tail says nothing and asks nothing", async () => {
  const { urls, send } = server();
  const { tail, states, arrivals } = follow();
  await settle();
  tail.close();
  expect(() => send(message(item(1)))).toThrow();
  await settle(60_000);
  expect(urls).toHaveLength(1);
  expect(kinds(states)).toBe("connecting live");
  expect(arrivals).toEqual([]);
});

test("a tail that is closed while it connects says nothing", async () => {
  let close = (): void => undefined;
  server([
    () => {
      close();
      return new Response(new ReadableStream<Uint8Array>());
    },
  ]);
  const { tail, states } = follow();
  close = () => tail.close();
  await settle(1_000);
  expect(kinds(states)).toBe("connecting");
});

test.each(["", "not JSON", "null", "3", "{}", '{"offset":"5","event":{}}', '{"offset":5}'])(
  "%j is nothing that arrives",
  (data) => {
    expect(arrivalOf({ id: "", event: "message", data })).toBeUndefined();
  },
);
