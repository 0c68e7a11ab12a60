import { formatNumber, type Unit } from "../lib/format";

/** One entry of a legend. */
export interface LegendItem {
  key: string;
  name: string;
  color: string;
  value: number | null;
}

interface LegendProps {
  items: LegendItem[];
  unit: Unit;
  hidden: ReadonlySet<string>;
  /** Called with the series, and whether only this one should stay. */
  onToggle: (key: string, only: boolean) => void;
}

/** A compact legend: values at the pointer or the latest; a click hides a series, with Alt all others. */
export function Legend({ items, unit, hidden, onToggle }: LegendProps): React.JSX.Element {
  return (
    <div className="legend" data-unit={unit}>
      {items.map((item) => (
        <button
          type="button"
          key={item.key}
          className="legend-item"
          aria-pressed={!hidden.has(item.key)}
          title={`${item.name}: click hides, Alt+click shows only this`}
          onClick={(event) => onToggle(item.key, event.altKey || event.metaKey)}
        >
          <span className="chart-mark" style={{ background: item.color }} />
          <span className="legend-name">{item.name}</span>
          <span className="legend-value">{formatNumber(item.value, unit)}</span>
        </button>
      ))}
    </div>
  );
}

/** Returns the hidden series after a click in a legend. */
export function toggleHidden(
  hidden: ReadonlySet<string>,
  keys: string[],
  toggled: { key: string; only: boolean },
): Set<string> {
  const next = new Set(hidden);
  if (toggled.only) {
    const alone = keys.every((key) => (key === toggled.key) !== next.has(key));
    return alone ? new Set() : new Set(keys.filter((key) => key !== toggled.key));
  }
  if (!next.delete(toggled.key)) next.add(toggled.key);
  return next;
}
