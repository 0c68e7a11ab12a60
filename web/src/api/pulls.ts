import { type Pull, readPull, UNNAMED } from "../lib/pull";
import { fieldParams, type PullFilter, stateParam } from "../lib/pull-filter";
import type { TimeRange } from "../lib/time";
import { ask } from "./client";
import type {
  ImageList,
  ImagePulls,
  PullNode,
  PullNodeList,
  WaitingPods,
  WirePull,
  WirePullPage,
  WirePulls,
} from "./types";

const PATH = "/v1/pulls";

/** Pulls of one page of the history. */
export const HISTORY_PAGE = 100;

/** A page of pulls, the newest first. */
export interface PullPage {
  pulls: Pull[];
  /** Where the next page begins; null at the end. */
  next: string | null;
}

function readPulls(wires: readonly WirePull[] | undefined): Pull[] {
  return (wires ?? []).flatMap((wire) => readPull(wire) ?? []);
}

/** Returns the pulls of now. */
export async function livePulls(signal?: AbortSignal): Promise<Pull[]> {
  const { pulls } = await ask<WirePulls>({ path: "/api/v1/pulls", signal });
  return readPulls(pulls);
}

/** Returns a page of the pulls that began within a range. */
export async function searchPulls(
  filter: PullFilter,
  range: TimeRange,
  cursor: string | null,
  signal?: AbortSignal,
): Promise<PullPage> {
  const params: Record<string, string> = {
    ...fieldParams(filter),
    since: new Date(range.startMs).toISOString(),
    until: new Date(range.endMs).toISOString(),
    limit: String(HISTORY_PAGE),
  };
  const state = stateParam(filter.state);
  if (state !== undefined) params.state = state;
  if (cursor !== null) params.cursor = cursor;
  const page = await ask<WirePullPage>({ path: PATH, params, signal });
  return { pulls: readPulls(page.pulls), next: page.nextCursor ?? null };
}

/** Returns one pull. */
export async function onePull(id: string, signal?: AbortSignal): Promise<Pull | undefined> {
  return readPull(await ask<WirePull>({ path: `${PATH}/${encodeURIComponent(id)}`, signal }));
}

/** Returns the images that are pulled or were lately, each over all nodes. */
export async function pulledImages(
  filter: PullFilter,
  signal?: AbortSignal,
): Promise<ImagePulls[]> {
  const params = fieldParams(filter);
  const { images } = await ask<ImageList>({
    path: `${PATH}/images`,
    params,
    signal,
  });
  return images.map((image) => (image.image === UNNAMED ? { ...image, image: "" } : image));
}

/** Returns the nodes whose agents have reported. */
export async function pullNodes(signal?: AbortSignal): Promise<PullNode[]> {
  const { nodes } = await ask<PullNodeList>({ path: `${PATH}/nodes`, signal });
  return nodes;
}

/** Returns the pods that wait, and whether their clusters are followed. */
export function waitingPods(filter: PullFilter, signal?: AbortSignal): Promise<WaitingPods> {
  return ask({ path: `${PATH}/pods`, params: fieldParams(filter), signal });
}
