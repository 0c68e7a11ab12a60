import { formatCount } from "../lib/format";
import type { PullTotals } from "../lib/live-pulls";
import { quantity, throughputShare } from "../lib/pull-text";

/** How fast all pulls are together; the bar has a logarithmic scale. */
export function Throughput({ bytesPerSecond }: { bytesPerSecond: number }): React.JSX.Element {
  return (
    <div className="stat throughput" data-testid="throughput">
      <div className="stat-title">Total throughput</div>
      <div className="stat-value">{quantity(bytesPerSecond, "bytes-per-second")}</div>
      <div className="stat-bar" title="1 kB/s to 1 GB/s, a tenth more for each factor of four">
        <div style={{ transform: `scaleX(${throughputShare(bytesPerSecond)})` }} />
      </div>
    </div>
  );
}

interface TilesProps {
  totals: PullTotals;
  /** Whether there were more that ended. */
  more: boolean;
  /** The state that is shown. */
  state: string;
  onState: (state: string) => void;
}

const TILES: [keyof PullTotals, string, string][] = [
  ["total", "Total", ""],
  ["active", "Active", "active"],
  ["completed", "Done", "completed"],
  ["failed", "Failed", "failed"],
  ["stalled", "Stalled", "stalled"],
];

/** How many pulls there are by state; each shows those that it counts. */
export function PullTiles({ totals, more, state, onState }: TilesProps): React.JSX.Element {
  return (
    <>
      {TILES.map(([name, title, value]) => {
        const open = more && (name === "total" || name === "completed" || name === "failed");
        return (
          <button
            key={name}
            type="button"
            className="stat pull-tile"
            data-testid={`tile-${name}`}
            data-level={totals[name] > 0 ? name : "none"}
            aria-pressed={state === value}
            title={open ? "The newest are here, older ones in the history" : undefined}
            onClick={() => onState(value)}
          >
            <span className="stat-title">{title}</span>
            <span className="stat-value">
              {formatCount(totals[name])}
              {open && "+"}
            </span>
          </button>
        );
      })}
    </>
  );
}
