/** Which rows of a long list are drawn, when most are of one height and a few are opened. */

/** A list and what of it is seen. Lengths are pixels. */
export interface SpanInput {
  count: number;
  rowHeight: number;
  /** What opened rows are higher than the others, by ascending index. */
  opened: readonly { index: number; more: number }[];
  /** How much of the list is above what is seen, and how high that is. */
  top: number;
  height: number;
  /** How much is drawn above and below what is seen. */
  margin: number;
}

/** The rows that are drawn, and the empty space in place of the others. */
export interface VisibleSpan {
  first: number;
  /** The row after the last one. */
  end: number;
  before: number;
  after: number;
}

/** Returns which rows are drawn. */
export function visibleSpan(input: SpanInput): VisibleSpan {
  const { count, rowHeight, opened, top, height, margin } = input;
  /** Returns where a row begins. */
  const startOf = (index: number): number => {
    let start = index * rowHeight;
    for (const row of opened) if (row.index < index) start += row.more;
    return start;
  };
  /** Returns the row at a height, within the list. */
  const rowAt = (place: number): number => {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (startOf(middle + 1) > place) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const first = rowAt(Math.max(0, top - margin));
  const end = Math.min(count, rowAt(Math.max(0, top + height + margin)) + 1);
  return {
    first,
    end: Math.max(first, end),
    before: startOf(first),
    after: startOf(count) - startOf(Math.max(first, end)),
  };
}
