import { useQuery } from "@tanstack/react-query";
import { ApiError } from "../../api/client";
import { onePull } from "../../api/pulls";
import { ImageLabel } from "../../components/image-label";
import { ListState } from "../../components/list-state";
import { PullBar } from "../../components/pull-bar";
import { PullDetails } from "../../components/pull-details";
import { useNow } from "../../components/use-now";
import { isEnded, type Pull } from "../../lib/pull";
import {
  lookOf,
  percentText,
  sizeText,
  speedText,
  stateText,
  timeText,
  UNKNOWN,
} from "../../lib/pull-text";

const LOOK_EVERY_MS = 1_000;

function Head({ pull }: { pull: Pull }): React.JSX.Element {
  const now = useNow();
  const texts = [percentText(pull), sizeText(pull), speedText(pull), timeText(pull, now)];
  return (
    <header className="one-pull-head" data-testid="one-pull">
      <h2>
        <ImageLabel image={pull.image} digest={pull.digest} />
      </h2>
      <span className="pull-state" data-look={lookOf(pull)}>
        <span className="pull-dot" />
        {stateText(pull, now)}
      </span>
      <span className="subtle">
        on {pull.node}
        {pull.cluster !== "" && `, ${pull.cluster}`}
      </span>
      <PullBar pull={pull} nowMs={now} />
      <span className="one-pull-numbers">
        {texts.filter((text) => text !== UNKNOWN).join(" · ")}
      </span>
    </header>
  );
}

/** One pull: where a link to it leads. */
export function OnePull({ id }: { id: string }): React.JSX.Element {
  const query = useQuery({
    queryKey: ["pull", id],
    queryFn: async ({ signal }) => (await onePull(id, signal)) ?? null,
    refetchInterval: ({ state }) => (state.data && isEnded(state.data) ? false : LOOK_EVERY_MS),
  });
  const { data: pull, error } = query;
  if (error instanceof ApiError && error.status === 404) {
    return (
      <p className="empty">
        There is no such pull: the history has let go of it, or the link is not whole.
      </p>
    );
  }
  return (
    <ListState query={query} count={pull ? 1 : 0} empty="There is no such pull.">
      {pull && (
        <article className="one-pull">
          <Head pull={pull} />
          <PullDetails pull={pull} />
        </article>
      )}
    </ListState>
  );
}
