import type { PullNode } from "../../api/types";
import { ListState } from "../../components/list-state";
import { useMoreRows } from "../../components/more-rows";
import { NoAgent } from "../../components/no-agent";
import { PullFilterForm } from "../../components/pull-filter-form";
import { followLink } from "../../components/shell";
import { usePullFilter } from "../../components/use-pull-filter";
import { usePullNodes } from "../../components/use-pull-nodes";
import { When } from "../../components/when";
import { fitsNode, PULL_FILTER_NONE } from "../../lib/pull-filter";
import { compareNodes, lasting, nodeState, quantity, sourceText } from "../../lib/pull-text";
import { pullsHref } from "../../lib/pull-views";
import { formatDateTime } from "../../lib/time";

/** Differences of clocks below this are not worth a word, in seconds. */
const SKEW_MIN_S = 2;

function offlineSince({ lastSeen }: PullNode): string {
  const ms = Date.parse(lastSeen ?? "");
  return Number.isNaN(ms) ? "the server started" : formatDateTime(ms);
}

function Row({ node }: { node: PullNode }): React.JSX.Element {
  const state = nodeState(node);
  const skew = node.clockSkewSeconds ?? 0;
  return (
    <tr data-testid="node" data-state={state}>
      <th scope="row">
        <a
          href={pullsHref("live", { ...PULL_FILTER_NONE, node: node.node, cluster: node.cluster })}
          onClick={followLink}
        >
          {node.node}
        </a>
        {node.cluster !== "" && <span className="cell-note">{node.cluster}</span>}
      </th>
      <td className="cell-wide">
        <span className="pull-state" data-look={state}>
          <span className="pull-dot" />
          {state === "silent" ? (
            <span>Agent offline since {offlineSince(node)}</span>
          ) : (
            <span>{state === "failing" ? "Cannot look" : "Watches"}</span>
          )}
        </span>
        {node.error !== "" && <span className="cell-note alarm">{node.error}</span>}
        {Math.abs(skew) >= SKEW_MIN_S && (
          <span className="cell-note">
            Its clock is {lasting(Math.abs(skew))} {skew > 0 ? "ahead" : "behind"}
          </span>
        )}
      </td>
      <td className="nowrap">
        <When at={node.lastSeen} none="never" />
      </td>
      <td className="number">{node.active}</td>
      <td className="number">
        {node.active > 0 ? quantity(node.bytesPerSec, "bytes-per-second") : "–"}
      </td>
      <td>
        {node.runtime || "not known"}
        {node.source !== "" && <span className="cell-note">{sourceText(node.source)}</span>}
      </td>
      <td className="nowrap">{node.agentVersion || "Pulltrace"}</td>
    </tr>
  );
}

/** The nodes, and how their agents are. */
export function PullNodes(): React.JSX.Element {
  const query = usePullNodes();
  const { filter, setFilter } = usePullFilter("nodes");
  const nodes = (query.data ?? []).filter((node) => fitsNode(node, filter)).sort(compareNodes);
  const { shown, more } = useMoreRows(nodes);
  if (query.data?.length === 0) return <NoAgent />;
  return (
    <>
      <PullFilterForm
        filter={filter}
        fields={["node", "cluster"]}
        whole={false}
        states={false}
        onChange={setFilter}
      />
      <ListState query={query} count={nodes.length} empty="No node fits the filter.">
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Node</th>
                <th scope="col">Agent</th>
                <th scope="col">Last seen</th>
                <th scope="col" className="number">
                  Active
                </th>
                <th scope="col" className="number">
                  Speed
                </th>
                <th scope="col">Runtime</th>
                <th scope="col">Version</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((node) => (
                <Row key={`${node.cluster}/${node.node}`} node={node} />
              ))}
            </tbody>
          </table>
        </div>
        {more}
      </ListState>
    </>
  );
}
