import { SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { eventsStatus } from "../api/events";
import type { TailEvent } from "../api/types";
import { Dialog } from "../components/dialog";
import { EventFilterForm } from "../components/event-filter-form";
import { EventView } from "../components/event-view";
import { LivePanel } from "../components/live-panel";
import { LiveTail } from "../components/live-tail";
import { navigate, useSearch } from "../components/router";
import { useSession } from "../components/session";
import { followLink } from "../components/shell";
import { decodeFilter, type EventFilter, encodeFilter, FILTER_NONE } from "../lib/event-filter";
import { eventPanels } from "../lib/event-panels";
import { formatCount } from "../lib/format";
import { may } from "../lib/session";
import { chooseStep } from "../lib/step";
import { parseDuration } from "../lib/time";
import { DEAD_LETTERS_PATH, EVENTS_PATH } from "../lib/views";

const RANGES = ["5m", "15m", "1h", "6h", "24h"];
const RANGE_DEFAULT = "15m";
/** Points per series of the rates. */
const POINTS = 240;
const STATUS_EVERY_MS = 5_000;

/** Shows another filter or range; the other one stays. */
function show(filter: EventFilter, range: string): void {
  const params = new URLSearchParams(encodeFilter(filter));
  if (range !== RANGE_DEFAULT) params.set("range", range);
  navigate(params.size > 0 ? `${EVENTS_PATH}?${params}` : EVENTS_PATH);
}

/** What of the event log somebody should know who looks at events. */
function LogNotices(): React.JSX.Element {
  const { data } = useQuery({
    queryKey: ["events-status"],
    queryFn: ({ signal }) => eventsStatus(signal),
    refetchInterval: STATUS_EVERY_MS,
  });
  const letters = data?.dead_letters.reduce((sum, depth) => sum + depth.count, 0) ?? 0;
  return (
    <>
      {data?.refusal && (
        <div className="notice error" role="alert">
          No events are taken in at present: {data.refusal}
        </div>
      )}
      {data?.connected === false && (
        <div className="notice error" role="alert">
          The server has lost the connection to the log of events.
        </div>
      )}
      {letters > 0 && (
        <a
          className="letters-link"
          href={DEAD_LETTERS_PATH}
          data-testid="letters-link"
          onClick={followLink}
        >
          {formatCount(letters)} {letters === 1 ? "dead letter" : "dead letters"}
        </a>
      )}
    </>
  );
}

function Rates({ filter, range }: { filter: EventFilter; range: string }): React.JSX.Element {
  const { app, category, type } = filter;
  const rangeMs = parseDuration(range) ?? 900_000;
  const stepMs = chooseStep(rangeMs, POINTS);
  const panels = useMemo(
    () => eventPanels(stepMs, { ...FILTER_NONE, app, category, type }),
    [stepMs, app, category, type],
  );
  return (
    <section aria-label="Rates">
      <div className="bar rates-bar">
        <h2 className="section">Rates</h2>
        <SegmentedControl
          className="bar-end"
          aria-label="Time range"
          size="xs"
          data={RANGES}
          value={range}
          onChange={(value) => show(filter, value)}
        />
      </div>
      <div className="grid">
        {panels.map((panel) => (
          <LivePanel
            key={panel.id}
            panel={panel}
            from={`now-${range}`}
            rangeMs={rangeMs}
            stepMs={stepMs}
          />
        ))}
      </div>
    </section>
  );
}

/** Events as they arrive, and how many. */
export default function Events(): React.JSX.Element {
  const { session } = useSession();
  const search = useSearch();
  const filterKey = encodeFilter(decodeFilter(search));
  const filter = useMemo(() => decodeFilter(filterKey), [filterKey]);
  const asked = new URLSearchParams(search).get("range") ?? "";
  const range = RANGES.includes(asked) ? asked : RANGE_DEFAULT;
  const [opened, setOpened] = useState<TailEvent | undefined>(undefined);
  const change = (next: EventFilter): void => {
    setOpened(undefined);
    show(next, range);
  };
  return (
    <div className="events">
      <div className="bar">
        <h1 className="title">Events</h1>
        <LogNotices />
      </div>
      <EventFilterForm key={`filter ${filterKey}`} filter={filter} onChange={change} />
      <LiveTail key={`tail ${filterKey}`} filter={filter} onOpen={setOpened} />
      {may(session, "metrics:read") && <Rates filter={filter} range={range} />}
      <Dialog
        opened={opened !== undefined}
        title="Event"
        size="xl"
        onClose={() => setOpened(undefined)}
      >
        {opened && <EventView event={opened} onFilter={(more) => change({ ...filter, ...more })} />}
      </Dialog>
    </div>
  );
}
