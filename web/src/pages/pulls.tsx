import { followLink } from "../components/shell";
import { PULL_VIEWS, type PullViewId, pullsHref, pullsPlace } from "../lib/pull-views";
import { PullHistory } from "./pulls/history";
import { PulledImages } from "./pulls/images";
import { LivePullsView } from "./pulls/live";
import { PullNodes } from "./pulls/nodes";
import { OnePull } from "./pulls/one";
import { WaitingPodsView } from "./pulls/pods";

const VIEWS: Record<PullViewId, () => React.JSX.Element> = {
  live: LivePullsView,
  history: PullHistory,
  images: PulledImages,
  nodes: PullNodes,
  pods: WaitingPodsView,
};

/** Image pulls: those of now, those of before, and what they mean to images, nodes and pods. */
export default function Pulls({ path }: { path: string }): React.JSX.Element {
  const place = pullsPlace(path);
  const view = "view" in place ? place.view : undefined;
  const View = view && VIEWS[view];
  return (
    <div className="pulls-view">
      <div className="bar">
        <h1 className="title">Pulls</h1>
        <nav className="pulls-nav" aria-label="Views of pulls">
          {PULL_VIEWS.map(({ id, name }) => (
            <a
              key={id}
              href={pullsHref(id)}
              data-testid={`pulls-${id}`}
              aria-current={id === view ? "page" : undefined}
              onClick={followLink}
            >
              {name}
            </a>
          ))}
        </nav>
      </div>
      {View ? <View /> : <OnePull key={path} id={"pull" in place ? place.pull : ""} />}
    </div>
  );
}
