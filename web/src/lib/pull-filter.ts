import { isEnded, isStalled, PULL_STATES, type Pull } from "./pull";

/** Which pulls are shown, as kept in the address; empty is everything. */
export interface PullFilter {
  image: string;
  node: string;
  cluster: string;
  namespace: string;
  pod: string;
  /** One of `STATE_CHOICES`. */
  state: string;
}

/** The fields that are written. */
export const PULL_FIELDS = ["image", "node", "cluster", "namespace", "pod"] as const;

/** The longest text of a field, in characters. */
export const PULL_FIELD_CHARS_MAX = 256;

/** The states that can be chosen. */
export const STATE_CHOICES: { value: string; label: string }[] = [
  { value: "", label: "any" },
  { value: "active", label: "active" },
  { value: "stalled", label: "stalled" },
  { value: "queued", label: "queued" },
  { value: "resolving", label: "resolving" },
  { value: "downloading", label: "downloading" },
  { value: "unpacking", label: "unpacking" },
  { value: "completed", label: "done" },
  { value: "failed", label: "failed" },
  { value: "unknown", label: "agent silent" },
];

/** The filter that leaves nothing out. */
export const PULL_FILTER_NONE: PullFilter = {
  image: "",
  node: "",
  cluster: "",
  namespace: "",
  pod: "",
  state: "",
};

/** Returns the filter of address parameters; what cannot be read is left out. */
export function decodePullFilter(search: string): PullFilter {
  const params = new URLSearchParams(search);
  const filter = { ...PULL_FILTER_NONE };
  for (const name of PULL_FIELDS) {
    filter[name] = (params.get(name) ?? "").trim().slice(0, PULL_FIELD_CHARS_MAX).trim();
  }
  const state = params.get("state") ?? "";
  if (STATE_CHOICES.some(({ value }) => value === state)) filter.state = state;
  return filter;
}

/** Returns the address parameters of a filter; what leaves nothing out is left out. */
export function encodePullFilter(filter: PullFilter): URLSearchParams {
  const params = new URLSearchParams();
  for (const name of PULL_FIELDS) {
    const value = filter[name].trim();
    if (value !== "") params.set(name, value);
  }
  if (filter.state !== "") params.set("state", filter.state);
  return params;
}

/** Returns whether a filter leaves pulls out. */
export function isFilteringPulls(filter: PullFilter): boolean {
  return encodePullFilter(filter).size > 0;
}

/** Returns what the server is asked for; the state is another matter. */
export function fieldParams(filter: PullFilter): Record<string, string> {
  return Object.fromEntries(encodePullFilter({ ...filter, state: "" }));
}

function contains(text: string, part: string): boolean {
  return text.toLowerCase().includes(part.toLowerCase());
}

/** Returns whether a pull fits the written fields: each as a part of the text, whatever its case. */
export function fitsFields(pull: Pull, filter: PullFilter): boolean {
  const { image, node, cluster, namespace, pod } = filter;
  const names = [pull.image, pull.digest, ...pull.candidates];
  return (
    (image === "" || names.some((name) => contains(name, image))) &&
    contains(pull.node, node) &&
    contains(pull.cluster, cluster) &&
    ((namespace === "" && pod === "") ||
      pull.pods.some((each) => contains(each.namespace, namespace) && contains(each.name, pod)))
  );
}

/** Returns whether a node fits the written fields that are about nodes. */
export function fitsNode(node: { node: string; cluster: string }, filter: PullFilter): boolean {
  return contains(node.node, filter.node) && contains(node.cluster, filter.cluster);
}

/** Returns whether a pull is in one of the states that were chosen. */
export function fitsState(pull: Pull, state: string): boolean {
  if (state === "") return true;
  if (state === "active") return !isEnded(pull);
  if (state === "stalled") return isStalled(pull);
  return pull.state === state;
}

/** The states that the server is asked for, separated by commas; undefined where all are wanted. */
export function stateParam(state: string): string | undefined {
  if (state === "") return undefined;
  if (state === "active") {
    return PULL_STATES.filter((each) => each !== "completed" && each !== "failed").join(",");
  }
  return state === "stalled" ? "downloading" : state;
}
