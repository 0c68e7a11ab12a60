import { UNSAFE_METHODS } from "../lib/session";

/** Who this tab acts as: what every request carries, and who wants to know when the login has ended. */

const TENANT_KEY = "tinyobs-tenant";

let csrfToken: string | null = null;
let tenant: string | null = storedTenant();
const loginListeners = new Set<() => void>();
const tenantListeners = new Set<() => void>();

function storedTenant(): string | null {
  try {
    return sessionStorage.getItem(TENANT_KEY);
  } catch {
    // Without storage, as in tests, the choice lasts as long as the page.
    return null;
  }
}

/** Returns the headers by which the server knows for whom a request is, and that it is the page's. */
export function identityHeaders(method: string, unscoped = false): Record<string, string> {
  const headers: Record<string, string> = {};
  if (tenant !== null && !unscoped) headers["X-Scope-OrgID"] = tenant;
  if (csrfToken !== null && UNSAFE_METHODS.has(method)) headers["X-CSRF-Token"] = csrfToken;
  return headers;
}

/** Sets the token that changes need while somebody is logged in. */
export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** Returns the tenant that was chosen in this tab, or null for the own one. */
export function chosenTenant(): string | null {
  return tenant;
}

/** Chooses the tenant of all further requests; null is the own one. Each tab has its own choice. */
export function chooseTenant(id: string | null): void {
  if (id === tenant) return;
  tenant = id;
  try {
    if (id === null) sessionStorage.removeItem(TENANT_KEY);
    else sessionStorage.setItem(TENANT_KEY, id);
  } catch {
    // As above.
  }
  for (const listener of tenantListeners) listener();
}

/** Calls a listener after each choice of a tenant until the returned function is called. */
export function subscribeTenant(listener: () => void): () => void {
  tenantListeners.add(listener);
  return () => tenantListeners.delete(listener);
}

/** Says that the server wants a login. */
export function reportLoginNeeded(): void {
  for (const listener of loginListeners) listener();
}

/** Calls a listener whenever the server wants a login, until the returned function is called. */
export function subscribeLoginNeeded(listener: () => void): () => void {
  loginListeners.add(listener);
  return () => loginListeners.delete(listener);
}
