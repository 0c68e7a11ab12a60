/** The parts of an image's name, to be shown one beside the other. Nothing is decided by them. */

/** A name such as `ghcr.io/team/web:1.2` in its parts. */
export interface ImageName {
  /** With a slash at its end; empty where the name has none. */
  registry: string;
  /** The folders and the name itself. */
  path: string;
  /** `:1.2` or `@sha256:…`, both where there are both; empty where there is none. */
  tag: string;
}

/** Returns the parts of a name; joined they are the name again. */
export function splitImage(image: string): ImageName {
  const at = image.indexOf("@");
  const named = at < 0 ? image : image.slice(0, at);
  const slash = named.indexOf("/");
  const first = slash < 0 ? "" : named.slice(0, slash);
  const hasRegistry = /[.:]/.test(first) || first === "localhost";
  const registry = hasRegistry ? named.slice(0, slash + 1) : "";
  const rest = named.slice(registry.length);
  const colon = rest.lastIndexOf(":");
  const hasTag = colon > 0 && !rest.slice(colon).includes("/");
  const path = hasTag ? rest.slice(0, colon) : rest;
  return { registry, path, tag: image.slice(registry.length + path.length) };
}

/** Digits of a short digest. */
const SHORT_DIGITS = 12;

/** Returns the first digits of a digest, without its algorithm: `sha256:0123…` is `0123…`. */
export function shortDigest(digest: string): string {
  return digest.slice(digest.lastIndexOf(":") + 1).slice(0, SHORT_DIGITS);
}

/** Returns a tag as it is shown where there is little room: digests are short. */
export function shortTag(tag: string): string {
  return tag.replace(/@([^:]+):([0-9a-fA-F]+)$/, (_, algorithm: string, digits: string) => {
    return `@${algorithm}:${digits.slice(0, SHORT_DIGITS)}`;
  });
}

/** Returns what the media type of a layer means; the type itself where it is not a known one. */
export function mediaTypeText(mediaType: string): string {
  const known =
    /^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(foreign\.)?diff\.tar)(?:[.+](gzip|zstd))?(\+encrypted)?$/.exec(
      mediaType,
    );
  if (!known) return mediaType;
  const words = [known[4] ?? "tar"];
  if (known[2] || known[3]) words.push("not distributed");
  if (known[5]) words.push("encrypted");
  return words.join(", ");
}
