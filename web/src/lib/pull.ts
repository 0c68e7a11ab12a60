/** A pull as the page shows it, read from what the server says. */

import type { WireLayer, WirePod, WirePull } from "../api/types";

/** How far a pull is. */
export const PULL_STATES = [
  "queued",
  "resolving",
  "downloading",
  "unpacking",
  "completed",
  "failed",
  "unknown",
] as const;
export type PullState = (typeof PULL_STATES)[number];

/** How sure the name of an image is. */
export const CONFIDENCES = ["certain", "likely", "repository", "guess", "unknown"] as const;
export type Confidence = (typeof CONFIDENCES)[number];

/** How far a layer is. */
export const LAYER_PHASES = [
  "waiting",
  "downloading",
  "committing",
  "downloaded",
  "unpacking",
  "done",
  "cached",
  "failed",
] as const;
export type LayerPhase = (typeof LAYER_PHASES)[number];

/** A layer of a pull. */
export interface Layer {
  /** Without the prefix of an ingest: `sha256:…`. */
  digest: string;
  /** Empty where it is not known. */
  mediaType: string;
  phase: LayerPhase;
  totalBytes: number;
  totalKnown: boolean;
  downloadedBytes: number;
  resumedBytes: number;
  bytesPerSecond: number;
}

/** A container that waits for an image, or waited for it. */
export interface PullPod {
  namespace: string;
  name: string;
  container: string;
  /** `init`, `ephemeral`, `volume`; empty for an ordinary container. */
  kind: string;
  /** The image as the pod asks for it. */
  image: string;
  /** Who made the pod, such as `ReplicaSet web-7d4f`; empty where nobody did. */
  owner: string;
}

/** Why a pull failed. */
export interface PullFailure {
  reason: string;
  message: string;
  /** `agent`, `kubelet` or `silence`; empty where it is not said. */
  source: string;
}

/** A pull. Times are milliseconds since the epoch; every number is finite and at least 0. */
export interface Pull {
  id: string;
  cluster: string;
  node: string;
  /** The best name; empty where nothing but a digest is known. */
  image: string;
  confidence: Confidence;
  candidates: string[];
  /** Empty until it is known. */
  digest: string;
  state: PullState;
  /** Since when no byte arrived although it downloads. */
  stalledSince: number | undefined;
  /** Why it failed; on a pull that goes on, why the attempt before it failed. */
  failure: PullFailure | undefined;
  attempt: number;
  /** Bytes of the layers that are not cached. */
  totalBytes: number;
  totalKnown: boolean;
  downloadedBytes: number;
  transferredBytes: number;
  cachedBytes: number;
  bytesPerSecond: number;
  etaSeconds: number | undefined;
  /** 0 to 100. */
  percent: number;
  layers: Layer[];
  layerCount: number;
  layersDone: number;
  layersCached: number;
  queuedAt: number | undefined;
  startedAt: number;
  endedAt: number | undefined;
  updatedAt: number;
  /** Whether bytes are unknown because a snapshotter fetches the layers itself. */
  indirect: boolean;
  pods: PullPod[];
}

/** What stands on the wire for the name of an image that has none yet. */
export const UNNAMED = "__pulling__";

function amount(value: number | null | undefined): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}

/** Returns a time; the first year stands for none, as in Go. */
function time(value: string | null | undefined): number | undefined {
  if (!value || value.startsWith("0001-")) return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

function word<T extends string>(value: unknown, words: readonly T[]): T | undefined {
  return words.find((each) => each === value);
}

function list<T>(value: readonly T[] | null | undefined): T[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item) : [];
}

/** Returns a digest without what an ingest puts before it: `layer-sha256:…` is `sha256:…`. */
export function bareDigest(digest: string): string {
  return /(?:^|[-@])((?:sha256|sha512):[0-9a-fA-F]+)$/.exec(digest)?.[1] ?? digest;
}

function readLayer(wire: WireLayer): Layer {
  const totalBytes = amount(wire.totalBytes);
  const downloadedBytes = amount(wire.downloadedBytes);
  const complete = totalBytes > 0 && downloadedBytes >= totalBytes;
  return {
    digest: bareDigest(wire.digest ?? ""),
    mediaType: wire.mediaType ?? "",
    phase: word(wire.phase, LAYER_PHASES) ?? (complete ? "downloaded" : "downloading"),
    totalBytes,
    totalKnown: wire.totalKnown === true,
    downloadedBytes,
    resumedBytes: amount(wire.resumedBytes),
    bytesPerSecond: amount(wire.bytesPerSec),
  };
}

function readPod(wire: WirePod): PullPod {
  const kind = wire.kind ?? "";
  const { owner } = wire;
  return {
    namespace: wire.namespace ?? "",
    name: wire.podName ?? "",
    container: wire.container ?? "",
    kind: kind === "regular" ? "" : kind,
    image: wire.image ?? "",
    owner: owner ? `${owner.kind} ${owner.name}` : "",
  };
}

function readFailure(wire: WirePull): PullFailure | undefined {
  const { failure, error } = wire;
  if (failure) {
    const { reason = "", message = "", source = "" } = failure;
    return { reason, message: message || (error ?? ""), source };
  }
  return error ? { reason: "", message: error, source: "" } : undefined;
}

/** Returns a pull as the page shows it, or undefined where it has no identifier. */
export function readPull(wire: WirePull, nodeName = ""): Pull | undefined {
  if (typeof wire?.id !== "string" || wire.id === "") return undefined;
  const confidence = word(wire.confidence, CONFIDENCES) ?? "certain";
  const image = wire.imageRef ?? "";
  const unnamed = confidence === "unknown" && (image === UNNAMED || /^sha\d+:/.test(image));
  const endedAt = time(wire.completedAt);
  const ended = endedAt === undefined ? "unknown" : wire.error ? "failed" : "completed";
  const startedAt = time(wire.startedAt) ?? time(wire.queuedAt) ?? endedAt ?? 0;
  const layers = list(wire.layers).map(readLayer);
  return {
    id: wire.id,
    cluster: wire.cluster ?? "",
    node: wire.nodeName || nodeName,
    image: unnamed ? "" : image,
    confidence,
    candidates: Array.isArray(wire.candidates) ? wire.candidates : [],
    digest: wire.digest || (unnamed && image !== UNNAMED ? image : ""),
    state: word(wire.state, PULL_STATES) ?? ended,
    stalledSince: time(wire.stalledSince),
    failure: readFailure(wire),
    attempt: Math.max(1, amount(wire.attempt)),
    totalBytes: amount(wire.totalBytes),
    totalKnown: wire.totalKnown === true,
    downloadedBytes: amount(wire.downloadedBytes),
    transferredBytes: amount(wire.transferredBytes),
    cachedBytes: amount(wire.cachedBytes),
    bytesPerSecond: amount(wire.bytesPerSec),
    etaSeconds: amount(wire.etaSeconds) || undefined,
    percent: Math.min(100, amount(wire.percent)),
    layers,
    layerCount: amount(wire.layerCount) || layers.length,
    layersDone: amount(wire.layersDone),
    layersCached: amount(wire.layersCached),
    queuedAt: time(wire.queuedAt),
    startedAt,
    endedAt,
    updatedAt: time(wire.updatedAt) ?? endedAt ?? 0,
    indirect: wire.indirect === true,
    pods: list(wire.pods).map(readPod),
  };
}

/** Returns whether a pull is over. */
export function isEnded(pull: Pull): boolean {
  return pull.state === "completed" || pull.state === "failed";
}

/** Returns whether no byte arrives although it downloads. */
export function isStalled(pull: Pull): boolean {
  return pull.stalledSince !== undefined && !isEnded(pull);
}

/** Orders pulls: those that go on first, then the newest first. */
export function comparePulls(a: Pull, b: Pull): number {
  return (
    Number(isEnded(a)) - Number(isEnded(b)) ||
    b.startedAt - a.startedAt ||
    (a.id < b.id ? -1 : Number(a.id > b.id))
  );
}
