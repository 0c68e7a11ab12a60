import { shortDigest, shortTag, splitImage } from "../lib/image-name";

interface ImageLabelProps {
  /** Empty where it has no name. */
  image: string;
  /** What is shown in its place. */
  digest?: string;
}

/** The name of an image in its parts; cut where there is no room, whole in its title. */
export function ImageLabel({ image, digest = "" }: ImageLabelProps): React.JSX.Element {
  if (image === "") {
    return (
      <span className="image-label" title={digest === "" ? undefined : digest}>
        <em>{digest === "" ? "Not known yet" : `Image ${shortDigest(digest)}`}</em>
      </span>
    );
  }
  const { registry, path, tag } = splitImage(image);
  return (
    <span className="image-label" title={image}>
      <span className="image-registry">{registry}</span>
      <span className="image-path">{path}</span>
      <span className="image-tag">{shortTag(tag)}</span>
    </span>
  );
}
