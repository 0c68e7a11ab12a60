import { useLayoutEffect, useRef, useState } from "react";

/** What of an element is in the window, in pixels. */
interface Span {
  /** How much of it is above. */
  top: number;
  height: number;
}

/** The grain in which the place is told, so that not every pixel draws again. */
const GRAIN = 64;

/** Returns which part of an element is seen while the page is scrolled. */
export function useSpan(): [React.RefObject<HTMLDivElement | null>, Span] {
  const element = useRef<HTMLDivElement>(null);
  const [span, setSpan] = useState<Span>({ top: 0, height: 0 });
  useLayoutEffect(() => {
    const measure = (): void => {
      const above = -(element.current?.getBoundingClientRect().top ?? 0);
      const top = Math.max(0, Math.floor(above / GRAIN) * GRAIN);
      const height = window.innerHeight;
      setSpan((old) => (old.top === top && old.height === height ? old : { top, height }));
    };
    measure();
    window.addEventListener("scroll", measure, { passive: true });
    window.addEventListener("resize", measure);
    return () => {
      window.removeEventListener("scroll", measure);
      window.removeEventListener("resize", measure);
    };
  }, []);
  return [element, span];
}
