import { Button } from "@mantine/core";
import type { TailEvent } from "../api/types";
import type { EventFilter } from "../lib/event-filter";
import { arrivalDelay, eventTime, formatExact } from "../lib/event-text";
import { JsonView } from "./json-view";

interface EventViewProps {
  event: TailEvent;
  /** Shows only events of the same kind. */
  onFilter: (filter: Partial<EventFilter>) => void;
}

interface OnlyProps {
  what: string;
  filter: Partial<EventFilter>;
  onFilter: (filter: Partial<EventFilter>) => void;
}

function Only({ what, filter, onFilter }: OnlyProps): React.JSX.Element {
  return (
    <Button size="compact-xs" variant="subtle" onClick={() => onFilter(filter)}>
      Only this {what}
    </Button>
  );
}

/** One event in full. */
export function EventView({ event, onFilter }: EventViewProps): React.JSX.Element {
  const happened = eventTime(event.event);
  const delay = arrivalDelay(event);
  const { app, category, type, device } = event;
  return (
    <div className="event-view" data-testid="event-view">
      <dl className="about">
        <dt>Offset</dt>
        <dd className="mono">{event.offset}</dd>
        <dt>Happened</dt>
        <dd>{happened === undefined ? "unknown" : formatExact(happened)}</dd>
        <dt>Received</dt>
        <dd>
          {formatExact(event.received_at)}
          {delay !== "" && <span className="subtle"> · {delay}</span>}
        </dd>
        <dt>App</dt>
        <dd>
          {app} <Only what="app" filter={{ app }} onFilter={onFilter} />
        </dd>
        <dt>Type</dt>
        <dd>
          {category} / {type} <Only what="type" filter={{ category, type }} onFilter={onFilter} />
        </dd>
        <dt>Device</dt>
        <dd>
          {device} <Only what="device" filter={{ app, device }} onFilter={onFilter} />
        </dd>
      </dl>
      <JsonView value={event.event} />
    </div>
  );
}
