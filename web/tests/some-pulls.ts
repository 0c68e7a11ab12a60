import fc from "fast-check";
import type { WireLayer, WirePull } from "../src/api/types";
import { LAYER_PHASES, PULL_STATES, type Pull, readPull } from "../src/lib/pull";

const MIB = 1_048_576;

function layer(digit: string, totalMib: number, fields: Partial<WireLayer>): WireLayer {
  return {
    pullId: "0".repeat(32),
    digest: `sha256:${digit.repeat(64)}`,
    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
    totalBytes: totalMib * MIB,
    downloadedBytes: 0,
    bytesPerSec: 0,
    percent: 0,
    totalKnown: true,
    phase: "waiting",
    resumedBytes: 0,
    ...fields,
  };
}

/** Returns a pull as the server says it: 100 MiB, a tenth of it cached. */
export function wirePull(fields: Partial<WirePull> = {}): WirePull {
  return {
    id: "0".repeat(32),
    nodeName: "worker-1",
    imageRef: "docker.io/library/nginx:1.27",
    totalBytes: 90 * MIB,
    downloadedBytes: 30 * MIB,
    bytesPerSec: 5 * MIB,
    percent: 33.3,
    layerCount: 3,
    layersDone: 1,
    startedAt: "2026-11-21T11:59:00.000Z",
    totalKnown: true,
    state: "downloading",
    attempt: 1,
    confidence: "certain",
    transferredBytes: 30 * MIB,
    cachedBytes: 10 * MIB,
    layersCached: 1,
    updatedAt: "2026-11-21T11:59:59.000Z",
    indirect: false,
    layers: [
      layer("a", 10, { phase: "cached" }),
      layer("b", 10, { phase: "unpacking", downloadedBytes: 10 * MIB }),
      layer("c", 80, { phase: "downloading", downloadedBytes: 20 * MIB, bytesPerSec: 5 * MIB }),
    ],
    ...fields,
  };
}

/** Returns a pull as the page has it. */
export function pull(fields: Partial<WirePull> = {}): Pull {
  const read = readPull(wirePull(fields));
  if (!read) throw new Error("a pull without an identifier");
  return read;
}

const NUMBER = fc.oneof(
  fc.constantFrom(0, -1, 1, 1e300, 100, 250),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const TIME = fc.constantFrom(
  "2026-11-21T11:59:00.000Z",
  "2026-11-21T11:59:30Z",
  "0001-01-01T00:00:00Z",
  "later",
  "",
);
const TEXT = fc.constantFrom("", "<b>a</b>", "sha256:00ff", "layer-sha256:00", "a/b:1@sha256:0");

/** Pulls with anything missing and numbers that make no sense. */
export const arbitraryPull = fc.record(
  {
    id: fc.constant("1"),
    nodeName: TEXT,
    imageRef: TEXT,
    totalBytes: NUMBER,
    downloadedBytes: NUMBER,
    bytesPerSec: NUMBER,
    etaSeconds: NUMBER,
    percent: NUMBER,
    layerCount: NUMBER,
    layersDone: NUMBER,
    layersCached: NUMBER,
    startedAt: TIME,
    completedAt: TIME,
    stalledSince: TIME,
    queuedAt: TIME,
    updatedAt: TIME,
    totalKnown: fc.boolean(),
    indirect: fc.boolean(),
    state: fc.constantFrom(...PULL_STATES, "else"),
    confidence: fc.constantFrom("certain", "unknown", "repository", "else"),
    candidates: fc.array(TEXT, { maxLength: 2 }),
    failure: fc.record(
      { reason: TEXT, message: TEXT, source: TEXT },
      { requiredKeys: ["reason", "message", "source"] },
    ),
    error: TEXT,
    attempt: NUMBER,
    digest: TEXT,
    transferredBytes: NUMBER,
    cachedBytes: NUMBER,
    cluster: TEXT,
    pods: fc.array(
      fc.record(
        { namespace: TEXT, podName: TEXT, container: TEXT, image: TEXT, kind: TEXT },
        { requiredKeys: [] },
      ),
      { maxLength: 2 },
    ),
    layers: fc.array(
      fc.record(
        {
          digest: TEXT,
          mediaType: TEXT,
          totalBytes: NUMBER,
          downloadedBytes: NUMBER,
          bytesPerSec: NUMBER,
          resumedBytes: NUMBER,
          totalKnown: fc.boolean(),
          phase: fc.constantFrom(...LAYER_PHASES, "else"),
        },
        { requiredKeys: [] },
      ),
      { maxLength: 4 },
    ),
  },
  { requiredKeys: ["id"] },
) as fc.Arbitrary<WirePull>;
