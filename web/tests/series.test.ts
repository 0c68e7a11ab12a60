import { describe, expect, test } from "vitest";
import { toggleHidden } from "../src/components/legend";
import { seriesColor, withAlpha } from "../src/lib/colors";
import { errorPosition } from "../src/lib/error-position";
import { HISTORY_MAX, parseHistory, remember } from "../src/lib/history";
import { hostsOf, sampleInterval } from "../src/lib/interval";
import { hostPanels, rateWindow } from "../src/lib/live-panels";
import { matchers, metricSelector, seriesKey, seriesName } from "../src/lib/names";
import { sortRows, tableColumns, tableRows } from "../src/lib/table";

describe("names", () => {
  test.each([
    [{ __name__: "up", job: "a", instance: "b" }, 'up{instance="b", job="a"}'],
    [{ __name__: "up" }, "up"],
    [{ job: "a" }, '{job="a"}'],
    [{}, "{}"],
    [{ __name__: "http.requests", "a.b": "c" }, '{"http.requests", "a.b"="c"}'],
    [{ a: 'quote " slash \\ line \n' }, '{a="quote \\" slash \\\\ line \\n"}'],
    [{ a: "<b>" }, '{a="<b>"}'],
  ])("%j", (labels, expected) => {
    expect(seriesName(labels as Record<string, string>)).toBe(expected);
  });

  test("do not depend on the order of labels", () => {
    expect(seriesKey({ a: "1", b: "2" })).toBe(seriesKey({ b: "2", a: "1" }));
    expect(seriesKey({ a: "1", b: "2" })).not.toBe(seriesKey({ a: "1,b=2" }));
  });

  test("make selectors", () => {
    expect(metricSelector("up")).toBe("up");
    expect(metricSelector("http.requests")).toBe('{"http.requests"}');
    expect(matchers({ job: "x", instance: 'a"b' })).toBe('instance="a\\"b",job="x"');
  });
});

describe("colours", () => {
  test("differ between neighbours and repeat after ten", () => {
    const colors = Array.from({ length: 10 }, (_, index) => seriesColor(index, "light"));
    expect(new Set(colors).size).toBe(10);
    expect(seriesColor(10, "light")).toBe(colors[0]);
    expect(seriesColor(0, "dark")).not.toBe(colors[0]);
  });

  test("take an opacity", () => {
    expect(withAlpha("#102030", 0.5)).toBe("#10203080");
    expect(withAlpha("#102030", 2)).toBe("#102030ff");
  });
});

describe("the position of a mistake", () => {
  test("is found in the server's message", () => {
    const message = 'invalid parameter "query": 2:3: parse error: unexpected )';
    expect(errorPosition(message, "sum(\nx +)")).toEqual({
      line: "x +)",
      lineNumber: 2,
      column: 3,
      message: "parse error: unexpected )",
    });
  });

  test("behind the end is the end", () => {
    expect(errorPosition("1:99: parse error: unexpected end", "up +")?.column).toBe(5);
  });

  test("is none where there is none", () => {
    expect(errorPosition("query timed out", "up")).toBeUndefined();
    expect(errorPosition("7:1: parse error: x", "up")).toBeUndefined();
  });
});

describe("the history", () => {
  test("has each query once, newest first, up to its limit", () => {
    expect(remember(["a", "b"], " b ")).toEqual(["b", "a"]);
    expect(remember(["a"], "  ")).toEqual(["a"]);
    const full = Array.from({ length: HISTORY_MAX }, (_, index) => `q${index}`);
    expect(remember(full, "new")).toHaveLength(HISTORY_MAX);
  });

  test("of damaged storage is empty", () => {
    expect(parseHistory("{")).toEqual([]);
    expect(parseHistory('{"a":1}')).toEqual([]);
    expect(parseHistory('["a",1]')).toEqual(["a"]);
    expect(parseHistory(null)).toEqual([]);
  });
});

describe("hosts", () => {
  test("are found in raw samples, the finest first", () => {
    const matrix = [
      { metric: { job: "node", instance: "a:9100" }, values: samples(15, 4) },
      { metric: { job: "node", instance: "z" }, values: samples(1, 4) },
    ];
    expect(hostsOf(matrix)).toEqual([
      { labels: { job: "node", instance: "z" }, name: "z", intervalMs: 1_000 },
      { labels: { job: "node", instance: "a:9100" }, name: "a:9100", intervalMs: 15_000 },
    ]);
  });

  test("of the same name are told apart by their job", () => {
    const matrix = ["node", "other"].map((job) => ({ metric: { job, instance: "a" } }));
    expect(hostsOf(matrix).map((host) => host.name)).toEqual(["a (node)", "a (other)"]);
  });

  test("have an interval of one second until there are two samples", () => {
    expect(sampleInterval([5])).toBe(1_000);
    expect(sampleInterval([0, 1.02, 2.01, 30])).toBe(1_000);
  });

  test("have rates over at least four samples and every step", () => {
    expect(rateWindow(1_000, 1_000)).toBe("5s");
    expect(rateWindow(15_000, 1_000)).toBe("60s");
    expect(rateWindow(1_000, 300_000)).toBe("300s");
  });

  test("are matched in every query of their charts", () => {
    const scope = { host: { instance: "a" }, intervalMs: 1_000, stepMs: 1_000 };
    for (const query of hostPanels(scope).flatMap((panel) => panel.queries)) {
      const metrics = query.expr.match(/node_\w+/g) ?? [];
      const matched = query.expr.match(/node_\w+\{instance="a"/g) ?? [];
      expect(metrics.length).toBeGreaterThan(0);
      expect(matched).toHaveLength(metrics.length);
    }
  });
});

function samples(stepS: number, count: number): [number, string][] {
  return Array.from({ length: count }, (_, index) => [1_000 + index * stepS, "1"]);
}

describe("the table", () => {
  const rows = tableRows(
    {
      resultType: "vector",
      result: [
        { metric: { __name__: "a", zone: "10", b: "x" }, value: [1, "2"] },
        { metric: { __name__: "a", zone: "9" }, value: [1, "NaN"] },
        { metric: { __name__: "a", zone: "8" }, value: [1, "10"] },
      ],
    },
    "A",
  );

  test("has the metric first and a column for every label", () => {
    expect(tableColumns(rows)).toEqual(["__name__", "b", "zone"]);
  });

  test("is sorted by numbers as numbers, what is none last", () => {
    const texts = sortRows(rows, { column: "", descending: false }).map((row) => row.text);
    expect(texts).toEqual(["2", "10", "NaN"]);
    const zones = sortRows(rows, { column: "zone", descending: true }).map(
      (row) => row.labels.zone,
    );
    expect(zones).toEqual(["10", "9", "8"]);
  });

  test("shows scalars, range vectors and histograms", () => {
    expect(tableRows({ resultType: "scalar", result: [1, "+Inf"] }, "A")[0]?.text).toBe("+Inf");
    const values = samples(1, 12);
    const matrix = tableRows({ resultType: "matrix", result: [{ metric: {}, values }] }, "A");
    expect(matrix[0]?.text.split("\n")).toHaveLength(11);
    const histogram = tableRows(
      {
        resultType: "vector",
        result: [{ metric: {}, histogram: [1, { count: "3", sum: "4.5" }] }],
      },
      "A",
    );
    expect(histogram[0]?.text).toBe("histogram: count 3, sum 4.5");
  });
});

describe("a click in the legend", () => {
  const keys = ["a", "b", "c"];

  test("hides and shows one series", () => {
    const hidden = toggleHidden(new Set(), keys, { key: "a", only: false });
    expect([...hidden]).toEqual(["a"]);
    expect([...toggleHidden(hidden, keys, { key: "a", only: false })]).toEqual([]);
  });

  test("with Alt shows only this one, and all again", () => {
    const hidden = toggleHidden(new Set(["a"]), keys, { key: "a", only: true });
    expect([...hidden]).toEqual(["b", "c"]);
    expect([...toggleHidden(hidden, keys, { key: "a", only: true })]).toEqual([]);
  });
});
