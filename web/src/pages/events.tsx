import { Button, NativeSelect, SegmentedControl, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { eventsStatus } from "../api/events";
import type { TailState } from "../api/tail";
import type { TailEvent } from "../api/types";
import { Dialog } from "../components/dialog";
import { EventList } from "../components/event-list";
import { EventView } from "../components/event-view";
import { PauseIcon, PlayIcon } from "../components/icons";
import { TextView } from "../components/json-view";
import { LivePanel } from "../components/live-panel";
import { navigate, useSearch } from "../components/router";
import { useSession } from "../components/session";
import { followLink } from "../components/shell";
import { useTail } from "../components/use-tail";
import type { BufferView } from "../lib/event-buffer";
import {
  CATEGORIES,
  decodeFilter,
  type EventFilter,
  encodeFilter,
  FILTER_FIELDS,
  FILTER_NONE,
  isFiltering,
  TAIL_STARTS,
} from "../lib/event-filter";
import { eventPanels } from "../lib/event-panels";
import { curlExample } from "../lib/event-text";
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

interface FilterProps {
  filter: EventFilter;
  onChange: (filter: EventFilter) => void;
}

/** The fields of the filter; they start again from the address whenever it changes. */
function Filter({ filter, onChange }: FilterProps): React.JSX.Element {
  const [draft, setDraft] = useState(filter);
  const [unfolded, setUnfolded] = useState(false);
  const field = (name: keyof EventFilter, label: string, placeholder: string) => (
    <TextInput
      size="xs"
      className={`filter-${name}`}
      label={label}
      placeholder={placeholder}
      autoComplete="off"
      spellCheck={false}
      value={draft[name]}
      onChange={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
    />
  );
  const choice = (name: "category" | "from", label: string, data: typeof TAIL_STARTS) => (
    <NativeSelect
      size="xs"
      label={label}
      data={data}
      value={draft[name]}
      onChange={(event) => {
        const next = { ...draft, [name]: event.currentTarget.value };
        setDraft(next);
        onChange(next);
      }}
    />
  );
  const categories = [
    { value: "", label: "any" },
    ...CATEGORIES.map((value) => ({ value, label: value })),
  ];
  if (!CATEGORIES.includes(draft.category) && draft.category !== "") {
    categories.push({ value: draft.category, label: draft.category });
  }
  const used = FILTER_FIELDS.filter((name) => filter[name] !== "").length;
  return (
    <>
      <Button
        className="filter-fold"
        size="compact-sm"
        variant="default"
        aria-expanded={unfolded}
        onClick={() => setUnfolded(!unfolded)}
      >
        {used === 0 ? "Filter" : `Filter: ${used} in use`}
      </Button>
      <form
        className="events-filter"
        aria-label="Filter"
        data-unfolded={unfolded}
        onSubmit={(event) => {
          event.preventDefault();
          onChange(draft);
        }}
      >
        {field("app", "App", "any, or several: a,b")}
        {choice("category", "Category", categories)}
        {field("type", "Type", "such as view")}
        {field("device", "Device", "any, or several: a,b")}
        {field("path", "JSONPath", "such as $[?@.screenName=='Home']")}
        {choice("from", "Beginning with", TAIL_STARTS)}
        <div className="events-filter-buttons">
          <Button type="submit" size="xs">
            Filter
          </Button>
          {isFiltering(filter) && (
            <Button
              size="xs"
              variant="default"
              onClick={() => onChange({ ...FILTER_NONE, from: filter.from })}
            >
              Show all
            </Button>
          )}
        </div>
      </form>
    </>
  );
}

const STATE_TEXT = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Connection lost, trying again",
  refused: "Not connected",
} as const;

interface TailBarProps {
  state: TailState;
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

function NoEvents({ filter, state }: { filter: EventFilter; state: TailState }) {
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
function LiveTail({ filter, onOpen }: LiveTailProps): React.JSX.Element {
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
      <Filter key={`filter ${filterKey}`} filter={filter} onChange={change} />
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
