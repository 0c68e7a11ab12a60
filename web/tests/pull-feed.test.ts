import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { changeOf, type FeedState, PullFeed } from "../src/api/pull-feed";
import type { PullChange } from "../src/lib/live-pulls";
import { wirePull } from "./some-pulls";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

interface Asked {
  path: string;
  lastId: string | null;
}

/** A server whose streams stay open until the test ends them; `answers` are given first. */
function server() {
  const asked: Asked[] = [];
  const answers: Record<string, (() => Response)[]> = { events: [], pulls: [] };
  const streams: ReadableStreamDefaultController<Uint8Array>[] = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    const lastId = new Headers(init.headers).get("Last-Event-ID");
    asked.push({ path, lastId });
    const answer = answers[path.split("/").at(-1) ?? ""]?.shift();
    if (answer) return answer();
    if (path === "/api/v1/pulls") return Response.json({ pulls: [wirePull({ id: "polled" })] });
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        streams.push(controller);
        init.signal?.addEventListener("abort", () => controller.error(new Error("aborted")));
      },
    });
    return new Response(body, { status: 200 });
  });
  const send = (text: string): void => streams.at(-1)?.enqueue(new TextEncoder().encode(text));
  return { asked, answers, streams, send };
}

function follow() {
  const states: FeedState[] = [];
  const changes: PullChange[] = [];
  const feed = new PullFeed({
    onState: (state) => states.push(state),
    onChanges: (more) => changes.push(...more),
  });
  const kinds = (): string => states.map(({ kind }) => kind).join(" ");
  const said = (): string =>
    changes
      .splice(0)
      .map((change) =>
        change.kind === "pull" ? change.pull.id : change.kind === "removed" ? `-${change.id}` : "*",
      )
      .join(" ");
  return { feed, states, kinds, said };
}

function message(id: string, last?: string): string {
  const data = JSON.stringify({ schemaVersion: "v1", pull: wirePull({ id }) });
  return `${last === undefined ? "" : `id: ${last}\n`}data: ${data}\n\n`;
}

async function settle(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

const full = (): Response =>
  new Response(JSON.stringify({ message: "too many connections" }), {
    status: 503,
    headers: { "Retry-After": "10" },
  });

test("what the stream says arrives", async () => {
  const { asked, send } = server();
  const { feed, kinds, said } = follow();
  await settle();
  send(
    `: connected\n\nretry: 2000\n\n${message("a", "1-1")}event: removed\nid: 1-2\ndata: {"id":"a"}\n\n`,
  );
  await settle();
  expect(asked).toEqual([{ path: "/api/v1/events", lastId: null }]);
  expect(kinds()).toBe("connecting live");
  expect(said()).toBe("* a -a");
  feed.close();
});

test("a lost connection goes on after the last event", async () => {
  const { asked, streams, send } = server();
  const { feed, said } = follow();
  await settle();
  send(`${message("a", "1-5")}:\nid: 1-9\n\n`);
  await settle();
  streams.at(-1)?.close();
  await settle(500);
  send(message("b", "1-10"));
  await settle();
  expect(asked.map(({ lastId }) => lastId)).toEqual([null, "1-9"]);
  expect(said()).toBe("* a b");
  feed.close();
});

test("where something was missed, all pulls are asked for, but what was removed stays so", async () => {
  const { asked, answers, send } = server();
  const { feed, said } = follow();
  await settle();
  let answer: (response: Response) => void = () => undefined;
  const slow = new Promise<Response>((resolve) => {
    answer = resolve;
  });
  answers.pulls?.push(() => slow as never);
  send(`event: resync\ndata: {}\n\n${message("a")}`);
  await settle();
  expect(asked.at(-1)?.path).toBe("/api/v1/pulls");
  send('event: removed\ndata: {"id":"old"}\n\n');
  await settle();
  const pulls = ["old", "ended"].map((id) => wirePull({ id }));
  answer(Response.json({ pulls }));
  await settle();
  expect(said()).toBe("* * a -old ended");
  feed.close();
});

test("without room for a stream it is asked again and again, until there is one", async () => {
  const { asked, answers, send } = server();
  answers.events?.push(full);
  const { feed, states, kinds, said } = follow();
  await settle();
  expect(states.at(-1)).toEqual({ kind: "polling", reason: "too many connections" });
  expect(said()).toBe("* polled");
  await settle(9_999);
  // The server wants not to be asked for a stream for ten seconds.
  expect(asked.filter(({ path }) => path === "/api/v1/events")).toHaveLength(1);
  expect(asked.filter(({ path }) => path === "/api/v1/pulls")).toHaveLength(5);
  await settle(1);
  expect(kinds()).toMatch(/^connecting( polling){5} live$/);
  said();
  send(message("a", "1-1"));
  await settle(10_000);
  expect(asked.filter(({ path }) => path === "/api/v1/pulls")).toHaveLength(5);
  expect(said()).toBe("a");
  feed.close();
});

test("a stream after that begins anew, not where the former one ended", async () => {
  const { asked, answers, streams, send } = server();
  const { feed, said } = follow();
  await settle();
  send(message("a", "1-1"));
  await settle();
  answers.events?.push(full);
  streams.at(-1)?.close();
  await settle(500);
  expect(said()).toBe("* a * polled");
  await settle(10_000);
  const streamed = asked.filter(({ path }) => path === "/api/v1/events");
  expect(streamed.map(({ lastId }) => lastId)).toEqual([null, "1-1", null]);
  expect(said()).toMatch(/\*$/);
  feed.close();
});

test("while it is asked again and again, it is said that the server is gone", async () => {
  const { answers } = server();
  answers.events?.push(full);
  answers.pulls?.push(() => new Response("gateway", { status: 502 }));
  const { feed, states } = follow();
  await settle();
  expect(states.at(-1)?.kind).toBe("waiting");
  await settle(2_000);
  expect(states.at(-1)?.kind).toBe("polling");
  feed.close();
});

test("a closed feed says nothing and asks nothing", async () => {
  const { asked, answers } = server();
  answers.events?.push(full);
  const { feed, kinds } = follow();
  await settle();
  const before = asked.length;
  const known = kinds();
  feed.close();
  await settle(60_000);
  expect(asked).toHaveLength(before);
  expect(kinds()).toBe(known);
});

test.each(["", "not JSON", "null", "3", "{}", '{"pull":null}', '{"pull":{}}', '{"layer":{}}'])(
  "%j says nothing of a pull",
  (data) => {
    expect(changeOf({ id: "", event: "message", data })).toBeUndefined();
    expect(changeOf({ id: "", event: "removed", data })).toBeUndefined();
  },
);

test("an event with another name says nothing", () => {
  const data = JSON.stringify({ pull: wirePull() });
  expect(changeOf({ id: "", event: "else", data })).toBeUndefined();
});
