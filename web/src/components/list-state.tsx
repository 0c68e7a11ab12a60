import { Button } from "@mantine/core";

interface ListStateProps {
  /** What TanStack Query says. */
  query: { isPending: boolean; error: Error | null; refetch: () => unknown };
  /** How many entries there are to show. */
  count: number;
  /** What is said where there are none. */
  empty: string;
  children: React.ReactNode;
}

/** A list, or why there is none: it is loading, it was refused, there is nothing in it. */
export function ListState({ query, count, empty, children }: ListStateProps): React.JSX.Element {
  return (
    <>
      {query.error && (
        <div className="notice error" role="alert">
          {query.error.message}{" "}
          <Button size="compact-xs" variant="subtle" onClick={() => void query.refetch()}>
            Try again
          </Button>
        </div>
      )}
      {query.isPending && (
        <p className="empty" role="status">
          Loading
        </p>
      )}
      {!query.isPending && !query.error && count === 0 && <p className="empty">{empty}</p>}
      {count > 0 && children}
    </>
  );
}
