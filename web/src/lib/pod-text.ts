/** What is written about a pod that waits. */

import type { PodContainer } from "../api/types";
import { PULL_STATES } from "./pull";
import { type Look, lasting } from "./pull-text";

/** Returns what a container is, in words. */
export function containerKind(kind: string): string {
  const names: Record<string, string> = {
    init: "init container",
    ephemeral: "ephemeral container",
    volume: "image volume",
  };
  return names[kind] ?? "container";
}

/** Reasons of the kubelet that stand for a failure. */
const FAILURES = new Set([
  "ErrImagePull",
  "ImagePullBackOff",
  "ErrImageNeverPull",
  "InvalidImageName",
  "ImageInspectError",
  "RegistryUnavailable",
  "SignatureValidationFailed",
]);

/** What a container looks like: as the state of a pull that means the same. */
export function containerLook({ state, reason, pullId }: PodContainer): Look {
  if (FAILURES.has(reason) && !pullId) return "failed";
  return PULL_STATES.find((word) => word === state) ?? "queued";
}

/** Returns what a container waits for, in words. */
export function waitText(container: PodContainer): string {
  const { state, reason, pullId, percent, etaSeconds, queuedBehind } = container;
  if (state === "completed") return "Its image is there";
  if (pullId && state !== "failed") {
    const parts = [state === "unpacking" ? "Unpacks its image" : "Pulls its image"];
    if (typeof percent === "number" && Number.isFinite(percent)) {
      parts.push(`: ${Math.min(99, Math.floor(Math.max(0, percent)))} %`);
    }
    if (typeof etaSeconds === "number" && etaSeconds > 0) {
      parts.push(`, ${lasting(etaSeconds)} left`);
    }
    if (FAILURES.has(reason)) parts.push(` (${reason})`);
    return parts.join("");
  }
  if (typeof queuedBehind === "number" && queuedBehind > 0) {
    return `Queued behind ${queuedBehind} other ${queuedBehind === 1 ? "pull" : "pulls"}`;
  }
  if (reason !== "" && reason !== "ContainerCreating" && reason !== "PodInitializing")
    return reason;
  if (state === "queued") return "Queued";
  if (state === "failed") return "Its pull failed";
  return reason === "" ? "Waits" : `Waits (${reason})`;
}
