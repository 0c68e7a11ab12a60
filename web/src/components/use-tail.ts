import { useCallback, useEffect, useRef, useState } from "react";
import type { StreamState } from "../api/stream";
import { Tail } from "../api/tail";
import { type BufferView, EventBuffer } from "../lib/event-buffer";
import type { EventFilter } from "../lib/event-filter";

/** A tail as it is drawn. */
interface DrawnTail {
  state: StreamState;
  view: BufferView;
  /** Holds back what comes, or shows it again. */
  setPaused: (paused: boolean) => void;
  clear: () => void;
  /** Connects again after a refusal. */
  again: () => void;
}

/**
 * Follows the events that fit a filter. What arrives between two pictures of the screen is drawn at
 * once; while the page is hidden, nothing is drawn. Another filter needs another component.
 */
export function useTail(filter: EventFilter): DrawnTail {
  const [buffer] = useState(() => new EventBuffer());
  const [state, setState] = useState<StreamState>({ kind: "connecting" });
  const [view, setView] = useState(() => buffer.view());
  const [attempt, setAttempt] = useState(0);
  const frame = useRef(0);

  const draw = useCallback((): void => {
    if (frame.current !== 0) return;
    frame.current = requestAnimationFrame(() => {
      frame.current = 0;
      setView(buffer.view());
    });
  }, [buffer]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt is another connection
  useEffect(() => {
    const tail = new Tail(filter, {
      onState: setState,
      onArrivals: (arrivals) => {
        buffer.push(arrivals);
        draw();
      },
    });
    return () => {
      tail.close();
      cancelAnimationFrame(frame.current);
      frame.current = 0;
    };
  }, [filter, buffer, draw, attempt]);

  return {
    state,
    view,
    setPaused: (paused) => {
      if (paused) buffer.pause();
      else buffer.resume();
      setView(buffer.view());
    },
    clear: () => {
      buffer.clear();
      setView(buffer.view());
    },
    again: () => setAttempt((old) => old + 1),
  };
}
