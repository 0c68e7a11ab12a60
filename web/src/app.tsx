import { lazy, Suspense, useEffect } from "react";
import { usePath } from "./components/router";
import { EXPLORE_PATH, Shell } from "./components/shell";
import { Overview } from "./pages/overview";

const Explore = lazy(() => import("./pages/explore"));

/** The page: one of two views in the shared frame. */
export function App(): React.JSX.Element {
  const path = usePath();
  const explore = path === EXPLORE_PATH;
  useEffect(() => {
    document.title = explore ? "Explore · TinyObs" : "Overview · TinyObs";
  }, [explore]);
  return (
    <Shell path={path}>
      {explore ? (
        <Suspense fallback={<div className="explore-loading" />}>
          <Explore />
        </Suspense>
      ) : (
        <Overview />
      )}
    </Shell>
  );
}
