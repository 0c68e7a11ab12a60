/** What is written about a pull. Nothing here is ever `NaN`: what is not known is a dash. */

import type { ImagePulls, PullNode } from "../api/types";
import { formatNumber, type Unit } from "./format";
import type { Confidence, Layer, LayerPhase, Pull, PullFailure } from "./pull";
import { isEnded, isStalled } from "./pull";

/** What stands for what is not known. */
export const UNKNOWN = "–";

/** Returns a number with its unit, or a dash where there is none. */
export function quantity(value: number | null | undefined, unit: Unit): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return UNKNOWN;
  return formatNumber(value, unit);
}

/** Returns a length of time in whole seconds: `2m 5s`. What is left of it is rounded up. */
export function lasting(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds) || seconds < 0) return UNKNOWN;
  return formatNumber(Math.ceil(seconds), "age");
}

/** What a pull looks like: its state, or that it stalls. */
export type Look = Pull["state"] | "stalled";

/** Returns what a pull looks like. */
export function lookOf(pull: Pull): Look {
  return isStalled(pull) ? "stalled" : pull.state;
}

const LOOK_TEXT: Record<Look, string> = {
  queued: "Queued",
  resolving: "Resolving",
  downloading: "Downloading",
  unpacking: "Unpacking",
  completed: "Done",
  failed: "Failed",
  unknown: "Agent silent",
  stalled: "Stalled",
};

/** Returns the state of a pull in words. */
export function stateText(pull: Pull, nowMs: number): string {
  const look = lookOf(pull);
  if (look === "stalled" && pull.stalledSince !== undefined) {
    return `Stalled for ${lasting(Math.max(0, Math.floor((nowMs - pull.stalledSince) / 1_000)))}`;
  }
  if (look === "completed" && isCached(pull)) return "Already present";
  if (look === "failed" && pull.failure?.reason) return `Failed: ${pull.failure.reason}`;
  return LOOK_TEXT[look];
}

/** Returns whether all layers were there before. */
export function isCached(pull: Pull): boolean {
  return pull.layerCount > 0 && pull.layersCached >= pull.layerCount;
}

/** Returns how much of a pull is there: never 100 before it is. */
export function percentText(pull: Pull): string {
  if (pull.state === "completed") return "100 %";
  if (pull.indirect || pull.state === "queued" || pull.state === "resolving") return UNKNOWN;
  if (!pull.totalKnown && pull.totalBytes === 0) return UNKNOWN;
  const whole = Math.min(99, Math.floor(pull.percent));
  return `${pull.totalKnown || isEnded(pull) ? "" : "~"}${whole} %`;
}

/** Returns how fast a pull is; a dash where it does not load. */
export function speedText(pull: Pull): string {
  const loads = pull.state === "downloading" && !pull.indirect;
  return loads ? quantity(pull.bytesPerSecond, "bytes-per-second") : UNKNOWN;
}

/** Returns how many bytes are there, and of how many. */
export function sizeText(pull: Pull): string {
  const { totalBytes, downloadedBytes, cachedBytes } = pull;
  if (pull.indirect) return "not seen";
  if (pull.state === "completed") return quantity(totalBytes + cachedBytes, "bytes");
  if (totalBytes === 0 && downloadedBytes === 0) return UNKNOWN;
  const there = quantity(downloadedBytes, "bytes");
  return pull.totalKnown ? `${there} of ${quantity(totalBytes, "bytes")}` : `${there} of ?`;
}

/** Returns what is left of the time of a pull, or how long it took, or how long it waits. */
export function timeText(pull: Pull, nowMs: number): string {
  const { startedAt, endedAt, etaSeconds } = pull;
  if (isEnded(pull)) {
    if (endedAt === undefined || startedAt === 0) return UNKNOWN;
    const seconds = Math.max(0, (endedAt - startedAt) / 1_000);
    return seconds < 1 ? "< 1s" : lasting(Math.round(seconds));
  }
  if (etaSeconds !== undefined && pull.state === "downloading" && !isStalled(pull)) {
    return `${lasting(etaSeconds)} left`;
  }
  if (startedAt === 0) return UNKNOWN;
  const since = pull.state === "queued" ? (pull.queuedAt ?? startedAt) : startedAt;
  return `for ${lasting(Math.floor(Math.max(0, nowMs - since) / 1_000))}`;
}

/** Returns what is to be said about how sure a name is; empty where it is sure. */
export function confidenceNote(confidence: Confidence): string {
  return {
    certain: "",
    likely: "tag likely",
    repository: "repository known, tag not",
    guess: "name guessed",
    unknown: "name not known yet",
  }[confidence];
}

/** Returns how the name was found, as a sentence. */
export function confidenceText(confidence: Confidence): string {
  return {
    certain: "The runtime itself says this name.",
    likely: "The repository is known, and one image of it is asked for on the node.",
    repository: "The repository is known, the tag is not.",
    guess: "It is the only image that is asked for on the node.",
    unknown: "Nothing but a digest is known so far.",
  }[confidence];
}

const PHASE_TEXT: Record<LayerPhase, string> = {
  waiting: "waiting",
  downloading: "downloading",
  committing: "storing",
  downloaded: "downloaded",
  unpacking: "unpacking",
  done: "unpacked",
  cached: "already present",
  failed: "failed",
};

/** Returns how far a layer is, in words. */
export function phaseText(phase: LayerPhase): string {
  return PHASE_TEXT[phase];
}

/** Returns how many bytes of a layer are there, and of how many. */
export function layerSizeText(layer: Layer): string {
  const total =
    layer.totalKnown || layer.totalBytes > 0 ? quantity(layer.totalBytes, "bytes") : "?";
  const whole = ["committing", "downloaded", "unpacking", "done", "cached"].includes(layer.phase);
  if (whole && total !== "?") return total;
  return `${quantity(layer.downloadedBytes, "bytes")} of ${total}`;
}

/** Returns who said that a pull failed. */
export function failureSource({ source }: PullFailure): string {
  const names: Record<string, string> = {
    agent: "seen by the agent",
    kubelet: "said by the kubelet",
    silence: "its agent was silent for too long",
  };
  return names[source] ?? source;
}

/** Returns a failure on one line. */
export function failureText({ reason, message }: PullFailure): string {
  return [reason, message].filter((part) => part !== "").join(": ");
}

/** The ends of the scale of the throughput's bar: the tens exponents of bytes per second. */
const SCALE_FROM = 3;
const SCALE_DECADES = 6;

/** Returns how long the bar of the throughput is, 0 to 1: a tenth more for each factor of about four. */
export function throughputShare(bytesPerSecond: number): number {
  if (!(bytesPerSecond > 0)) return 0;
  const share = (Math.log10(bytesPerSecond) - SCALE_FROM) / SCALE_DECADES;
  return Math.min(0.96, Math.max(0.01, share));
}

/** Returns how much of an image is there on all nodes, in whole percent: 100 only when it is. */
export function imagePercent(image: ImagePulls): number {
  const { percent, nodes, nodesDone } = image;
  if (nodes > 0 && nodesDone >= nodes) return 100;
  return Number.isFinite(percent) ? Math.min(99, Math.max(0, Math.floor(percent))) : 0;
}

/** How an agent is. */
export type NodeState = "silent" | "failing" | "watching";

/** Returns how the agent of a node is. */
export function nodeState({ connected, error }: PullNode): NodeState {
  if (!connected) return "silent";
  return error === "" ? "watching" : "failing";
}

const NODE_ORDER: NodeState[] = ["silent", "failing", "watching"];

/** Orders nodes: those that need a look first, then by name. */
export function compareNodes(a: PullNode, b: PullNode): number {
  const place = (node: PullNode): number => NODE_ORDER.indexOf(nodeState(node));
  const name = ({ cluster, node }: PullNode): string => `${cluster}/${node}`;
  return place(a) - place(b) || (name(a) < name(b) ? -1 : Number(name(a) > name(b)));
}

/** Returns where an agent looks, in words. */
export function sourceText(source: string): string {
  const names: Record<string, string> = {
    containerd: "by its API",
    "content-folder": "by its files: neither names nor failures are seen",
  };
  return names[source] ?? source;
}

/** Returns how to start an agent that reports to a server. */
export function agentExample(origin: string, needsKey: boolean): string {
  const token = needsKey ? 'TINYOBS_AGENT_TOKEN="$KEY" ' : "";
  return `${token}tinyobs-agent --server ${origin} --node "$(hostname)"`;
}
