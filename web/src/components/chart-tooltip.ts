import type uPlot from "uplot";

/** One line of the tooltip. */
export interface TooltipRow {
  name: string;
  color: string;
  value: string;
  size: number;
  nearest: boolean;
}

/** The most series a tooltip lists; the rest is counted. */
export const TOOLTIP_ROWS_MAX = 12;

/**
 * A tooltip that follows the pointer over a chart. All texts are set as text, never as markup, because
 * names and labels come from whoever sends metrics.
 */
export class ChartTooltip {
  private readonly root: HTMLDivElement;
  private readonly over: HTMLElement;

  constructor(chart: uPlot) {
    this.over = chart.over;
    this.root = document.createElement("div");
    this.root.className = "chart-tooltip";
    this.root.hidden = true;
    document.body.append(this.root);
  }

  hide(): void {
    this.root.hidden = true;
  }

  destroy(): void {
    this.root.remove();
  }

  show(title: string, rows: TooltipRow[], at: { left: number; top: number }): void {
    const shown = [...rows].sort((a, b) => b.size - a.size).slice(0, TOOLTIP_ROWS_MAX);
    const nearest = rows.find((row) => row.nearest);
    if (nearest && !shown.includes(nearest)) shown[shown.length - 1] = nearest;
    const heading = document.createElement("div");
    heading.className = "chart-tooltip-title";
    heading.textContent = title;
    const lines = shown.map((row) => this.line(row));
    if (rows.length > shown.length) {
      const more = document.createElement("div");
      more.className = "chart-tooltip-more";
      more.textContent = `and ${rows.length - shown.length} more`;
      lines.push(more);
    }
    this.root.replaceChildren(heading, ...lines);
    this.root.hidden = false;
    this.place(at);
  }

  private line(row: TooltipRow): HTMLElement {
    const line = document.createElement("div");
    line.className = row.nearest ? "chart-tooltip-row nearest" : "chart-tooltip-row";
    const mark = document.createElement("span");
    mark.className = "chart-mark";
    mark.style.background = row.color;
    const name = document.createElement("span");
    name.className = "chart-tooltip-name";
    name.textContent = row.name;
    const value = document.createElement("span");
    value.className = "chart-tooltip-value";
    value.textContent = row.value;
    line.append(mark, name, value);
    return line;
  }

  private place(at: { left: number; top: number }): void {
    const frame = this.over.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.root;
    const gap = 14;
    const pointer = frame.left + at.left;
    const right = pointer + gap + width <= window.innerWidth - 4;
    const left = right ? pointer + gap : Math.max(4, pointer - gap - width);
    const wanted = frame.top + at.top - height / 2;
    const top = Math.min(Math.max(4, wanted), Math.max(4, window.innerHeight - height - 4));
    this.root.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}
