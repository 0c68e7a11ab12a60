import { Button, Menu, Modal, NativeSelect, SegmentedControl } from "@mantine/core";
import { keepPreviousData, useQueries } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { queryInstant, queryRange } from "../api/client";
import { serverNow } from "../api/clock";
import { CommitInput } from "../components/commit-input";
import { type Answered, GraphView } from "../components/graph-view";
import { HistoryIcon, LinkIcon, ListIcon, PlayIcon, PlusIcon } from "../components/icons";
import { MetricBrowser } from "../components/metric-browser";
import { QueryRow } from "../components/query-row";
import { navigate, useSearch } from "../components/router";
import { TableView } from "../components/table-view";
import { TimeRangePicker } from "../components/time-range";
import type { Grid } from "../lib/frame";
import { parseHistory, remember } from "../lib/history";
import { chooseStep, stepProblem } from "../lib/step";
import { fixedRange, formatDuration, parseDuration, parseTime, resolveRange } from "../lib/time";
import {
  decodeExplore,
  type ExploreQuery,
  type ExploreState,
  encodeExplore,
  QUERIES_MAX,
  REFRESH_CHOICES_S,
} from "../lib/url-state";

const HISTORY_KEY = "tinyobs-query-history";
/** Answers that are not shown any more are kept this long. */
const ANSWER_KEPT_MS = 60_000;

/** On a touch screen, a focused editor would bring up the keyboard over the page. */
const FINE_POINTER = window.matchMedia("(pointer: fine)").matches;

function loadHistory(): string[] {
  try {
    return parseHistory(localStorage.getItem(HISTORY_KEY));
  } catch {
    return [];
  }
}

function saveHistory(history: string[]): void {
  try {
    localStorage.setItem(HISTORY_KEY, JSON.stringify(history));
  } catch {
    // Without storage the history lasts as long as the page.
  }
}

function show(state: ExploreState, options: { replace: boolean } = { replace: false }): void {
  const search = encodeExplore(state);
  navigate(search === "" ? "/explore" : `/explore?${search}`, options);
}

/** Returns the grid that a view asks for at a time, or undefined where its range is empty. */
function gridOf(state: ExploreState, nowMs: number): (Grid & { automatic: boolean }) | undefined {
  const range = resolveRange(state.range, nowMs);
  if (!range) return undefined;
  const rangeMs = range.endMs - range.startMs;
  const manual = parseDuration(state.step);
  const usable = manual !== undefined && stepProblem(manual, rangeMs) === undefined;
  const stepMs = usable ? manual : chooseStep(rangeMs);
  // Points at whole steps stay where they are when the range moves.
  const startMs = Math.floor(range.startMs / stepMs) * stepMs;
  const endMs = Math.max(startMs, Math.floor(range.endMs / stepMs) * stepMs);
  return { startMs, endMs, stepMs, automatic: !usable };
}

/** Returns the time of the last run; a changed view counts as one. */
function useRunAt(search: string, refreshS: number): [number, () => void] {
  const [run, setRun] = useState(() => ({ at: serverNow(), search }));
  if (run.search !== search) setRun({ at: serverNow(), search });
  useEffect(() => {
    if (refreshS === 0) return;
    const again = (): void => {
      if (!document.hidden) setRun((old) => ({ ...old, at: serverNow() }));
    };
    const timer = window.setInterval(again, refreshS * 1_000);
    return () => window.clearInterval(timer);
  }, [refreshS]);
  return [run.at, () => setRun((old) => ({ ...old, at: serverNow() }))];
}

/** Returns the texts in the editors; they start again from the address whenever its queries change. */
function useDrafts(queries: ExploreQuery[]): [string[], (index: number, text: string) => void] {
  const exprs = queries.map((query) => query.expr);
  const key = JSON.stringify(exprs);
  const [drafts, setDrafts] = useState({ key, texts: exprs });
  if (drafts.key !== key) setDrafts({ key, texts: exprs });
  const texts = drafts.key === key ? drafts.texts : exprs;
  return [
    texts,
    (index, text) => setDrafts((old) => ({ ...old, texts: old.texts.with(index, text) })),
  ];
}

interface HistoryMenuProps {
  history: string[];
  onPick: (expr: string) => void;
}

function HistoryMenu({ history, onPick }: HistoryMenuProps): React.JSX.Element {
  return (
    <Menu position="bottom-start" shadow="md" disabled={history.length === 0}>
      <Menu.Target>
        <Button
          size="compact-sm"
          variant="subtle"
          color="gray"
          disabled={history.length === 0}
          leftSection={<HistoryIcon size={14} />}
        >
          History
        </Button>
      </Menu.Target>
      <Menu.Dropdown className="history">
        {history.map((expr) => (
          <Menu.Item key={expr} onClick={() => onPick(expr)}>
            <span className="mono history-item">{expr}</span>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** How long the button says that the link was copied. */
const COPIED_MS = 1_500;

/** Copies the address with a fixed range, so that others see the same. */
function CopyLink({ state, grid }: { state: ExploreState; grid: Grid }): React.JSX.Element {
  const [copied, setCopied] = useState(false);
  const copy = async (): Promise<void> => {
    const search = encodeExplore({ ...state, range: fixedRange(grid) });
    await navigator.clipboard.writeText(`${window.location.origin}/explore?${search}`);
    setCopied(true);
    window.setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <Button
      size="compact-sm"
      variant="subtle"
      color="gray"
      className="copy-link"
      leftSection={<LinkIcon size={14} />}
      title="Copies the address of this view with its times fixed"
      onClick={() => void copy()}
    >
      {copied ? "Copied" : "Copy link"}
    </Button>
  );
}

function refreshName(seconds: number): string {
  return seconds === 0 ? "No refresh" : `Every ${formatDuration(seconds * 1_000)}`;
}

/** Writes and runs PromQL, as a graph over a range or a table at an instant. */
export default function Explore(): React.JSX.Element {
  const search = useSearch();
  const state = useMemo(() => decodeExplore(search), [search]);
  const [runAt, runAgain] = useRunAt(search, state.refreshS);
  const [drafts, setDraft] = useDrafts(state.queries);
  const [history, setHistory] = useState(loadHistory);
  const [active, setActive] = useState(0);
  const [metricsOpen, setMetricsOpen] = useState(false);

  const grid = gridOf(state, runAt);
  const atMs = (state.at === "" ? undefined : parseTime(state.at, runAt)) ?? grid?.endMs ?? runAt;
  const table = state.tab === "table";
  const results = useQueries({
    queries: state.queries.map(({ expr, hidden }) => ({
      // The time of the run belongs to the key: a second run asks again, late samples may have come.
      queryKey: table
        ? ["instant", expr, atMs, runAt]
        : ["range", expr, grid?.startMs, grid?.endMs, grid?.stepMs, runAt],
      enabled: !hidden && expr.trim() !== "" && grid !== undefined,
      gcTime: ANSWER_KEPT_MS,
      staleTime: Number.POSITIVE_INFINITY,
      structuralSharing: false,
      placeholderData: keepPreviousData,
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        table || !grid ? queryInstant(expr, atMs, signal) : queryRange(expr, grid, signal),
    })),
  });
  const answerList = results.map((result) => (result.error ? undefined : result.data));
  const shown = state.queries.flatMap(({ expr, hidden }, index): Answered[] =>
    hidden || expr.trim() === "" ? [] : [{ index, expr, answer: answerList[index] }],
  );
  // The same answers give the same list, so that the chart is not computed again for a keystroke.
  const shownKey = shown.map(({ index, expr }) => `${index}${expr}`).join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: the list is new at each rendering, its parts are not
  const answers = useMemo(() => shown, [shownKey, ...padded(answerList)]);
  const empty = shown.length === 0;

  const run = (texts: string[] = drafts): void => {
    const queries = state.queries.map((query, index) => {
      return { ...query, expr: texts[index] ?? query.expr };
    });
    const changed = queries.some((query, index) => query.expr !== state.queries[index]?.expr);
    const next = queries.reduceRight((list, query) => remember(list, query.expr), history);
    setHistory(next);
    saveHistory(next);
    if (changed) show({ ...state, queries });
    else runAgain();
  };
  const pick = (expr: string): void => {
    setMetricsOpen(false);
    const at = Math.min(active, drafts.length - 1);
    run(drafts.with(at, expr));
  };
  const withDrafts = (): ExploreQuery[] =>
    state.queries.map((query, index) => ({ ...query, expr: drafts[index] ?? "" }));
  const rangeMs = grid ? grid.endMs - grid.startMs : 0;
  return (
    <div className="explore">
      <div className="bar">
        <h1 className="title">Explore</h1>
        <div className="bar-end bar-group">
          <TimeRangePicker range={state.range} onChange={(range) => show({ ...state, range })} />
          <NativeSelect
            size="xs"
            className="refresh"
            aria-label="Refresh"
            value={String(state.refreshS)}
            data={REFRESH_CHOICES_S.map((each) => ({
              value: String(each),
              label: refreshName(each),
            }))}
            onChange={(event) => {
              const refreshS = Number(event.currentTarget.value);
              show({ ...state, refreshS }, { replace: true });
            }}
          />
          <Button
            size="xs"
            className="run"
            data-testid="run-query"
            leftSection={<PlayIcon size={12} />}
            title="Run the queries (Ctrl+Enter)"
            onClick={() => run()}
          >
            Run
          </Button>
        </div>
      </div>
      <div className="queries">
        {state.queries.map((query, index) => (
          <QueryRow
            // biome-ignore lint/suspicious/noArrayIndexKey: a query is called by its place
            key={index}
            index={index}
            draft={drafts[index] ?? ""}
            expr={query.expr}
            hidden={query.hidden}
            removable={state.queries.length > 1}
            autoFocus={FINE_POINTER && index === state.queries.length - 1}
            answer={query.expr.trim() === "" ? undefined : answerList[index]}
            error={query.expr.trim() === "" ? null : (results[index]?.error ?? null)}
            running={results[index]?.isFetching ?? false}
            onChange={(text) => setDraft(index, text)}
            onRun={() => run()}
            onFocus={() => setActive(index)}
            onHide={() => {
              const queries = withDrafts();
              show({ ...state, queries: queries.with(index, { ...query, hidden: !query.hidden }) });
            }}
            onRemove={() => {
              setActive(0);
              show({ ...state, queries: withDrafts().toSpliced(index, 1) });
            }}
          />
        ))}
        <div className="query-actions">
          <Button
            size="compact-sm"
            variant="subtle"
            color="gray"
            disabled={state.queries.length >= QUERIES_MAX}
            leftSection={<PlusIcon size={14} />}
            onClick={() => {
              const queries = [...withDrafts(), { expr: "", hidden: false }];
              show({ ...state, queries }, { replace: true });
            }}
          >
            Add query
          </Button>
          <HistoryMenu history={history} onPick={pick} />
          <Button
            size="compact-sm"
            variant="subtle"
            color="gray"
            leftSection={<ListIcon size={14} />}
            onClick={() => setMetricsOpen(true)}
          >
            Metrics
          </Button>
          {/* Browsers offer the clipboard on encrypted and local connections only. */}
          {navigator.clipboard && grid && !empty && <CopyLink state={state} grid={grid} />}
        </div>
      </div>
      {empty ? (
        <section className="result" aria-label="Metrics">
          <h2 className="result-title">Pick a metric to start with, or write a query above</h2>
          <MetricBrowser onPick={pick} />
        </section>
      ) : (
        <section className="result" aria-label="Result">
          <div className="result-head">
            <SegmentedControl
              size="xs"
              aria-label="View"
              value={state.tab}
              data={[
                { value: "graph", label: "Graph" },
                { value: "table", label: "Table" },
              ]}
              onChange={(tab) => show({ ...state, tab: tab === "table" ? "table" : "graph" })}
            />
            {table ? (
              <CommitInput
                label="Time of the values"
                value={state.at}
                placeholder="at the end of the range"
                width={190}
                problem={(text) =>
                  parseTime(text, runAt) === undefined
                    ? "write now-5m or 2026-11-21 10:00:00"
                    : undefined
                }
                onCommit={(at) => show({ ...state, at })}
              />
            ) : (
              <>
                <Button
                  size="xs"
                  variant={state.stacked ? "light" : "default"}
                  aria-pressed={state.stacked}
                  onClick={() => show({ ...state, stacked: !state.stacked }, { replace: true })}
                >
                  Stacked
                </Button>
                <CommitInput
                  label="Step"
                  value={state.step}
                  placeholder={grid ? `step ${formatDuration(grid.stepMs)} (auto)` : "step"}
                  width={126}
                  problem={(text) => stepProblem(parseDuration(text) ?? Number.NaN, rangeMs)}
                  onCommit={(step) => show({ ...state, step })}
                />
              </>
            )}
          </div>
          {table ? (
            <TableView answers={answers} atMs={atMs} />
          ) : (
            grid && (
              <GraphView
                answers={answers}
                grid={grid}
                stacked={state.stacked}
                onZoom={(startMs, endMs) =>
                  show({ ...state, range: fixedRange({ startMs, endMs }) })
                }
              />
            )
          )}
        </section>
      )}
      <Modal
        opened={metricsOpen}
        onClose={() => setMetricsOpen(false)}
        title="Metrics"
        size="xl"
        lockScroll={false}
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <MetricBrowser onPick={pick} />
      </Modal>
    </div>
  );
}

/** Returns the list with a fixed length: the number of dependencies of a hook must not change. */
function padded<T>(list: T[]): (T | undefined)[] {
  return Array.from({ length: QUERIES_MAX }, (_, index) => list[index]);
}
