import { agentExample } from "../lib/pull-text";
import { TextView } from "./json-view";
import { useSession } from "./session";

/** What is said where no agent has ever reported. */
export function NoAgent(): React.JSX.Element {
  const { session } = useSession();
  const needsKey = session.caller?.kind !== "anonymous";
  return (
    <div className="events-none" data-testid="no-agent">
      <p className="empty">
        <strong>No agent has reported yet.</strong> Image pulls are seen by an agent on each node.
        Start one where containerd runs, as root, and its pulls show up here
        {needsKey && (
          <>
            ; the key needs the role <code>agent</code>
          </>
        )}
        :
      </p>
      <TextView text={agentExample(window.location.origin, needsKey)} />
      <p className="empty">In a Kubernetes cluster, the Helm chart starts one on every node.</p>
    </div>
  );
}
