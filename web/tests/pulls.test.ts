import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PullNode, WirePull } from "../src/api/types";
import { mediaTypeText, shortDigest, shortTag, splitImage } from "../src/lib/image-name";
import { containerLook, waitText } from "../src/lib/pod-text";
import { bareDigest, comparePulls, type Pull, readPull } from "../src/lib/pull";
import { barParts } from "../src/lib/pull-bar";
import {
  decodePullFilter,
  encodePullFilter,
  fieldParams,
  fitsFields,
  fitsState,
  PULL_FIELD_CHARS_MAX,
  PULL_FILTER_NONE,
  STATE_CHOICES,
  stateParam,
} from "../src/lib/pull-filter";
import {
  agentExample,
  compareNodes,
  confidenceNote,
  imagePercent,
  lasting,
  nodeState,
  percentText,
  quantity,
  sizeText,
  speedText,
  stateText,
  throughputShare,
  timeText,
} from "../src/lib/pull-text";
import { HISTORY_RANGE, pullHref, pullsHref, pullsPlace } from "../src/lib/pull-views";
import { visibleSpan } from "../src/lib/visible-span";
import { arbitraryPull, pull } from "./some-pulls";

const NOW = Date.parse("2026-11-21T12:00:00Z");

describe("what the server says of a pull", () => {
  test("is read", () => {
    const read = pull({ failure: { reason: "Aborted", message: "", source: "agent" } });
    expect(read).toMatchObject({
      image: "docker.io/library/nginx:1.27",
      node: "worker-1",
      state: "downloading",
      startedAt: Date.parse("2026-11-21T11:59:00Z"),
      failure: { reason: "Aborted", message: "", source: "agent" },
      attempt: 1,
    });
    expect(read.layers[0]).toMatchObject({ digest: `sha256:${"a".repeat(64)}`, phase: "cached" });
  });

  test("may lack everything but an identifier", () => {
    const read = readPull({ id: "1" } as WirePull, "worker-9");
    expect(read).toMatchObject({ node: "worker-9", image: "", state: "unknown", attempt: 1 });
    expect(read?.etaSeconds).toBeUndefined();
    expect(readPull({} as WirePull)).toBeUndefined();
  });

  test("of an image without a name is its digest", () => {
    const digest = `sha256:${"b".repeat(64)}`;
    const resolved = { confidence: "unknown", digest };
    expect(pull({ ...resolved, imageRef: "__pulling__" })).toMatchObject({ image: "", digest });
    expect(pull({ ...resolved, imageRef: digest })).toMatchObject({ image: "", digest });
    // An image may be called so.
    expect(pull({ imageRef: "__pulling__", confidence: "certain" }).image).toBe("__pulling__");
  });

  test("has no time where Go has its first year", () => {
    expect(pull({ completedAt: "0001-01-01T00:00:00Z" }).endedAt).toBeUndefined();
  });

  test.each([
    ["sha256:abc1", "sha256:abc1"],
    ["layer-sha256:abc1", "sha256:abc1"],
    ["manifest-sha512:00ff", "sha512:00ff"],
    ["layer-name@sha256:ab", "sha256:ab"],
    ["garbage", "garbage"],
    ["", ""],
  ])("the digest %j is %j", (digest, bare) => {
    expect(bareDigest(digest)).toBe(bare);
  });
});

describe("an image's name", () => {
  test.each([
    ["nginx", "", "nginx", ""],
    ["nginx:1.27", "", "nginx", ":1.27"],
    ["docker.io/library/nginx:1.27", "docker.io/", "library/nginx", ":1.27"],
    ["localhost/a", "localhost/", "a", ""],
    ["team/a", "", "team/a", ""],
    ["host:5000/a/b", "host:5000/", "a/b", ""],
    ["host:5000/a:1@sha256:00", "host:5000/", "a", ":1@sha256:00"],
    ["redis@sha256:00", "", "redis", "@sha256:00"],
    ["", "", "", ""],
  ])("%j has its parts", (image, registry, path, tag) => {
    expect(splitImage(image)).toEqual({ registry, path, tag });
  });

  test("is its parts", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."a.:/@-") }), (image) => {
        const { registry, path, tag } = splitImage(image);
        expect(registry + path + tag).toBe(image);
      }),
    );
  });

  test("is shown with a short digest", () => {
    const digest = `sha256:${"0123456789".repeat(6)}0123`;
    expect(shortDigest(digest)).toBe("012345678901");
    expect(shortTag(`:1@${digest}`)).toBe(":1@sha256:012345678901");
    expect(shortTag(":1")).toBe(":1");
  });
});

test.each([
  ["application/vnd.oci.image.layer.v1.tar+gzip", "gzip"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd"],
  ["application/vnd.oci.image.layer.v1.tar", "tar"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"],
  ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip, not distributed"],
  ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "gzip, encrypted"],
  ["application/x-else", "application/x-else"],
  ["", ""],
])("the media type %j is %j", (type, text) => {
  expect(mediaTypeText(type)).toBe(text);
});

describe("the filter", () => {
  test("of everything has no address", () => {
    expect(encodePullFilter(PULL_FILTER_NONE).toString()).toBe("");
    expect(decodePullFilter("")).toEqual(PULL_FILTER_NONE);
  });

  test("comes back from its address", () => {
    const text = fc.string({ maxLength: PULL_FIELD_CHARS_MAX, unit: "grapheme-ascii" });
    const trimmed = text.map((value) => value.trim());
    const filter = fc.record({
      image: trimmed,
      node: trimmed,
      cluster: trimmed,
      namespace: trimmed,
      pod: trimmed,
      state: fc.constantFrom(...STATE_CHOICES.map(({ value }) => value)),
    });
    fc.assert(
      fc.property(filter, (value) => {
        expect(decodePullFilter(`?${encodePullFilter(value)}`)).toEqual(value);
      }),
    );
  });

  test("does not take a state that there is not", () => {
    expect(decodePullFilter("?state=else").state).toBe("");
  });

  test("finds parts of names whatever their case, of one pod", () => {
    const one = pull({
      cluster: "edge",
      candidates: ["quay.io/other"],
      pods: [
        { namespace: "shop", podName: "web-1", container: "c", kind: "regular" },
        { namespace: "bank", podName: "db-1", container: "c", kind: "init" },
      ],
    });
    const check = (fields: Partial<typeof PULL_FILTER_NONE>, fits: boolean): void => {
      expect(fitsFields(one, { ...PULL_FILTER_NONE, ...fields }), JSON.stringify(fields)).toBe(
        fits,
      );
    };
    check({}, true);
    check({ image: "NGINX:1" }, true);
    check({ image: "quay.io" }, true);
    check({ image: "redis" }, false);
    check({ node: "ORKER" }, true);
    check({ cluster: "west" }, false);
    check({ namespace: "shop", pod: "web" }, true);
    check({ namespace: "shop", pod: "db" }, false);
    check({ image: "nginx", node: "worker-2" }, false);
  });

  test("knows which states go on", () => {
    expect(fitsState(pull({ state: "unknown" }), "active")).toBe(true);
    expect(fitsState(pull({ state: "failed" }), "active")).toBe(false);
    expect(fitsState(pull({ stalledSince: "2026-11-21T11:59:30Z" }), "stalled")).toBe(true);
    expect(fitsState(pull({}), "stalled")).toBe(false);
    expect(stateParam("active")).toBe("queued,resolving,downloading,unpacking,unknown");
    expect(stateParam("failed")).toBe("failed");
    expect(stateParam("")).toBeUndefined();
    expect(fieldParams({ ...PULL_FILTER_NONE, pod: " a ", state: "failed" })).toEqual({ pod: "a" });
  });
});

describe("what is written of a pull", () => {
  test("is never 100 before it is there", () => {
    expect(percentText(pull({ percent: 99.96 }))).toBe("99 %");
    expect(percentText(pull({ state: "unpacking", percent: 100 }))).toBe("99 %");
    expect(percentText(pull({ state: "failed", percent: 100 }))).toBe("99 %");
    expect(percentText(pull({ state: "completed", percent: 0 }))).toBe("100 %");
    expect(percentText(pull({ percent: 250 }))).toBe("99 %");
  });

  test("is a dash where it is not known", () => {
    expect(percentText(pull({ state: "resolving" }))).toBe("–");
    expect(percentText(pull({ totalKnown: false, totalBytes: 0 }))).toBe("–");
    expect(percentText(pull({ totalKnown: false, percent: 40 }))).toBe("~40 %");
    expect(percentText(pull({ indirect: true }))).toBe("–");
    expect(speedText(pull({ state: "completed", bytesPerSec: 5 }))).toBe("–");
    expect(sizeText(pull({ totalBytes: 0, downloadedBytes: 0, totalKnown: false }))).toBe("–");
    expect(sizeText(pull({ totalKnown: false }))).toBe("30 MiB of ?");
    expect(quantity(Number.NaN, "bytes")).toBe("–");
    expect(quantity(undefined, "bytes")).toBe("–");
    expect(lasting(Number.POSITIVE_INFINITY)).toBe("–");
    expect(lasting(undefined)).toBe("–");
  });

  test("tells the time that is left, or that passed", () => {
    expect(timeText(pull({ etaSeconds: 6.4 }), NOW)).toBe("7s left");
    expect(timeText(pull({ etaSeconds: null } as never), NOW)).toBe("for 1m 0s");
    expect(timeText(pull({ state: "queued", queuedAt: "2026-11-21T11:58:00Z" }), NOW)).toBe(
      "for 2m 0s",
    );
    const ended = { state: "completed", completedAt: "2026-11-21T11:59:34Z", etaSeconds: 9 };
    expect(timeText(pull(ended), NOW)).toBe("34s");
    expect(timeText(pull({ ...ended, completedAt: "2026-11-21T11:59:00.2Z" }), NOW)).toBe("< 1s");
    const stalled = { stalledSince: "2026-11-21T11:59:30Z", etaSeconds: 9 };
    expect(timeText(pull(stalled), NOW)).toBe("for 1m 0s");
    expect(stateText(pull(stalled), NOW)).toBe("Stalled for 30s");
  });

  test("tells why it failed, and what was there before", () => {
    const failure = { reason: "ErrImagePull", message: "no", source: "kubelet" };
    expect(stateText(pull({ state: "failed", failure }), NOW)).toBe("Failed: ErrImagePull");
    expect(stateText(pull({ state: "failed", error: "no" }), NOW)).toBe("Failed");
    expect(pull({ state: "failed", error: "no" }).failure?.message).toBe("no");
    const cached = { state: "completed", layerCount: 2, layersCached: 2 };
    expect(stateText(pull(cached), NOW)).toBe("Already present");
    expect(stateText(pull({ state: "unknown" }), NOW)).toBe("Agent silent");
    expect(confidenceNote("repository")).toBe("repository known, tag not");
    expect(confidenceNote("certain")).toBe("");
  });
});

describe("the bar", () => {
  test("has a part for each phase, in its place", () => {
    const parts = barParts(pull({}));
    expect(parts?.map(({ kind }) => kind)).toEqual(["cached", "unpacking", "downloading"]);
    expect(parts?.[0]?.share).toBeCloseTo(0.1);
    expect(parts?.[2]?.share).toBeCloseTo(0.2);
  });

  test("is whole where the image is there, however little is known", () => {
    const known = { totalBytes: 0, cachedBytes: 0, layers: [] };
    expect(barParts(pull({ state: "completed", ...known }))).toEqual([
      { kind: "unpacked", share: 1 },
    ]);
    expect(barParts(pull({ state: "completed", totalBytes: 1, cachedBytes: 3 }))).toEqual([
      { kind: "cached", share: 0.75 },
      { kind: "unpacked", share: 0.25 },
    ]);
  });

  test("is unknown where nothing is known", () => {
    expect(barParts(pull({ totalBytes: 0, cachedBytes: 0, layers: [] }))).toBeUndefined();
    expect(barParts(pull({ state: "resolving" }))).toBeUndefined();
  });

  test("is never longer than it is", () => {
    fc.assert(
      fc.property(arbitraryPull, (wire) => {
        const read = readPull(wire);
        const parts = (read && barParts(read)) ?? [];
        const sum = parts.reduce((all, { share }) => all + share, 0);
        expect(sum).toBeLessThanOrEqual(1 + 1e-9);
        for (const { share } of parts) expect(share).toBeGreaterThan(0);
      }),
    );
  });

  test("of the throughput has a scale of tens", () => {
    expect(throughputShare(0)).toBe(0);
    expect(throughputShare(Number.NaN)).toBe(0);
    expect(throughputShare(1)).toBe(0.01);
    expect(throughputShare(1e6)).toBeCloseTo(0.5);
    expect(throughputShare(1e12)).toBe(0.96);
  });
});

test("pulls that go on come first, then the newest", () => {
  const at = (id: string, minute: number, state: string): Pull =>
    pull({ id, state, startedAt: `2026-11-21T11:${minute}:00Z` });
  const pulls = [
    at("old", 10, "completed"),
    at("b", 20, "downloading"),
    at("failed", 50, "failed"),
    at("a", 20, "queued"),
    at("silent", 30, "unknown"),
  ];
  expect(pulls.sort(comparePulls).map(({ id }) => id)).toEqual([
    "silent",
    "a",
    "b",
    "failed",
    "old",
  ]);
});

describe("the addresses", () => {
  test("lead to their views", () => {
    expect(pullsPlace("/pulls")).toEqual({ view: "live" });
    expect(pullsPlace("/pulls/history")).toEqual({ view: "history" });
    expect(pullsPlace("/pulls/0f0f")).toEqual({ pull: "0f0f" });
    expect(pullsPlace(pullHref("0f0f"))).toEqual({ pull: "0f0f" });
    expect(pullsPlace("/pulls/%E0%A4%A")).toEqual({ pull: "%E0%A4%A" });
  });

  test("hold the filter and the range", () => {
    const filter = { ...PULL_FILTER_NONE, image: "a b" };
    expect(pullsHref("live", filter)).toBe("/pulls?image=a+b");
    expect(pullsHref("history", filter, { from: "now-7d", to: "now" })).toBe(
      "/pulls/history?image=a+b&from=now-7d&to=now",
    );
    expect(pullsHref("pods", PULL_FILTER_NONE, HISTORY_RANGE)).toBe("/pulls/pods");
  });
});

describe("the rows that are drawn", () => {
  test("are those that are seen", () => {
    const list = { count: 1_000, rowHeight: 50, opened: [], margin: 0 };
    expect(visibleSpan({ ...list, top: 0, height: 500 })).toEqual({
      first: 0,
      end: 11,
      before: 0,
      after: 989 * 50,
    });
    const opened = [{ index: 2, more: 400 }];
    expect(visibleSpan({ ...list, opened, top: 550, height: 50 })).toMatchObject({
      first: 3,
      before: 550,
    });
  });

  test("are few, cover what is seen, and leave the list as long as it is", () => {
    const input = fc.record({
      count: fc.nat(100_000),
      rowHeight: fc.constantFrom(54, 98),
      opened: fc
        .uniqueArray(fc.record({ index: fc.nat(100_000), more: fc.nat(2_000) }), {
          maxLength: 5,
          selector: ({ index }) => index,
        })
        .map((rows) => rows.sort((a, b) => a.index - b.index)),
      top: fc.nat(6_000_000),
      height: fc.integer({ min: 100, max: 2_000 }),
      margin: fc.constantFrom(0, 600),
    });
    fc.assert(
      fc.property(input, (list) => {
        const opened = list.opened.filter(({ index }) => index < list.count);
        const span = visibleSpan({ ...list, opened });
        const inside = opened.filter(({ index }) => index >= span.first && index < span.end);
        const drawn = (span.end - span.first) * list.rowHeight;
        const more = (rows: typeof opened): number => rows.reduce((sum, row) => sum + row.more, 0);
        const whole = list.count * list.rowHeight + more(opened);
        expect(span.before + drawn + more(inside) + span.after).toBe(whole);
        expect(span.end - span.first).toBeLessThan(80);
        if (list.top < whole) expect(span.before).toBeLessThanOrEqual(list.top);
        const seenTo = Math.min(whole, list.top + list.height);
        if (list.top < whole) expect(whole - span.after).toBeGreaterThanOrEqual(seenTo);
      }),
    );
  });
});

describe("what a container waits for", () => {
  const container = { container: "web", kind: "regular", image: "nginx", reason: "", message: "" };
  test.each([
    [
      { state: "downloading", pullId: "1", percent: 61.9, etaSeconds: 12.2 },
      "Pulls its image: 61 %, 13s left",
    ],
    [{ state: "downloading", pullId: "1", percent: 100 }, "Pulls its image: 99 %"],
    [{ state: "unpacking", pullId: "1" }, "Unpacks its image"],
    [{ state: "queued", queuedBehind: 1 }, "Queued behind 1 other pull"],
    [{ state: "queued" }, "Queued"],
    [{ state: "completed" }, "Its image is there"],
    [{ reason: "ImagePullBackOff" }, "ImagePullBackOff"],
    [{ state: "failed", pullId: "1", reason: "ErrImagePull" }, "ErrImagePull"],
    [{ reason: "ContainerCreating" }, "Waits (ContainerCreating)"],
    [{}, "Waits"],
  ])("%j is %j", (fields, text) => {
    expect(waitText({ ...container, ...fields })).toBe(text);
  });

  test("looks like the pull", () => {
    expect(containerLook({ ...container, reason: "ImagePullBackOff" })).toBe("failed");
    expect(containerLook({ ...container, state: "downloading", pullId: "1" })).toBe("downloading");
    expect(containerLook({ ...container, state: "else" })).toBe("queued");
  });
});

describe("nodes and images", () => {
  const node: PullNode = {
    node: "a",
    cluster: "",
    agentVersion: "1",
    runtime: "",
    source: "containerd",
    connected: true,
    error: "",
    active: 0,
    bytesPerSec: 0,
  };

  test("nodes that need a look come first", () => {
    const nodes = [
      { ...node, node: "c" },
      { ...node, node: "b", error: "no socket" },
      { ...node, node: "z", connected: false },
      node,
    ];
    expect(nodes.sort(compareNodes).map((each) => each.node)).toEqual(["z", "b", "a", "c"]);
    expect(nodeState({ ...node, connected: false, error: "x" })).toBe("silent");
  });

  test("an image is there when it is on all nodes", () => {
    const image = {
      image: "a",
      nodes: 2,
      nodesDone: 1,
      active: 1,
      completed: 1,
      failed: 0,
      totalBytes: 1,
      downloadedBytes: 1,
      bytesPerSec: 0,
      percent: 100,
    };
    expect(imagePercent(image)).toBe(99);
    expect(imagePercent({ ...image, nodesDone: 2, percent: 12 })).toBe(100);
    expect(imagePercent({ ...image, percent: Number.NaN })).toBe(0);
  });

  test("the example starts an agent for this server", () => {
    expect(agentExample("https://obs.example", false)).toBe(
      'tinyobs-agent --server https://obs.example --node "$(hostname)"',
    );
    expect(agentExample("https://obs.example", true)).toMatch(/^TINYOBS_AGENT_TOKEN="\$KEY" tiny/);
  });
});
