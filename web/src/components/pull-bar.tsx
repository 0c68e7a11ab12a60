import type { Pull } from "../lib/pull";
import { type BarPartKind, barParts } from "../lib/pull-bar";
import { lookOf, percentText, sizeText, stateText, UNKNOWN } from "../lib/pull-text";

const PART_TEXT: Record<BarPartKind, string> = {
  cached: "already present",
  unpacked: "unpacked",
  unpacking: "unpacking",
  downloaded: "downloaded",
  downloading: "downloading",
};

/** Returns what people hear of the bar. */
function spoken(pull: Pull, nowMs: number): string {
  const parts = [stateText(pull, nowMs), percentText(pull), sizeText(pull)];
  return parts.filter((part) => part !== UNKNOWN).join(", ");
}

/** How much of a pull is there, in which phase; without an end where that is not known. */
export function PullBar({ pull, nowMs }: { pull: Pull; nowMs: number }): React.JSX.Element {
  const look = lookOf(pull);
  const parts = pull.indirect && look !== "completed" ? undefined : barParts(pull);
  const known = parts !== undefined && percentText(pull) !== UNKNOWN;
  return (
    <div
      className="pull-bar"
      role="progressbar"
      aria-label="Progress"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? Math.floor(pull.percent) : undefined}
      aria-valuetext={spoken(pull, nowMs)}
      data-look={look}
      data-known={parts !== undefined}
    >
      {parts?.map(({ kind, share }) => (
        <span
          key={kind}
          className="pull-bar-part"
          data-kind={kind}
          title={PART_TEXT[kind]}
          style={{ flexBasis: `${share * 100}%` }}
        />
      ))}
    </div>
  );
}

const LEGEND: BarPartKind[] = ["cached", "unpacked", "unpacking", "downloaded", "downloading"];

/** What the colours of the bar mean, as far as they are in it. */
export function PullBarLegend({ pull }: { pull: Pull }): React.JSX.Element | null {
  const kinds = new Set(barParts(pull)?.map((part) => part.kind));
  // A failed pull has one colour, that of its state.
  if (kinds.size === 0 || pull.state === "failed") return null;
  return (
    <ul className="pull-legend" aria-label="Colours of the bar">
      {LEGEND.filter((kind) => kinds.has(kind)).map((kind) => (
        <li key={kind}>
          <span className="pull-bar-part" data-kind={kind} />
          {PART_TEXT[kind]}
        </li>
      ))}
    </ul>
  );
}
