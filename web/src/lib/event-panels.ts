import { type EventFilter, FILTER_NONE } from "./event-filter";
import { type Panel, rateWindow } from "./live-panels";
import { type Labels, matchers } from "./names";

/** The most lines of one chart; the busiest are drawn. */
const LINES_MAX = 12;

function panel(panel: Pick<Panel, "id" | "title" | "queries">): Panel {
  return { ...panel, unit: "per-second", stacked: false, yMin: 0 };
}

/** Returns the charts of how many events arrive, of those that a filter lets through as far as its labels are known. */
export function eventPanels(stepMs: number, filter: EventFilter = FILTER_NONE): Panel[] {
  const labels: Labels = {};
  for (const name of ["app", "category", "type"] as const) {
    if (filter[name] !== "") labels[name] = filter[name];
  }
  const scope = matchers(labels);
  const selector = `tinyobs_events_total${scope === "" ? "" : `{${scope}}`}`;
  const rate = `rate(${selector}[${rateWindow(1_000, stepMs)}])`;
  return [
    panel({
      id: "events-by-app",
      title: "Events by app",
      queries: [{ expr: `topk(${LINES_MAX}, sum by (app) (${rate}))`, name: { label: "app" } }],
    }),
    panel({
      id: "events-by-type",
      title: "Events by type",
      queries: [
        {
          expr: `topk(${LINES_MAX}, sum by (event) (label_join(${rate}, "event", " / ", "category", "type")))`,
          name: { label: "event" },
        },
      ],
    }),
  ];
}
