import { useQuery } from "@tanstack/react-query";
import { health } from "../../api/client";
import { CheckIcon, WarningIcon } from "../../components/icons";
import { ListState } from "../../components/list-state";

const EVERY_MS = 5_000;

/** How the server is, check by check. */
export function HealthChecks(): React.JSX.Element {
  // The header of the page asks the same; both get one answer.
  const found = useQuery({
    queryKey: ["health"],
    queryFn: ({ signal }) => health(signal),
    refetchInterval: EVERY_MS,
    retry: false,
  });
  const { data } = found;
  const checks = Object.entries(data?.checks ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const fine = data?.status === "healthy";
  return (
    <>
      <ListState query={found} count={data ? 1 : 0} empty="">
        <div
          className={fine ? "notice done" : "notice warning"}
          role="status"
          data-testid="health-status"
        >
          {fine ? "Everything works." : "Something is wrong; what still works goes on."}
        </div>
        {(data?.problems ?? []).map((problem) => (
          <div key={problem} className="notice error" role="alert">
            {problem}
          </div>
        ))}
        {data?.compaction.last_error !== undefined && (
          <div className="notice error">{data.compaction.last_error}</div>
        )}
        <ul className="checks-list">
          {checks.map(([name, state]) => (
            <li key={name} data-testid="health-check" data-ok={state === "ok"}>
              {state === "ok" ? <CheckIcon /> : <WarningIcon />}
              <span className="check-name">{name}</span>
              <span className="subtle">{state}</span>
            </li>
          ))}
        </ul>
        <dl className="about">
          <dt>Version</dt>
          <dd>{data?.version}</dd>
          <dt>Running for</dt>
          <dd>{data?.uptime}</dd>
        </dl>
      </ListState>
      <p className="about-links">
        <a href="/v1/reference">API reference</a>
        <a href="/v1/openapi.json">OpenAPI document</a>
        <a href="/metrics">Metrics of this server</a>
      </p>
    </>
  );
}
