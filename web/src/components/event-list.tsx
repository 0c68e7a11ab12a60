import { memo, useCallback, useLayoutEffect, useRef, useState } from "react";
import type { TailEvent } from "../api/types";
import { seriesColor, type Theme } from "../lib/colors";
import type { TailRow } from "../lib/event-buffer";
import { CATEGORIES } from "../lib/event-filter";
import { formatClock, formatExact, gapText, summary } from "../lib/event-text";
import { useTheme } from "./use-theme";

/** The height of a row; events.css knows it as well. */
const ROW_HEIGHT = 28;
/** Rows that are drawn above and below what is seen. */
const MORE_ROWS = 8;

interface RowProps {
  row: TailRow;
  top: number;
  active: boolean;
  theme: Theme;
  onOpen: (row: TailRow) => void;
}

function rowId(key: number): string {
  return `event-${key}`;
}

function categoryColor(category: string, theme: Theme): string {
  return seriesColor(Math.max(0, CATEGORIES.indexOf(category)), theme);
}

function EventCells({ event, theme }: { event: TailEvent; theme: Theme }): React.JSX.Element {
  return (
    <>
      <span className="event-time" title={formatExact(event.received_at)}>
        {formatClock(event.received_at)}
      </span>
      <span className="event-app" title={event.app}>
        {event.app}
      </span>
      <span className="event-type" title={`${event.category} / ${event.type}`}>
        <span className="event-mark" style={{ background: categoryColor(event.category, theme) }} />
        <span className="event-category">{event.category} / </span>
        {event.type}
      </span>
      <span className="event-device" title={event.device}>
        {event.device}
      </span>
      <span className="event-summary">{summary(event.event)}</span>
    </>
  );
}

const Row = memo(function Row({ row, top, active, theme, onOpen }: RowProps): React.JSX.Element {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the list has the focus and names the active row
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list takes the keys
    <div
      id={rowId(row.key)}
      role="option"
      aria-selected={active}
      className={row.kind === "event" ? "event-row" : "event-row event-gap"}
      data-testid={row.kind === "event" ? "event" : "gap"}
      style={{ transform: `translateY(${top}px)` }}
      onClick={() => onOpen(row)}
    >
      {row.kind === "event" ? (
        <EventCells event={row.event} theme={theme} />
      ) : (
        <span>{gapText(row.cause, row.count)}</span>
      )}
    </div>
  );
});

interface EventListProps {
  /** The newest last; it is drawn first. */
  rows: TailRow[];
  onOpen: (event: TailEvent) => void;
  /** Called with the space bar. */
  onPause: () => void;
}

/** The part of the list that is seen. */
interface Span {
  top: number;
  height: number;
}

/** Returns the scrolled box and what of it is seen; what is read stays while rows come in above it. */
function useSpan(rows: TailRow[]): [React.RefObject<HTMLDivElement | null>, Span] {
  const box = useRef<HTMLDivElement>(null);
  const newest = useRef<number | undefined>(undefined);
  const [span, setSpan] = useState<Span>({ top: 0, height: 0 });
  const measure = useCallback((): void => {
    const { scrollTop: top = 0, clientHeight: height = 0 } = box.current ?? {};
    setSpan((old) => (old.top === top && old.height === height ? old : { top, height }));
  }, []);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [measure]);
  useLayoutEffect(() => {
    const before = newest.current;
    newest.current = rows.at(-1)?.key;
    const element = box.current;
    if (!element || element.scrollTop === 0 || before === newest.current) return;
    const place = rows.findLastIndex((row) => row.key === before);
    element.scrollTop = place < 0 ? 0 : element.scrollTop + (rows.length - 1 - place) * ROW_HEIGHT;
    // The browser tells of the new place only after the picture is drawn.
    measure();
  }, [rows, measure]);
  return [box, span];
}

/** Returns which row a key moves to, as a place from the newest; undefined for other keys. */
function moved(key: string, from: number, count: number, page: number): number | undefined {
  const target = {
    ArrowDown: from + 1,
    ArrowUp: Math.max(0, from - 1),
    PageDown: Math.max(0, from) + page,
    PageUp: from - page,
    Home: 0,
    End: count - 1,
  }[key];
  return target === undefined ? undefined : Math.max(0, Math.min(count - 1, target));
}

/** The rows of a tail, the newest on top. Only those that are seen are drawn. */
export function EventList({ rows, onOpen, onPause }: EventListProps): React.JSX.Element {
  const theme = useTheme();
  const [box, span] = useSpan(rows);
  const [activeKey, setActiveKey] = useState<number | undefined>(undefined);
  const latest = useRef({ onOpen });
  latest.current = { onOpen };
  const open = useRef((row: TailRow): void => {
    setActiveKey(row.key);
    if (row.kind === "event") latest.current.onOpen(row.event);
  });

  const count = rows.length;
  const at = (place: number): TailRow | undefined => rows[count - 1 - place];
  const active = count - 1 - rows.findLastIndex((row) => row.key === activeKey);
  const activePlace = active < count ? active : -1;
  const first = Math.max(0, Math.floor(span.top / ROW_HEIGHT) - MORE_ROWS);
  const last = Math.min(count, Math.ceil((span.top + span.height) / ROW_HEIGHT) + MORE_ROWS);
  const places = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
  const drawn = activePlace >= first && activePlace < last;

  const reveal = (place: number): void => {
    const element = box.current;
    if (!element) return;
    const top = place * ROW_HEIGHT;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW_HEIGHT > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + ROW_HEIGHT - element.clientHeight;
    }
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(span.height / ROW_HEIGHT) - 1);
    const target = count === 0 ? undefined : moved(event.key, activePlace, count, page);
    if (event.key === " ") onPause();
    else if (event.key === "Enter") {
      const row = at(activePlace);
      if (row) open.current(row);
    } else if (target !== undefined) {
      setActiveKey(at(target)?.key);
      reveal(target);
    } else return;
    event.preventDefault();
  };
  return (
    <div className="events-table">
      <div className="event-head" aria-hidden="true">
        <span className="event-time">Received</span>
        <span className="event-app">App</span>
        <span className="event-type">Type</span>
        <span className="event-device">Device</span>
        <span className="event-summary">Content</span>
      </div>
      <div
        ref={box}
        className="events-box"
        role="listbox"
        tabIndex={0}
        style={{ height: count * ROW_HEIGHT }}
        aria-label="Events, the newest first"
        aria-activedescendant={drawn && activeKey !== undefined ? rowId(activeKey) : undefined}
        data-testid="events"
        data-rows={count}
        onKeyDown={onKeyDown}
      >
        <div className="events-space" style={{ height: count * ROW_HEIGHT }}>
          {places.map((place) => {
            const row = at(place);
            return row ? (
              <Row
                key={row.key}
                row={row}
                top={place * ROW_HEIGHT}
                active={row.key === activeKey}
                theme={theme}
                onOpen={open.current}
              />
            ) : null;
          })}
        </div>
      </div>
    </div>
  );
}
