import { Button } from "@mantine/core";
import { useMemo, useState } from "react";
import { type Sorting, sortRows, type TableRow, tableColumns, tableRows } from "../lib/table";
import { formatDateTime } from "../lib/time";
import { queryLetter } from "../lib/url-state";
import type { Answered } from "./graph-view";

interface TableViewProps {
  answers: Answered[];
  atMs: number;
}

/** Rows that are shown before all are asked for. */
const ROWS_SHOWN = 300;

interface HeaderCellProps {
  column: string;
  name: string;
  sorting: Sorting | undefined;
  onSort: (sorting: Sorting) => void;
}

function HeaderCell({ column, name, sorting, onSort }: HeaderCellProps): React.JSX.Element {
  const active = sorting?.column === column ? sorting : undefined;
  const order = active ? (active.descending ? "descending" : "ascending") : "none";
  return (
    <th aria-sort={order} className={column === "" ? "number" : undefined}>
      <button
        type="button"
        onClick={() => onSort({ column, descending: active ? !active.descending : column === "" })}
      >
        {name}
        <span aria-hidden="true">{active ? (active.descending ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

function rowKey(row: TableRow, index: number): string {
  return `${row.letter}${index}${JSON.stringify(row.labels)}`;
}

/** The values at one instant, a column for each label. */
export function TableView({ answers, atMs }: TableViewProps): React.JSX.Element {
  const [sorting, setSorting] = useState<Sorting | undefined>(undefined);
  const [showAll, setShowAll] = useState(false);
  const rows = useMemo(
    () =>
      answers.flatMap(({ answer, index }) =>
        answer ? tableRows(answer.value, queryLetter(index)) : [],
      ),
    [answers],
  );
  const columns = useMemo(() => tableColumns(rows), [rows]);
  const sorted = useMemo(() => sortRows(rows, sorting), [rows, sorting]);
  const shown = showAll ? sorted : sorted.slice(0, ROWS_SHOWN);
  const several = answers.length > 1;
  const complete = answers.every((answered) => answered.answer !== undefined);
  return (
    <div>
      <div className="table-scroll">
        <table className="table" data-testid="table" data-rows={rows.length}>
          <caption>Values at {formatDateTime(atMs)}</caption>
          <thead>
            <tr>
              {several && <th>Query</th>}
              {columns.map((column) => (
                <HeaderCell
                  key={column}
                  column={column}
                  name={column === "__name__" ? "metric" : column}
                  sorting={sorting}
                  onSort={setSorting}
                />
              ))}
              <HeaderCell column="" name="value" sorting={sorting} onSort={setSorting} />
            </tr>
          </thead>
          <tbody>
            {shown.map((row, index) => (
              <tr key={rowKey(row, index)}>
                {several && <td>{row.letter}</td>}
                {columns.map((column) => (
                  <td key={column}>{row.labels[column] ?? ""}</td>
                ))}
                <td className="number">{row.text}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {complete && rows.length === 0 && answers.length > 0 && (
        <p className="empty table-empty">No series has a value at this time.</p>
      )}
      {sorted.length > shown.length && (
        <div className="notice" role="status">
          Showing {shown.length} of {sorted.length} rows.{" "}
          <Button size="compact-xs" variant="subtle" onClick={() => setShowAll(true)}>
            Show all
          </Button>
        </div>
      )}
    </div>
  );
}
