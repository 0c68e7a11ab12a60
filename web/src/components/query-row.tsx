import { ActionIcon, Tooltip } from "@mantine/core";
import { lazy, Suspense } from "react";
import type { QueryAnswer } from "../api/types";
import { formatCount, formatNumber } from "../lib/format";
import { queryLetter } from "../lib/url-state";
import { CloseIcon, EyeIcon, EyeOffIcon } from "./icons";
import { QueryError, QueryNotes } from "./query-error";

const QueryEditor = lazy(() => import("./query-editor"));

interface QueryRowProps {
  index: number;
  /** The text in the editor. */
  draft: string;
  /** The text that was run. */
  expr: string;
  hidden: boolean;
  removable: boolean;
  autoFocus: boolean;
  answer: QueryAnswer | undefined;
  error: Error | null;
  running: boolean;
  onChange: (draft: string) => void;
  onRun: () => void;
  onFocus: () => void;
  onHide: () => void;
  onRemove: () => void;
}

/** Returns how large an answer is, `12 series`, `1 value`. */
function describeAnswer({ value, durationMs }: QueryAnswer): string {
  const many = value.resultType === "matrix" || value.resultType === "vector";
  const count = many ? value.result.length : 1;
  const noun = many ? "series" : "value";
  return `${formatCount(count)} ${noun} · ${formatNumber(durationMs / 1_000, "seconds")}`;
}

function status(row: QueryRowProps): string {
  if (row.hidden) return "hidden";
  if (row.draft.trim() !== row.expr.trim()) return "edited, not run yet";
  if (row.error) return "";
  if (row.answer) return describeAnswer(row.answer);
  return row.running ? "running" : "";
}

/** One query of Explore: its editor, what became of it, and what to do with it. */
export function QueryRow(row: QueryRowProps): React.JSX.Element {
  const letter = queryLetter(row.index);
  const { answer, error, expr, hidden } = row;
  return (
    <div className="query" data-hidden={hidden} onFocusCapture={row.onFocus}>
      <div className="query-line">
        <span className="query-letter" aria-hidden="true">
          {letter}
        </span>
        <div className="query-editor" data-testid="query-editor">
          <Suspense fallback={<pre className="query-editor-fallback">{row.draft}</pre>}>
            <QueryEditor
              label={`PromQL query ${letter}`}
              value={row.draft}
              onChange={row.onChange}
              onRun={row.onRun}
              autoFocus={row.autoFocus}
            />
          </Suspense>
        </div>
        <span className="query-status" data-testid="query-status" data-busy={row.running}>
          {status(row)}
        </span>
        <Tooltip label={hidden ? "Show" : "Hide"}>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={`${hidden ? "Show" : "Hide"} query ${letter}`}
            aria-pressed={hidden}
            onClick={row.onHide}
          >
            {hidden ? <EyeOffIcon /> : <EyeIcon />}
          </ActionIcon>
        </Tooltip>
        <ActionIcon
          variant="subtle"
          color="gray"
          disabled={!row.removable}
          aria-label={`Remove query ${letter}`}
          onClick={row.onRemove}
        >
          <CloseIcon />
        </ActionIcon>
      </div>
      {error && !hidden && <QueryError error={error} expr={expr} />}
      {answer && !hidden && <QueryNotes warnings={answer.warnings} infos={answer.infos} />}
    </div>
  );
}
