import { mediaTypeText, shortDigest } from "../lib/image-name";
import { isEnded, type Layer, type Pull, type PullPod } from "../lib/pull";
import { PULL_FILTER_NONE } from "../lib/pull-filter";
import {
  confidenceText,
  failureSource,
  lasting,
  layerSizeText,
  phaseText,
  quantity,
} from "../lib/pull-text";
import { pullHref, pullsHref } from "../lib/pull-views";
import { formatDateTime } from "../lib/time";
import { CopyButton } from "./copy-button";
import { PullBarLegend } from "./pull-bar";
import { followLink } from "./shell";

function Failure({ pull }: { pull: Pull }): React.JSX.Element | null {
  const { failure } = pull;
  if (!failure) return null;
  const failed = pull.state === "failed";
  return (
    <div className={failed ? "notice error" : "notice warning"} data-testid="pull-failure">
      <strong>
        {failed ? "Failed" : "The attempt before failed"}
        {failure.reason !== "" && `: ${failure.reason}`}
      </strong>
      {failure.message !== "" && <div className="pull-message">{failure.message}</div>}
      {failure.source !== "" && <div className="subtle">{failureSource(failure)}</div>}
    </div>
  );
}

function Digest({ digest }: { digest: string }): React.JSX.Element {
  return (
    <span className="pull-digest">
      <span className="mono" title={digest}>
        {shortDigest(digest)}
      </span>
      <CopyButton text={digest} />
    </span>
  );
}

function Facts({ pull }: { pull: Pull }): React.JSX.Element {
  const { queuedAt, startedAt, endedAt } = pull;
  const waited = queuedAt === undefined ? undefined : (startedAt - queuedAt) / 1_000;
  return (
    <dl className="about pull-facts">
      <dt>Name</dt>
      <dd>
        {pull.image !== "" && <div className="mono">{pull.image}</div>}
        <div className="subtle" data-testid="pull-confidence">
          {confidenceText(pull.confidence)}
        </div>
        {pull.candidates.length > 0 && (
          <div>
            It may be <span className="mono">{pull.candidates.join(", ")}</span>
          </div>
        )}
      </dd>
      {pull.digest !== "" && (
        <>
          <dt>Digest</dt>
          <dd>
            <Digest digest={pull.digest} />
          </dd>
        </>
      )}
      <dt>Began</dt>
      <dd>
        {startedAt === 0 ? "not known" : formatDateTime(startedAt)}
        {waited !== undefined && waited >= 1 && (
          <span className="subtle"> after {lasting(waited)} in the queue</span>
        )}
      </dd>
      {endedAt !== undefined && (
        <>
          <dt>Ended</dt>
          <dd>{formatDateTime(endedAt)}</dd>
        </>
      )}
      <dt>Over the network</dt>
      <dd>
        {pull.indirect
          ? "not seen: a snapshotter fetches the layers itself"
          : quantity(pull.transferredBytes, "bytes")}
        {pull.cachedBytes > 0 && (
          <span className="subtle"> · {quantity(pull.cachedBytes, "bytes")} already present</span>
        )}
      </dd>
      <dt>Attempt</dt>
      <dd>{pull.attempt}</dd>
    </dl>
  );
}

const KIND_TEXT: Record<string, string> = {
  init: "init container",
  ephemeral: "ephemeral container",
  volume: "image volume",
};

function Pods({ pods, ended }: { pods: PullPod[]; ended: boolean }): React.JSX.Element {
  if (pods.length === 0) {
    return (
      <p className="subtle">
        {ended ? "No pod waited for it." : "No pod is known to wait for it."}
      </p>
    );
  }
  return (
    <ul className="pull-pods">
      {pods.map((pod) => (
        <li key={`${pod.namespace} ${pod.name} ${pod.container}`} data-testid="pull-pod">
          <a
            href={pullsHref("pods", {
              ...PULL_FILTER_NONE,
              namespace: pod.namespace,
              pod: pod.name,
            })}
            onClick={followLink}
          >
            {pod.namespace}/{pod.name}
          </a>
          <span>
            {KIND_TEXT[pod.kind] ?? "container"} <strong>{pod.container}</strong>
          </span>
          {pod.owner !== "" && <span className="subtle">of {pod.owner}</span>}
          {pod.image !== "" && <span className="subtle mono">{pod.image}</span>}
        </li>
      ))}
    </ul>
  );
}

function LayerRow({ layer, place }: { layer: Layer; place: number }): React.JSX.Element {
  const { phase, totalBytes, downloadedBytes } = layer;
  const there = ["cached", "done", "unpacking", "downloaded", "committing"].includes(phase);
  const share = there ? 1 : totalBytes > 0 ? Math.min(1, downloadedBytes / totalBytes) : 0;
  return (
    <li className="layer" data-testid="layer" data-phase={phase}>
      <span className="layer-place">{place}</span>
      <Digest digest={layer.digest} />
      <span className="layer-type" title={layer.mediaType}>
        {mediaTypeText(layer.mediaType)}
      </span>
      <span className="layer-bar">
        <span style={{ transform: `scaleX(${share})` }} />
      </span>
      <span className="layer-phase">
        {phaseText(phase)}
        {layer.resumedBytes > 0 && (
          <span className="subtle"> · resumed at {quantity(layer.resumedBytes, "bytes")}</span>
        )}
      </span>
      <span className="layer-size">{layerSizeText(layer)}</span>
      <span className="layer-speed">
        {phase === "downloading" && quantity(layer.bytesPerSecond, "bytes-per-second")}
      </span>
    </li>
  );
}

function layersText(pull: Pull): string {
  const { layers, layersDone, layersCached } = pull;
  const count = Math.max(pull.layerCount, layers.length);
  const cached = layersCached > 0 ? `, ${layersCached} already present` : "";
  return `Layers: ${Math.min(layersDone, count)} of ${count} there${cached}`;
}

/** Everything that is known of a pull. */
export function PullDetails({ pull }: { pull: Pull }): React.JSX.Element {
  return (
    <div className="pull-details" data-testid="pull-details">
      <Failure pull={pull} />
      <div className="pull-columns">
        <section aria-label="Facts">
          <Facts pull={pull} />
          <a href={pullHref(pull.id)} data-testid="pull-link" onClick={followLink}>
            Link to this pull
          </a>
        </section>
        <section aria-label="Pods">
          <h3 className="section">{isEnded(pull) ? "Waited for it" : "Wait for it"}</h3>
          <Pods pods={pull.pods} ended={isEnded(pull)} />
        </section>
      </div>
      <section aria-label="Layers">
        <div className="pull-layers-head">
          <h3 className="section">
            {pull.layers.length === 0 ? "Layers: not known yet" : layersText(pull)}
          </h3>
          <PullBarLegend pull={pull} />
        </div>
        <ol className="layers">
          {pull.layers.map((layer, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: an image can have the same layer twice
            <LayerRow key={index} layer={layer} place={index + 1} />
          ))}
        </ol>
      </section>
    </div>
  );
}
