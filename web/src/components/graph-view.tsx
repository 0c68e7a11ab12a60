import { Button } from "@mantine/core";
import { useMemo, useState } from "react";
import type { QueryAnswer } from "../api/types";
import { seriesColor } from "../lib/colors";
import { guessUnit } from "../lib/format";
import { type Frame, type Grid, lastValue, toFrame } from "../lib/frame";
import { seriesName } from "../lib/names";
import { queryLetter } from "../lib/url-state";
import { Chart } from "./chart";
import type { ChartLook, Line } from "./chart-options";
import { Legend, toggleHidden } from "./legend";
import { useTheme } from "./use-theme";

/** The answer of one query of Explore. */
export interface Answered {
  index: number;
  expr: string;
  answer: QueryAnswer | undefined;
}

interface GraphViewProps {
  answers: Answered[];
  grid: Grid;
  stacked: boolean;
  onZoom: (startMs: number, endMs: number) => void;
}

/** The most series drawn unless all are asked for: more makes the page slow and the chart unreadable. */
const SERIES_DRAWN_MAX = 150;
const HEIGHT = 340;
/** A legend looks further back for a value than a live one: a range may end after its data. */
const LAST_VALUE_POINTS = 10_000;

function frameOf({ answer }: Answered, grid: Grid): Frame {
  return toFrame(answer?.value.resultType === "matrix" ? answer.value.result : [], grid);
}

/** All series of the shown queries in one chart, with their legend. */
export function GraphView({ answers, grid, stacked, onZoom }: GraphViewProps): React.JSX.Element {
  const theme = useTheme();
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);
  const [showAll, setShowAll] = useState(false);

  const { startMs, endMs, stepMs } = grid;
  const { lines: all, times } = useMemo(() => {
    const onGrid = { startMs, endMs, stepMs };
    const frames = answers.map((answered) => ({ answered, frame: frameOf(answered, onGrid) }));
    const several = answers.length > 1;
    const found = frames.flatMap(({ answered, frame }) =>
      frame.series.map((series) => {
        const letter = queryLetter(answered.index);
        const plain = seriesName(series.labels);
        const name = plain === "{}" ? answered.expr : plain;
        return {
          key: `${letter}:${series.key}`,
          name: several ? `${letter}: ${name}` : name,
          values: series.values,
        };
      }),
    );
    const lines = found.map((line, index): Line => {
      return { ...line, color: seriesColor(index, theme) };
    });
    return { lines, times: frames[0]?.frame.times ?? [] };
  }, [answers, startMs, endMs, stepMs, theme]);

  const drawn = showAll ? all : all.slice(0, SERIES_DRAWN_MAX);
  const lines = useMemo(() => drawn.filter((line) => !hidden.has(line.key)), [drawn, hidden]);
  const units = new Set(answers.map((answered) => guessUnit(answered.expr)));
  const unit = units.size === 1 ? ([...units][0] ?? "short") : "short";
  const look: ChartLook = { theme, unit, stacked, filled: all.length === 1, zoomable: true };
  const items = drawn.map((line) => ({
    ...line,
    value:
      cursor === null ? lastValue(line.values, LAST_VALUE_POINTS) : (line.values[cursor] ?? null),
  }));
  const keys = drawn.map((line) => line.key);
  const answeredAll = answers.every((answered) => answered.answer !== undefined);
  return (
    <div className="graph">
      <div className="panel-chart">
        <Chart
          label="Query results"
          times={times}
          lines={lines}
          look={look}
          window={{ min: startMs / 1_000, max: endMs / 1_000 }}
          height={HEIGHT}
          onCursor={setCursor}
          onZoom={onZoom}
        />
        {answeredAll && answers.length > 0 && all.length === 0 && (
          <div className="panel-message">
            No data in this range. Try a longer one, or look for the metric under Metrics.
          </div>
        )}
      </div>
      {all.length > drawn.length && (
        <div className="notice warning" role="status">
          Drawing {drawn.length} of {all.length} series.{" "}
          <Button size="compact-xs" variant="subtle" onClick={() => setShowAll(true)}>
            Draw all
          </Button>
        </div>
      )}
      <Legend
        items={items}
        unit={unit}
        hidden={hidden}
        onToggle={(key, only) => setHidden((old) => toggleHidden(old, keys, { key, only }))}
      />
    </div>
  );
}
