import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SSE_MESSAGE_CHARS_MAX, type SseMessage, SseReader } from "../src/lib/sse";

function read(...parts: string[]): SseMessage[] {
  const reader = new SseReader();
  return parts.flatMap((part) => reader.feed(part));
}

describe("server-sent events", () => {
  test.each<[string, SseMessage[]]>([
    ["data: a\n\n", [{ id: "", event: "message", data: "a" }]],
    ["id: 7\nevent: x\ndata: a\n\n", [{ id: "7", event: "x", data: "a" }]],
    ["data: a\ndata:b\ndata:  c\n\n", [{ id: "", event: "message", data: "a\nb\n c" }]],
    ["data: a\r\n\r\ndata: b\r\r", [{ id: "", event: "message", data: "a" }]],
    [": a comment\n\n", []],
    ["event: x\n\ndata: a\n\n", [{ id: "", event: "message", data: "a" }]],
    ["data\n\n", [{ id: "", event: "message", data: "" }]],
    ["\uFEFFdata: a\n\n", [{ id: "", event: "message", data: "a" }]],
    ["retry: 5\nother: 6\ndata: a\n\n", [{ id: "", event: "message", data: "a" }]],
    ["data: not over yet\n", []],
  ])("%j is read", (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  test("the identifier stays until there is another one", () => {
    const ids = read("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n").map((message) => message.id);
    expect(ids).toEqual(["1", "1", ""]);
  });

  test("come out the same however the stream is cut", () => {
    const line = fc.constantFrom("data: a", "data:", "id: 3", "event: e", ": c", "", "");
    const text = fc
      .array(fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r")), { maxLength: 20 })
      .map((lines) => `${lines.map((pair) => pair.join("")).join("")}\n`);
    fc.assert(
      fc.property(text, fc.array(fc.nat(200)), (whole, cuts) => {
        const places = [0, ...cuts.map((cut) => cut % whole.length).sort((a, b) => a - b)];
        const parts = places.map((place, index) => whole.slice(place, places[index + 1]));
        expect(read(...parts)).toEqual(read(whole));
      }),
    );
  });

  test("that are too long are left out and counted, and the next one is read", () => {
    const reader = new SseReader();
    const half = "x".repeat(SSE_MESSAGE_CHARS_MAX / 2);
    expect(reader.feed(`data: ${half}`)).toEqual([]);
    expect(reader.pending).toBe(half.length + 6);
    for (let parts = 0; parts < 3; parts += 1) {
      reader.feed(half);
      expect(reader.pending).toBeLessThanOrEqual(SSE_MESSAGE_CHARS_MAX);
    }
    expect(reader.feed(`${half}${half}\ndata: more`)).toEqual([]);
    expect(reader.feed("\n\ndata: next\n\n").map((message) => message.data)).toEqual(["next"]);
    expect(reader.dropped).toBe(1);
    reader.feed(`data: ${half}\ndata: ${half}\ndata: x\n\n`);
    expect(reader.dropped).toBe(2);
  });
});
