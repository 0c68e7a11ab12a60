import { useQuery } from "@tanstack/react-query";
import { waitingPods } from "../../api/pulls";
import type { ClusterConnection, PodContainer, WaitingPod } from "../../api/types";
import { ImageLabel } from "../../components/image-label";
import { ListState } from "../../components/list-state";
import { useMoreRows } from "../../components/more-rows";
import { PullFilterForm } from "../../components/pull-filter-form";
import { followLink } from "../../components/shell";
import { usePullFilter } from "../../components/use-pull-filter";
import { When } from "../../components/when";
import { containerKind, containerLook, waitText } from "../../lib/pod-text";
import { isFilteringPulls } from "../../lib/pull-filter";
import { pullHref } from "../../lib/pull-views";

const LOOK_EVERY_MS = 2_000;

function ContainerRow({ container }: { container: PodContainer }): React.JSX.Element {
  const text = waitText(container);
  return (
    <li className="pod-container" data-testid="container">
      <span className="pod-container-name">
        <span className="subtle">{containerKind(container.kind)}</span>{" "}
        <strong>{container.container}</strong>
      </span>
      <ImageLabel image={container.image} />
      <span className="pull-state" data-look={containerLook(container)}>
        <span className="pull-dot" />
        {container.pullId ? (
          <a href={pullHref(container.pullId)} onClick={followLink}>
            {text}
          </a>
        ) : (
          <span>{text}</span>
        )}
      </span>
      {container.message !== "" && <span className="pod-message">{container.message}</span>}
    </li>
  );
}

function PodCard({ pod }: { pod: WaitingPod }): React.JSX.Element {
  return (
    <article className="pod" data-testid="pod">
      <header>
        <h3>
          <span className="subtle">{pod.namespace}/</span>
          {pod.podName}
        </h3>
        <span className="subtle">
          {[
            pod.phase,
            pod.owner ? `${pod.owner.kind} ${pod.owner.name}` : "",
            pod.node === "" ? "no node yet" : `on ${pod.node}`,
            pod.cluster,
          ]
            .filter((part) => part !== "")
            .join(" · ")}
          {pod.createdAt && (
            <>
              {" · made "}
              <When at={pod.createdAt} none="" />
            </>
          )}
        </span>
      </header>
      <ul>
        {pod.containers.map((container) => (
          <ContainerRow key={`${container.kind} ${container.container}`} container={container} />
        ))}
      </ul>
    </article>
  );
}

/** Says which clusters are not followed, and why. */
function ClusterNotices({ clusters }: { clusters: ClusterConnection[] }): React.JSX.Element {
  return (
    <>
      {clusters
        .filter(({ connection }) => connection === "degraded")
        .map(({ cluster, reason }) => (
          <div key={cluster} className="notice warning" role="alert" data-testid="cluster-degraded">
            {cluster === "" ? "Kubernetes" : `The cluster ${cluster}`} is not connected
            {reason ? `: ${reason}` : ""}. What is shown may be old.
          </div>
        ))}
    </>
  );
}

/** What each pod waits for. */
export function WaitingPodsView(): React.JSX.Element {
  const { filter, setFilter } = usePullFilter("pods");
  const query = useQuery({
    queryKey: ["waiting-pods", filter],
    queryFn: ({ signal }) => waitingPods(filter, signal),
    refetchInterval: LOOK_EVERY_MS,
    placeholderData: (previous) => previous,
  });
  const { pods = [], clusters = [] } = query.data ?? {};
  const { shown, more } = useMoreRows(pods);
  const off = query.data !== undefined && clusters.every(({ connection }) => connection === "off");
  if (off && pods.length === 0) {
    return (
      <p className="empty" data-testid="kubernetes-off">
        <strong>Kubernetes is not connected</strong>, so that it is not known which pods wait for
        which image. Pulls are seen all the same. Run the server in the cluster, or name the cluster
        under <code>pulls.kubernetes.clusters</code>; it needs the right to list and watch pods and
        events.
      </p>
    );
  }
  return (
    <>
      <ClusterNotices clusters={clusters} />
      <PullFilterForm filter={filter} states={false} onChange={setFilter} />
      <ListState
        query={query}
        count={pods.length}
        empty={
          isFilteringPulls(filter)
            ? "No pod that waits fits the filter."
            : "No pod waits for an image."
        }
      >
        <div className="pods">
          {shown.map((pod) => (
            <PodCard key={`${pod.cluster}/${pod.namespace}/${pod.podName}`} pod={pod} />
          ))}
        </div>
        {more}
      </ListState>
    </>
  );
}
