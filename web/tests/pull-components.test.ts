import { MantineProvider } from "@mantine/core";
import fc from "fast-check";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { WirePull } from "../src/api/types";
import { PullRow } from "../src/components/pull-row";
import { readPull } from "../src/lib/pull";
import { arbitraryPull, wirePull } from "./some-pulls";

const NOW = Date.parse("2026-11-21T12:00:00Z");

beforeEach(() => {
  vi.stubGlobal("navigator", {});
});

function draw(wire: WirePull, opened = true): string {
  const pull = readPull(wire);
  if (!pull) return "";
  const row = createElement(PullRow, { pull, nowMs: NOW, opened, onToggle: () => undefined });
  return renderToStaticMarkup(createElement(MantineProvider, null, row));
}

/** Returns what people read and hear. */
function words(html: string): string {
  const spoken = [...html.matchAll(/ (?:title|aria-[a-z]+)="([^"]*)"/g)].map((match) => match[1]);
  return `${html.replace(/<style[\s\S]*?<\/style>/g, "").replace(/<[^>]*>/g, " ")} ${spoken.join(" ")}`;
}

describe("a row", () => {
  test("says of whatever the server says nothing that makes no sense", () => {
    fc.assert(
      fc.property(arbitraryPull, fc.boolean(), (wire, opened) => {
        expect(words(draw(wire, opened))).not.toMatch(/NaN|undefined|null|Infinity|\[object/);
      }),
      { numRuns: 300 },
    );
  });

  test("takes nothing for markup", () => {
    const html = draw(
      wirePull({
        imageRef: "<img src=x onerror=alert(1)>",
        nodeName: "<i>n</i>",
        state: "failed",
        failure: { reason: "<b>r</b>", message: "<script>m</script>", source: "agent" },
        pods: [{ namespace: "<u>", podName: "<u>", container: "<u>", kind: "regular" }],
      }),
    );
    expect(html).not.toMatch(/<(img|i|b|script|u)[ >]/);
    expect(html).toContain("&lt;script&gt;m&lt;/script&gt;");
  });

  test("says whether it is opened", () => {
    expect(draw(wirePull(), false)).toContain('aria-expanded="false"');
    expect(draw(wirePull(), false)).not.toContain("pull-details");
    const html = draw(wirePull(), true);
    expect(html).toContain('aria-expanded="true"');
    const controls = /aria-controls="([^"]+)"/.exec(html)?.[1];
    expect(html).toContain(`id="${controls}"`);
  });

  test("shows layers in their order, by bare digests, with media type and speed", () => {
    const layers = wirePull().layers ?? [];
    const html = draw(
      wirePull({
        layers: layers.map((layer) => ({ ...layer, digest: `layer-${layer.digest}` })),
      }),
    );
    const text = words(html).replace(/\s+/g, " ");
    const order = ["a", "b", "c"].map((digit) => html.indexOf(`>${digit.repeat(12)}<`));
    expect(order.every((place, index) => place > (order[index - 1] ?? -1))).toBe(true);
    expect(text).not.toContain("layer-sha256");
    expect(html).toContain(`title="sha256:${"a".repeat(64)}"`);
    expect(text).toContain("gzip");
    expect(text).toContain("already present");
    expect(text).toContain("5 MiB/s");
  });

  test("shows pods with container, kind and owner", () => {
    const owner = { kind: "ReplicaSet", name: "web-7d4f" };
    const pod = { namespace: "shop", podName: "web-1", container: "migrate", kind: "init", owner };
    const text = words(draw(wirePull({ pods: [pod] }))).replace(/\s+/g, " ");
    expect(text).toMatch(/shop\/web-1 init container migrate of ReplicaSet web-7d4f/);
  });

  test("shows why it failed, and why the attempt before did", () => {
    const failure = {
      reason: "ErrImagePull",
      message: "503 Service Unavailable",
      source: "kubelet",
    };
    const failed = words(draw(wirePull({ state: "failed", failure })));
    expect(failed).toContain("503 Service Unavailable");
    expect(failed).toContain("said by the kubelet");
    const again = words(draw(wirePull({ attempt: 2, failure }))).replace(/\s+/g, " ");
    expect(again).toContain("attempt 2");
    expect(again).toContain("The attempt before failed: ErrImagePull");
  });

  test("says honestly how sure the name is", () => {
    const candidates = ["ghcr.io/a/web:1", "ghcr.io/a/web:2"];
    const html = draw(
      wirePull({ imageRef: "ghcr.io/a/web", confidence: "repository", candidates }),
    );
    expect(words(html)).toContain("repository known, tag not");
    expect(words(html)).toContain("ghcr.io/a/web:1, ghcr.io/a/web:2");
  });

  test("tells its progress to those who hear it", () => {
    const html = draw(wirePull(), false);
    expect(html).toContain('role="progressbar"');
    expect(html).toContain('aria-valuenow="33"');
    expect(html).toContain('aria-valuetext="Downloading, 33 %, 30 MiB of 90 MiB"');
    expect(draw(wirePull({ state: "resolving" }), false)).not.toContain("aria-valuenow");
  });
});
