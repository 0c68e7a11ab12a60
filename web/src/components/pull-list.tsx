import { useMediaQuery } from "@mantine/hooks";
import { useCallback, useLayoutEffect, useRef, useState } from "react";
import { isEnded, type Pull } from "../lib/pull";
import { visibleSpan } from "../lib/visible-span";
import { PullRow } from "./pull-row";
import { useNow } from "./use-now";
import { useSpan } from "./use-span";

/** The height of a row, and of one on a small screen; pulls.css knows both as well. */
const ROW_HEIGHT = 54;
const ROW_HEIGHT_SMALL = 98;
/** How much is drawn above and below what is seen. */
const MARGIN = 600;

/** The heights of opened rows beyond that of the others, as they are drawn. */
function useHeights(rowHeight: number) {
  const heights = useRef(new Map<string, number>());
  const [, setVersion] = useState(0);
  const observer = useRef<ResizeObserver | undefined>(undefined);
  useLayoutEffect(() => {
    observer.current = new ResizeObserver((entries) => {
      let changed = false;
      for (const { target } of entries) {
        const id = (target as HTMLElement).dataset.item ?? "";
        const { height } = target.getBoundingClientRect();
        // What was taken out of the page has no height.
        if (height > 0 && heights.current.get(id) !== height) {
          heights.current.set(id, height);
          changed = true;
        }
      }
      if (changed) setVersion((old) => old + 1);
    });
    return () => observer.current?.disconnect();
  }, []);
  const measured = useCallback((element: HTMLElement | null) => {
    if (!element) return;
    observer.current?.observe(element);
    return () => observer.current?.unobserve(element);
  }, []);
  const moreOf = (id: string): number => Math.max(0, (heights.current.get(id) ?? 0) - rowHeight);
  return { measured, moreOf };
}

const COLUMNS = ["Image", "Node", "Progress", "%", "Speed", "Size", "Time"];

/** Pulls, one below the other. Only those that are seen are drawn, however many there are. */
export function PullList({ pulls }: { pulls: Pull[] }): React.JSX.Element {
  const rowHeight = useMediaQuery("(max-width: 860px)") ? ROW_HEIGHT_SMALL : ROW_HEIGHT;
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const toggle = useCallback((id: string): void => {
    setOpened((old) => {
      const next = new Set(old);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  }, []);
  const [list, span] = useSpan();
  const { measured, moreOf } = useHeights(rowHeight);
  const now = useNow();

  // What ended says how long ago that was, in minutes.
  const minute = Math.floor(now / 60_000) * 60_000;

  const openedRows: { index: number; more: number }[] = [];
  if (opened.size > 0) {
    pulls.forEach(({ id }, index) => {
      if (opened.has(id)) openedRows.push({ index, more: moreOf(id) });
    });
  }
  const { first, end, before, after } = visibleSpan({
    count: pulls.length,
    rowHeight,
    opened: openedRows,
    ...span,
    margin: MARGIN,
  });
  return (
    <div className="pulls-table" data-testid="pulls" data-rows={pulls.length}>
      <div className="pull-head" aria-hidden="true">
        {COLUMNS.map((name) => (
          <span key={name}>{name}</span>
        ))}
      </div>
      <div ref={list} style={{ paddingTop: before, paddingBottom: after }}>
        <ul className="pulls-rows" aria-label="Pulls">
          {pulls.slice(first, end).map((pull, index) => (
            <li
              key={pull.id}
              aria-setsize={pulls.length}
              aria-posinset={first + index + 1}
              data-item={pull.id}
              ref={opened.has(pull.id) ? measured : undefined}
            >
              <PullRow
                pull={pull}
                nowMs={isEnded(pull) ? minute : now}
                opened={opened.has(pull.id)}
                onToggle={toggle}
              />
            </li>
          ))}
        </ul>
      </div>
    </div>
  );
}
