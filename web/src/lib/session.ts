import type { Session } from "../api/types";

/** The methods that change something; with a session they need its token. */
export const UNSAFE_METHODS: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/** Where a login at the identity provider begins. */
const PROVIDER_PATH = "/v1/login/oidc";
/** Where the browser is sent when a login at the identity provider failed; it is no view. */
export const LOGIN_PATH = "/login";

/** Returns whether who uses the page has a permission. */
export function may(session: Session, permission: string): boolean {
  return session.caller?.permissions.includes(permission) ?? false;
}

/** Returns whether who uses the page manages the server and all tenants. */
export function managesServer(session: Session): boolean {
  return may(session, "admin") && session.caller?.all_tenants === true;
}

/** Returns the tenant to act for: the chosen one for those who may choose, null for the own one. */
export function usableTenant(session: Session, chosen: string | null): string | null {
  if (!session.caller?.all_tenants || chosen === session.caller.tenant) return null;
  return chosen;
}

/** Returns where a login leads to that begins at an address of the page. */
export function wantedPath(address: { pathname: string; search: string }): string {
  return address.pathname === LOGIN_PATH ? "/" : address.pathname + address.search;
}

/** Returns the address where a login at the identity provider begins; it comes back to `path`. */
export function providerHref(path: string): string {
  return `${PROVIDER_PATH}?${new URLSearchParams({ return_to: path })}`;
}

const PROVIDER_ERRORS: Record<string, string> = {
  oidc_unavailable: "The identity provider cannot be reached. Try again in a moment.",
  oidc_expired: "The login took too long, or began in another window. Try again.",
  oidc_denied: "The identity provider did not let you in.",
  oidc_failed:
    "The identity provider gave an answer that is not valid. The server's log says more.",
  oidc_no_role:
    "You are known to the identity provider, but have no role here. Ask an administrator.",
  oidc_disabled: "Your account here is disabled. Ask an administrator.",
};

/** Returns why a login at the identity provider failed, from the address; undefined where none did. */
export function providerError(address: { pathname: string; search: string }): string | undefined {
  if (address.pathname !== LOGIN_PATH) return undefined;
  const code = new URLSearchParams(address.search).get("error");
  if (code === null) return undefined;
  return PROVIDER_ERRORS[code] ?? "The login did not succeed.";
}

/** What is said about a server that asks nobody who they are. */
export interface OpenNotice {
  title: string;
  text: string;
  /** Whether the server is reached from elsewhere than its own machine. */
  exposed: boolean;
}

const LOOPBACK = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/;

/** Returns what the page says where there is no login; undefined where there is one. */
export function openNotice(session: Session, hostname: string): OpenNotice | undefined {
  if (session.caller?.kind !== "anonymous") return undefined;
  const open =
    "This server asks nobody who they are: whoever reaches it can read and change everything.";
  const exposed = !LOOPBACK.test(hostname);
  const advice = exposed
    ? "Set auth.mode: keys so that it asks."
    : "That is fine on your own machine. Set auth.mode: keys before others can reach it.";
  return { title: "No login", text: `${open} ${advice}`, exposed };
}

/** Returns what people call a kind of caller. */
export function kindName(kind: string): string {
  const names: Record<string, string> = {
    anonymous: "Nobody is asked",
    key: "API key",
    user: "User",
    certificate: "Client certificate",
  };
  return names[kind] ?? kind;
}
