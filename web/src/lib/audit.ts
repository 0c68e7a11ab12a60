import { parseTime } from "./time";

/** What of the audit log is shown, as people write it; empty is everything. */
export interface AuditFilter {
  actor: string;
  action: string;
  since: string;
  until: string;
}

const FIELDS = ["actor", "action", "since", "until"] as const;

/** The entries of one page. */
export const AUDIT_PAGE = 100;

/** Returns the filter of address parameters; times that cannot be read are left out. */
export function decodeAudit(search: string): AuditFilter {
  const params = new URLSearchParams(search);
  const text = (name: string): string => params.get(name)?.trim() ?? "";
  const time = (name: string): string => (parseTime(text(name), 0) === undefined ? "" : text(name));
  return {
    actor: text("actor"),
    action: text("action"),
    since: time("since"),
    until: time("until"),
  };
}

/** Returns the address parameters of a filter; what is empty is left out. */
export function encodeAudit(filter: AuditFilter): string {
  const params = new URLSearchParams();
  for (const name of FIELDS) {
    if (filter[name].trim() !== "") params.set(name, filter[name].trim());
  }
  return params.toString();
}

/** Returns what the server is asked for a filter and the place where a page begins. */
export function auditParams(
  filter: AuditFilter,
  cursor: string | null,
  nowMs: number,
): Record<string, string> {
  const params: Record<string, string> = { limit: String(AUDIT_PAGE) };
  if (filter.actor !== "") params.actor = filter.actor;
  if (filter.action !== "") params.action = filter.action;
  for (const name of ["since", "until"] as const) {
    const at = parseTime(filter[name], nowMs);
    if (at !== undefined) params[name] = new Date(at).toISOString();
  }
  if (cursor !== null) params.cursor = cursor;
  return params;
}

/** Returns what is known beside an action, as lines of name and value. */
export function detailLines(detail: unknown): [string, string][] {
  if (detail === null || detail === undefined) return [];
  if (typeof detail !== "object") return [["detail", String(detail)]];
  return Object.entries(detail).map(([name, value]) => [
    name,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
}
