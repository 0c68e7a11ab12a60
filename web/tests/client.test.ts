import { afterEach, expect, test, vi } from "vitest";
import {
  ApiError,
  ConnectionError,
  health,
  metricNames,
  queryInstant,
  queryRange,
} from "../src/api/client";
import { measureClock, serverNow } from "../src/api/clock";
import { connection } from "../src/api/connection";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Answers every request with one body; returns the requests that came. */
function answer(body: unknown, status = 200): { url: string; form: string; method: string }[] {
  const requests: { url: string; form: string; method: string }[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    requests.push({ url, form: String(init.body ?? ""), method: init.method ?? "GET" });
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return new Response(text, { status });
  });
  return requests;
}

const EMPTY = { status: "success", data: { resultType: "matrix", result: [] } };

test("a range query is posted as a form with times in seconds", async () => {
  const requests = answer({ ...EMPTY, warnings: ["w"], infos: ["i"] });
  const found = await queryRange("up + 1", { startMs: 1_500, endMs: 3_000, stepMs: 500 });
  expect(requests).toEqual([
    { url: "/api/v1/query_range", form: "query=up+%2B+1&start=1.5&end=3&step=0.5", method: "POST" },
  ]);
  expect(found).toMatchObject({ warnings: ["w"], infos: ["i"], value: EMPTY.data });
  expect(connection()).toBe("connected");
});

test("a refusal keeps the server's words and kind", async () => {
  answer({ status: "error", errorType: "bad_data", error: "1:2: parse error: x" }, 400);
  const error = await queryInstant("x", undefined).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ message: "1:2: parse error: x", kind: "bad_data", status: 400 });
  expect(connection()).toBe("connected");
});

test("a server that is not there is a lost connection", async () => {
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("failed to fetch");
  });
  await expect(metricNames()).rejects.toBeInstanceOf(ConnectionError);
  expect(connection()).toBe("disconnected");
});

test("a gateway's page is no answer", async () => {
  answer("<html>bad gateway</html>", 502);
  await expect(metricNames()).rejects.toThrow("the server answered 502 without JSON");
});

test("a cancelled request is not a lost connection", async () => {
  answer(EMPTY);
  await queryInstant("up", 1_000);
  const abort = new AbortController();
  abort.abort();
  vi.stubGlobal("fetch", async () => {
    throw new DOMException("aborted", "AbortError");
  });
  await expect(queryInstant("up", 1_000, abort.signal)).rejects.toThrow("aborted");
  expect(connection()).toBe("connected");
});

test("a degraded server says so with status 503", async () => {
  answer({ status: "degraded", problems: ["storage is read-only"] }, 503);
  expect(await health()).toMatchObject({ status: "degraded", problems: ["storage is read-only"] });
});

test("a browser clock that is wrong is corrected by the server's", async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  answer({ status: "success", data: { resultType: "scalar", result: [1_060, "1060"] } });
  expect(await measureClock()).toBe(60_000);
  expect(serverNow()).toBe(1_060_000);
  answer({ status: "success", data: { resultType: "scalar", result: [1_001, "1001"] } });
  expect(await measureClock()).toBe(0);
});
