import { Button } from "@mantine/core";
import { useMemo } from "react";
import type { FeedState } from "../../api/pull-feed";
import { NoAgent } from "../../components/no-agent";
import { PullFilterForm } from "../../components/pull-filter-form";
import { PullList } from "../../components/pull-list";
import { followLink } from "../../components/shell";
import { PullTiles, Throughput } from "../../components/throughput";
import { type DrawnPulls, useLivePulls } from "../../components/use-live-pulls";
import { usePullFilter } from "../../components/use-pull-filter";
import { usePullNodes } from "../../components/use-pull-nodes";
import { totalsOf } from "../../lib/live-pulls";
import { fitsFields, fitsState, isFilteringPulls, type PullFilter } from "../../lib/pull-filter";
import { pullsHref } from "../../lib/pull-views";

const STATE_TEXT = {
  connecting: "Connecting",
  live: "Live",
  polling: "Every 2 s",
  waiting: "Offline, trying again",
  refused: "Not connected",
} as const;

function FeedStateText({ state }: { state: FeedState }): React.JSX.Element {
  return (
    <span
      className="connection"
      role="status"
      data-testid="pulls-state"
      data-state={state.kind}
      title={"reason" in state ? state.reason : undefined}
    >
      <span className="connection-dot" />
      {STATE_TEXT[state.kind]}
    </span>
  );
}

/** Says which agents are silent, or see less than they could. */
function AgentNotice(): React.JSX.Element | null {
  const { data: nodes = [] } = usePullNodes();
  const silent = nodes.filter((node) => !node.connected);
  const failing = nodes.filter((node) => node.connected && node.error !== "");
  if (silent.length + failing.length === 0) return null;
  const parts = [];
  if (silent.length > 0) parts.push(`${silent.length} of ${nodes.length} agents silent`);
  if (failing.length > 0) parts.push(`${failing.length} cannot look`);
  return (
    <a className="letters-link" href={pullsHref("nodes")} data-testid="agents" onClick={followLink}>
      {parts.join(", ")}
    </a>
  );
}

function Nothing({ filter, drawn }: { filter: PullFilter; drawn: DrawnPulls }) {
  const { data: nodes } = usePullNodes();
  if (!drawn.known || !nodes) return null;
  if (isFilteringPulls(filter)) {
    return <p className="empty">No pull fits the filter. New ones show up here.</p>;
  }
  if (nodes.length === 0) return <NoAgent />;
  return (
    <p className="empty">
      No pulls at present. {nodes.length === 1 ? "1 agent watches" : `${nodes.length} agents watch`}
      ; what they see shows up here.
    </p>
  );
}

/** The pulls of now. */
export function LivePullsView(): React.JSX.Element {
  const { filter, setFilter } = usePullFilter("live");
  const drawn = useLivePulls();
  const fitting = useMemo(
    () => drawn.pulls.filter((pull) => fitsFields(pull, filter)),
    [drawn.pulls, filter],
  );
  const totals = useMemo(() => totalsOf(fitting), [fitting]);
  const pulls = fitting.filter((pull) => fitsState(pull, filter.state));
  return (
    <>
      <div className="bar pulls-status">
        <FeedStateText state={drawn.state} />
        <AgentNotice />
      </div>
      {drawn.state.kind === "refused" && (
        <div className="notice error" role="alert">
          {drawn.state.reason}{" "}
          <Button size="compact-xs" variant="subtle" onClick={drawn.again}>
            Try again
          </Button>
        </div>
      )}
      <div className="pulls-stats">
        <Throughput bytesPerSecond={totals.bytesPerSecond} />
        <PullTiles
          totals={totals}
          more={drawn.forgotten > 0}
          state={filter.state}
          onState={(state) => setFilter({ ...filter, state })}
        />
      </div>
      <PullFilterForm filter={filter} whole={false} onChange={setFilter} />
      {pulls.length === 0 ? <Nothing filter={filter} drawn={drawn} /> : <PullList pulls={pulls} />}
    </>
  );
}
