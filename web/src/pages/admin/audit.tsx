import { Button, TextInput } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { audit } from "../../api/admin";
import { serverNow } from "../../api/clock";
import type { AuditEntry } from "../../api/types";
import { ListState } from "../../components/list-state";
import { navigate, useSearch } from "../../components/router";
import { followLink } from "../../components/shell";
import {
  type AuditFilter,
  auditParams,
  decodeAudit,
  detailLines,
  encodeAudit,
} from "../../lib/audit";
import { formatDateTime, parseTime } from "../../lib/time";
import { adminHref } from "../../lib/views";

function auditHref(filter: AuditFilter): string {
  const search = encodeAudit(filter);
  return search === "" ? adminHref("audit") : `${adminHref("audit")}?${search}`;
}

function timeProblem(text: string): string | undefined {
  const readable = text.trim() === "" || parseTime(text, serverNow()) !== undefined;
  return readable ? undefined : "write now-1d or 2026-11-21 10:00";
}

/** The fields of the filter; they start again from the address whenever it changes. */
function Filter({ filter }: { filter: AuditFilter }): React.JSX.Element {
  const [draft, setDraft] = useState(filter);
  const field = (name: keyof AuditFilter, label: string, placeholder: string) => (
    <TextInput
      size="xs"
      label={label}
      placeholder={placeholder}
      autoComplete="off"
      value={draft[name]}
      error={name === "since" || name === "until" ? timeProblem(draft[name]) : undefined}
      onChange={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
    />
  );
  const ready = !timeProblem(draft.since) && !timeProblem(draft.until);
  return (
    <form
      className="admin-tools audit-filter"
      aria-label="Filter"
      onSubmit={(event) => {
        event.preventDefault();
        if (ready) navigate(auditHref(draft));
      }}
    >
      {field("actor", "Who", "such as user 0195…")}
      {field("action", "Action", "such as key.create")}
      {field("since", "From", "such as now-1d")}
      {field("until", "To", "now")}
      <Button type="submit" size="xs" disabled={!ready}>
        Filter
      </Button>
      {encodeAudit(filter) !== "" && (
        <Button size="xs" variant="default" onClick={() => navigate(adminHref("audit"))}>
          Show everything
        </Button>
      )}
    </form>
  );
}

function Row({ entry }: { entry: AuditEntry }): React.JSX.Element {
  const lines = detailLines(entry.detail);
  if (entry.request_id) lines.push(["request", entry.request_id]);
  return (
    <tr data-testid="audit-entry" data-action={entry.action}>
      <td className="nowrap">
        <time dateTime={entry.at}>{formatDateTime(Date.parse(entry.at))}</time>
      </td>
      <td>
        {entry.actor_name || entry.actor}
        <a
          className="cell-note mono"
          href={auditHref({ actor: entry.actor, action: "", since: "", until: "" })}
          title="Only what they did"
          onClick={followLink}
        >
          {entry.actor}
        </a>
      </td>
      <td>
        <span className="mono">{entry.action}</span>
        <span className="state" data-state={entry.outcome === "done" ? "active" : "revoked"}>
          {entry.outcome === "done" ? "" : ` ${entry.outcome}`}
        </span>
      </td>
      <td className="mono cell-wide">{entry.target}</td>
      <td className="mono">{entry.address ?? ""}</td>
      <td>
        {lines.length > 0 && (
          <details className="cell-details">
            <summary>Details</summary>
            <dl>
              {lines.map(([name, value]) => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd className="mono">{value}</dd>
                </div>
              ))}
            </dl>
          </details>
        )}
      </td>
    </tr>
  );
}

/** Who did what, the newest first. */
export function Audit(): React.JSX.Element {
  const search = useSearch();
  const filter = useMemo(() => decodeAudit(search), [search]);
  const pages = useInfiniteQuery({
    queryKey: ["audit", encodeAudit(filter)],
    queryFn: ({ pageParam, signal }) => audit(auditParams(filter, pageParam, serverNow()), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next ?? null,
  });
  const entries = pages.data?.pages.flatMap((page) => page.entries) ?? [];
  return (
    <>
      <Filter key={encodeAudit(filter)} filter={filter} />
      <ListState query={pages} count={entries.length} empty="No entry fits the filter.">
        <div className="table-scroll">
          <table className="admin-table">
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">Who</th>
                <th scope="col">Action</th>
                <th scope="col">What</th>
                <th scope="col">From</th>
                <th scope="col">
                  <span className="visually-hidden">Details</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {entries.map((entry) => (
                <Row key={entry.id} entry={entry} />
              ))}
            </tbody>
          </table>
        </div>
        <div className="admin-more">
          <span className="subtle" role="status">
            {entries.length} {entries.length === 1 ? "entry" : "entries"}
            {pages.hasNextPage ? "" : ", that is all"}
          </span>
          {pages.hasNextPage && (
            <Button
              size="xs"
              variant="default"
              loading={pages.isFetchingNextPage}
              onClick={() => void pages.fetchNextPage()}
            >
              Older entries
            </Button>
          )}
        </div>
      </ListState>
    </>
  );
}
