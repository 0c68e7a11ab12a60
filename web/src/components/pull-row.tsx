import { memo } from "react";
import type { Pull } from "../lib/pull";
import {
  confidenceNote,
  failureText,
  lookOf,
  percentText,
  sizeText,
  speedText,
  stateText,
  timeText,
} from "../lib/pull-text";
import { formatDateTime, formatDistance } from "../lib/time";
import { DownIcon } from "./icons";
import { ImageLabel } from "./image-label";
import { PullBar } from "./pull-bar";
import { PullDetails } from "./pull-details";

interface PullRowProps {
  pull: Pull;
  /** The present time; the minute is enough for a pull that ended. */
  nowMs: number;
  opened: boolean;
  onToggle: (id: string) => void;
}

/** What is said beside the state. */
function notes(pull: Pull): string {
  const parts = [confidenceNote(pull.confidence)];
  if (pull.attempt > 1) parts.push(`attempt ${pull.attempt}`);
  const cached = pull.layersCached > 0 && pull.layersCached < pull.layerCount;
  if (cached) parts.push(`${pull.layersCached} of ${pull.layerCount} layers already present`);
  return parts.filter((part) => part !== "").join(" · ");
}

/** One pull: its row, and what is known of it where it is opened. */
export const PullRow = memo(function PullRow(props: PullRowProps): React.JSX.Element {
  const { pull, nowMs, opened, onToggle } = props;
  const detailsId = `pull-${pull.id}`;
  const more = notes(pull);
  const look = lookOf(pull);
  return (
    <div className="pull" data-testid="pull" data-pull={pull.id} data-look={look}>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the button in the row takes the keys */}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the whole row helps the mouse only */}
      <div className="pull-row" onClick={() => onToggle(pull.id)}>
        <div className="pull-image">
          <button
            type="button"
            className="pull-open"
            aria-expanded={opened}
            aria-controls={opened ? detailsId : undefined}
            onClick={(event) => {
              event.stopPropagation();
              onToggle(pull.id);
            }}
          >
            <ImageLabel image={pull.image} digest={pull.digest} />
          </button>
          <span className="pull-note">
            <span
              className="pull-state"
              data-look={look}
              title={pull.failure && failureText(pull.failure)}
            >
              <span className="pull-dot" />
              {stateText(pull, nowMs)}
            </span>
            {more !== "" && <span className="pull-more">· {more}</span>}
          </span>
        </div>
        <div className="pull-node" title={pull.node}>
          {pull.node}
          {pull.cluster !== "" && <span className="cell-note">{pull.cluster}</span>}
        </div>
        <div className="pull-progress">
          <PullBar pull={pull} nowMs={nowMs} />
        </div>
        <div className="pull-percent">{percentText(pull)}</div>
        <div className="pull-speed">{speedText(pull)}</div>
        <div className="pull-size">{sizeText(pull)}</div>
        <div className="pull-time">
          {timeText(pull, nowMs)}
          {pull.endedAt !== undefined && (
            <time
              className="cell-note"
              dateTime={new Date(pull.endedAt).toISOString()}
              title={formatDateTime(pull.endedAt)}
            >
              {formatDistance(pull.endedAt, nowMs)}
            </time>
          )}
        </div>
        <div className="pull-chevron" data-opened={opened}>
          <DownIcon size={14} />
        </div>
      </div>
      {opened && (
        <div id={detailsId}>
          <PullDetails pull={pull} />
        </div>
      )}
    </div>
  );
});
