import { Button } from "@mantine/core";
import { useState } from "react";
import { formatCount } from "../lib/format";

/** Rows that are drawn at once. */
const ROWS_STEP = 200;

/** Returns the first rows of a list, and a button for more of them. */
export function useMoreRows<T>(rows: readonly T[]): { shown: T[]; more: React.ReactNode } {
  const [limit, setLimit] = useState(ROWS_STEP);
  const hidden = rows.length - limit;
  const more = hidden > 0 && (
    <div className="admin-more">
      <span className="subtle">
        {formatCount(limit)} of {formatCount(rows.length)}
      </span>
      <Button size="xs" variant="default" onClick={() => setLimit(limit + ROWS_STEP)}>
        {formatCount(Math.min(ROWS_STEP, hidden))} more
      </Button>
    </div>
  );
  return { shown: rows.slice(0, limit), more };
}
