import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeExplore,
  EXPLORE_DEFAULT,
  type ExploreState,
  encodeExplore,
  exploreHref,
  QUERIES_MAX,
  QUERY_CHARS_MAX,
  queryLetter,
} from "../src/lib/url-state";

describe("the address of Explore", () => {
  test("of the default view has no parameter", () => {
    expect(encodeExplore(EXPLORE_DEFAULT)).toBe("");
    expect(decodeExplore("")).toEqual(EXPLORE_DEFAULT);
  });

  test("gives back every view", () => {
    const view: fc.Arbitrary<ExploreState> = fc.record({
      queries: fc.array(
        fc.record({ expr: fc.string({ minLength: 1, unit: "grapheme" }), hidden: fc.boolean() }),
        { minLength: 2, maxLength: QUERIES_MAX },
      ),
      range: fc.constantFrom(
        { from: "now-6h", to: "now" },
        { from: "now-6h", to: "now-1h" },
        { from: "1700000000000", to: "1700000600000" },
      ),
      step: fc.constantFrom("", "15s", "1h30m"),
      tab: fc.constantFrom("graph", "table"),
      stacked: fc.boolean(),
      at: fc.constantFrom("", "now-5m", "1700000000000"),
      refreshS: fc.constantFrom(0, 5, 60),
    });
    fc.assert(
      fc.property(view, (state) => {
        expect(decodeExplore(`?${encodeExplore(state)}`)).toEqual(state);
      }),
    );
  });

  test.each([
    ["?from=yesterday&to=now", "range"],
    ["?from=now-1h", "range"],
    ["?step=soon", "step"],
    ["?step=0s", "step"],
    ["?at=later", "at"],
    ["?refresh=0.001", "refreshS"],
    ["?refresh=x", "refreshS"],
    ["?tab=cards", "tab"],
  ] as const)("%s falls back to the default %s", (search, field) => {
    expect(decodeExplore(search)[field]).toEqual(EXPLORE_DEFAULT[field]);
  });

  test("keeps no more and no longer queries than allowed", () => {
    const many = Array.from(
      { length: QUERIES_MAX + 3 },
      () => `q=${"x".repeat(QUERY_CHARS_MAX + 1)}`,
    );
    const { queries } = decodeExplore(`?${many.join("&")}`);
    expect(queries).toHaveLength(QUERIES_MAX);
    expect(queries[0]?.expr).toHaveLength(QUERY_CHARS_MAX);
  });

  test("can be made for queries", () => {
    expect(exploreHref(["up"])).toBe("/explore?q=up");
    expect(exploreHref([""])).toBe("/explore");
    expect(exploreHref(['a{b="c&d"}'], { from: "now-5m", to: "now" })).toBe(
      "/explore?q=a%7Bb%3D%22c%26d%22%7D&from=now-5m&to=now",
    );
  });
});

test("queries have letters", () => {
  expect([0, 1, 11].map(queryLetter)).toEqual(["A", "B", "L"]);
});
