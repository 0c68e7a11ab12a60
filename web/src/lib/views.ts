/** The addresses of the views, and what they are called. */

export const OVERVIEW_PATH = "/";
export const EXPLORE_PATH = "/explore";
export const EVENTS_PATH = "/events";
export const DEAD_LETTERS_PATH = "/dead-letters";
export const PULLS_PATH = "/pulls";
export const SERVER_PATH = "/server";
export const ADMIN_PATH = "/admin";

/** A part of the administration. */
export interface AdminSection {
  id: string;
  name: string;
  /** Whether only those who manage all tenants may see it. */
  server: boolean;
}

/** The parts of the administration in their order; the first is shown where none is asked for. */
export const ADMIN_SECTIONS: AdminSection[] = [
  { id: "keys", name: "Keys", server: false },
  { id: "users", name: "Users", server: false },
  { id: "tenants", name: "Tenants", server: true },
  { id: "usage", name: "Usage", server: false },
  { id: "audit", name: "Audit log", server: false },
  { id: "configuration", name: "Configuration", server: true },
  { id: "health", name: "Health", server: false },
];

/** Returns whether a path is another or below it. */
export function isBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}/`);
}

/** Returns the address of a part of the administration. */
export function adminHref(id: string): string {
  return `${ADMIN_PATH}/${id}`;
}

/** Returns the part of the administration at a path, among those that are shown. */
export function adminSection(path: string, shown: AdminSection[]): AdminSection | undefined {
  const id = path.slice(ADMIN_PATH.length + 1).split("/")[0];
  return shown.find((section) => section.id === id) ?? shown[0];
}

/** Returns what the browser's tab says. */
export function viewTitle(path: string): string {
  if (path === EXPLORE_PATH) return "Explore · TinyObs";
  if (path === EVENTS_PATH) return "Events · TinyObs";
  if (path === DEAD_LETTERS_PATH) return "Dead letters · TinyObs";
  if (isBelow(path, PULLS_PATH)) return "Pulls · TinyObs";
  if (path === SERVER_PATH) return "Server · TinyObs";
  if (isBelow(path, ADMIN_PATH)) {
    const section = adminSection(path, ADMIN_SECTIONS);
    return `${section?.name ?? "Administration"} · TinyObs`;
  }
  return "Overview · TinyObs";
}
