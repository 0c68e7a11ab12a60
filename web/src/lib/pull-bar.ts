import type { Layer, Pull } from "./pull";

/** What a part of the bar stands for. */
export type BarPartKind = "cached" | "unpacked" | "unpacking" | "downloaded" | "downloading";

/** A part of the bar. */
export interface BarPart {
  kind: BarPartKind;
  /** Of the whole bar; above 0, and 1 at most for all parts together. */
  share: number;
}

const ORDER: BarPartKind[] = ["cached", "unpacked", "unpacking", "downloaded", "downloading"];

function layerPart({ phase, totalBytes, downloadedBytes }: Layer): [BarPartKind, number] {
  switch (phase) {
    case "cached":
      return ["cached", totalBytes];
    case "done":
      return ["unpacked", totalBytes];
    case "unpacking":
      return ["unpacking", totalBytes];
    case "committing":
    case "downloaded":
      return ["downloaded", totalBytes];
    default:
      return ["downloading", Math.min(downloadedBytes, totalBytes)];
  }
}

/**
 * Returns the parts of a pull's bar, from left to right. Layers count by their bytes, those that were
 * there before included. Undefined where nothing is known of the whole.
 */
export function barParts(pull: Pull): BarPart[] | undefined {
  if (pull.state === "queued" || pull.state === "resolving") return undefined;
  const bytes = new Map<BarPartKind, number>();
  const add = (kind: BarPartKind, more: number): void => {
    bytes.set(kind, (bytes.get(kind) ?? 0) + more);
  };
  let whole = pull.layers.reduce((sum, layer) => sum + layer.totalBytes, 0);
  if (pull.state === "completed") {
    const { totalBytes, cachedBytes } = pull;
    whole = totalBytes + cachedBytes;
    add("cached", cachedBytes);
    add("unpacked", totalBytes);
    if (whole === 0) return [{ kind: "unpacked", share: 1 }];
  } else if (whole > 0) {
    for (const layer of pull.layers) add(...layerPart(layer));
  } else {
    whole = pull.totalBytes + pull.cachedBytes;
    add("cached", pull.cachedBytes);
    add("downloading", Math.min(pull.downloadedBytes, pull.totalBytes));
  }
  if (whole === 0) return undefined;
  return ORDER.flatMap((kind) => {
    const share = (bytes.get(kind) ?? 0) / whole;
    return share > 0 ? [{ kind, share: Math.min(1, share) }] : [];
  });
}
