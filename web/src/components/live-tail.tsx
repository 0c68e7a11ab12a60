import { Button } from "@mantine/core";
import type { StreamState } from "../api/stream";
import type { TailEvent } from "../api/types";
import type { BufferView } from "../lib/event-buffer";
import { type EventFilter, isFiltering } from "../lib/event-filter";
import { curlExample } from "../lib/event-text";
import { formatCount } from "../lib/format";
import { EventList } from "./event-list";
import { PauseIcon, PlayIcon } from "./icons";
import { TextView } from "./json-view";
import { useSession } from "./session";
import { useTail } from "./use-tail";

const STATE_TEXT = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Connection lost, trying again",
  refused: "Not connected",
} as const;

interface TailBarProps {
  state: StreamState;
  view: BufferView;
  onPause: () => void;
  onClear: () => void;
}

function heldText({ held, overflowed }: BufferView): string {
  const more = overflowed > 0 ? `, ${formatCount(overflowed)} older ones let go` : "";
  return `${formatCount(held)} held back${more}`;
}

function receivedText({ rows, received, gone }: BufferView): string {
  if (gone === 0) return `${formatCount(received)} received`;
  return `the newest ${formatCount(rows.length)} of ${formatCount(received)} received`;
}

function TailBar({ state, view, onPause, onClear }: TailBarProps): React.JSX.Element {
  const paused = view.paused && state.kind === "live";
  const shown = view.rows.length;
  return (
    <div className="tail-bar">
      <span
        className="connection"
        role="status"
        data-testid="tail-state"
        data-state={paused ? "paused" : state.kind}
        title={"reason" in state ? state.reason : undefined}
      >
        <span className="connection-dot" />
        {paused ? "Paused" : STATE_TEXT[state.kind]}
      </span>
      <Button
        size="compact-sm"
        variant={view.paused ? "filled" : "default"}
        data-testid="tail-pause"
        title={view.paused ? "Show what was held back" : "Hold back what comes (space bar)"}
        leftSection={view.paused ? <PlayIcon size={12} /> : <PauseIcon size={14} />}
        onClick={onPause}
      >
        {view.paused ? "Resume" : "Pause"}
      </Button>
      {view.paused && (
        <span className="tail-held" data-testid="tail-held">
          {heldText(view)}
        </span>
      )}
      <span className="subtle tail-count">{shown > 0 && receivedText(view)}</span>
      <Button
        size="compact-sm"
        variant="subtle"
        color="gray"
        disabled={shown === 0}
        onClick={onClear}
      >
        Clear
      </Button>
    </div>
  );
}

function NoEvents({ filter, state }: { filter: EventFilter; state: StreamState }) {
  const { session } = useSession();
  if (state.kind !== "live") return null;
  if (isFiltering(filter)) {
    return <p className="empty">Nothing that fits the filter yet. New events show up here.</p>;
  }
  const needsKey = session.caller?.kind !== "anonymous";
  return (
    <div className="events-none">
      <p className="empty">
        No events yet. Send one, and it shows up here
        {needsKey && (
          <>
            ; the key needs the role <code>ingest</code>
          </>
        )}
        :
      </p>
      <TextView text={curlExample(window.location.origin, needsKey)} />
    </div>
  );
}

interface LiveTailProps {
  filter: EventFilter;
  onOpen: (event: TailEvent) => void;
}

/** The tail of one filter; another filter is another tail. */
export function LiveTail({ filter, onOpen }: LiveTailProps): React.JSX.Element {
  const { state, view, setPaused, clear, again } = useTail(filter);
  const pause = (): void => setPaused(!view.paused);
  return (
    <section className="tail" aria-label="Live tail">
      <TailBar state={state} view={view} onPause={pause} onClear={clear} />
      {state.kind === "refused" && (
        <div className="notice error" role="alert">
          {state.reason}{" "}
          <Button size="compact-xs" variant="subtle" onClick={again}>
            Try again
          </Button>
        </div>
      )}
      {view.rows.length === 0 ? (
        <NoEvents filter={filter} state={state} />
      ) : (
        <EventList rows={view.rows} onOpen={onOpen} onPause={pause} />
      )}
    </section>
  );
}
