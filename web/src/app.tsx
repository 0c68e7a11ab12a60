import { lazy, Suspense, useEffect } from "react";
import { ErrorBoundary } from "./components/error-boundary";
import { usePath } from "./components/router";
import { SessionGate, useSession } from "./components/session";
import { Shell } from "./components/shell";
import { may } from "./lib/session";
import {
  ADMIN_PATH,
  DEAD_LETTERS_PATH,
  EVENTS_PATH,
  EXPLORE_PATH,
  isBelow,
  PULLS_PATH,
  SERVER_PATH,
  viewTitle,
} from "./lib/views";
import { Overview } from "./pages/overview";
import { Server } from "./pages/server";

const Explore = lazy(() => import("./pages/explore"));
const Admin = lazy(() => import("./pages/admin"));
const Events = lazy(() => import("./pages/events"));
const DeadLetters = lazy(() => import("./pages/dead-letters"));
const Pulls = lazy(() => import("./pages/pulls"));

/** What is said to those who may not see a view. */
function Forbidden({ what, permission }: { what: string; permission: string }) {
  const { session } = useSession();
  return (
    <p className="empty">
      {session.caller?.name} may not read {what}: the role {session.caller?.role ?? "of this login"}{" "}
      does not contain <code>{permission}</code>.
    </p>
  );
}

function View({ path }: { path: string }): React.JSX.Element {
  const { session } = useSession();
  if (isBelow(path, ADMIN_PATH)) return <Admin path={path} />;
  if (path === EVENTS_PATH || path === DEAD_LETTERS_PATH) {
    if (!may(session, "events:read")) return <Forbidden what="events" permission="events:read" />;
    return path === EVENTS_PATH ? <Events /> : <DeadLetters />;
  }
  if (isBelow(path, PULLS_PATH)) {
    if (!may(session, "pulls:read")) return <Forbidden what="pulls" permission="pulls:read" />;
    return <Pulls path={path} />;
  }
  if (!may(session, "metrics:read")) return <Forbidden what="metrics" permission="metrics:read" />;
  if (path === EXPLORE_PATH) return <Explore />;
  if (path === SERVER_PATH) return <Server />;
  return <Overview />;
}

function Views(): React.JSX.Element {
  const path = usePath();
  useEffect(() => {
    document.title = viewTitle(path);
  }, [path]);
  return (
    <Shell path={path}>
      <ErrorBoundary key={path.split("/")[1]}>
        <Suspense fallback={<div className="explore-loading" />}>
          <View path={path} />
        </Suspense>
      </ErrorBoundary>
    </Shell>
  );
}

/** The page: the login where one is needed, else one of the views in the shared frame. */
export function App(): React.JSX.Element {
  return (
    <SessionGate>
      <Views />
    </SessionGate>
  );
}
