import { type EventFilter, FILTER_NONE } from "./event-filter";
import { type Panel, rateWindow } from "./live-panels";
import { matchers } from "./names";

/** How often the server stores how many events there were, in milliseconds. */
const SERIES_EVERY_MS = 5_000;
/** The most lines of one chart; the busiest are drawn. */
const LINES_MAX = 12;

function panel(panel: Pick<Panel, "id" | "title" | "queries">): Panel {
  return { ...panel, unit: "per-second", stacked: false, yMin: 0 };
}

/** Returns the matcher of one field of the filter, which may name several values with commas. */
function matcher(name: string, text: string): string {
  const values = text.split(",").filter((value) => value !== "");
  const [only] = values;
  if (only === undefined) return "";
  if (values.length === 1) return matchers({ [name]: only });
  const pattern = values.map((value) => value.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|");
  return matchers({ [name]: pattern }).replace("=", "=~");
}

/** Returns the charts of how many events arrive that fit the app, category and type of a filter. */
export function eventPanels(stepMs: number, filter: EventFilter = FILTER_NONE): Panel[] {
  const parts = (["app", "category", "type"] as const)
    .map((name) => matcher(name, filter[name]))
    .filter((part) => part !== "");
  const selector = `tinyobs_events_total${parts.length === 0 ? "" : `{${parts.join(",")}}`}`;
  const rate = `rate(${selector}[${rateWindow(SERIES_EVERY_MS, stepMs)}])`;
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
