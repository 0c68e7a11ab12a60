import { usableTenant } from "../lib/session";
import { ask } from "./client";
import { chooseTenant, chosenTenant, setCsrfToken } from "./identity";
import type { Session } from "./types";

const PATH = "/v1/session";

function remember(session: Session): Session {
  setCsrfToken(session.csrf_token ?? null);
  // Somebody else may have chosen it before.
  chooseTenant(usableTenant(session, chosenTenant()));
  return session;
}

/** Asks who the server thinks we are, and whether a login is needed. */
export async function loadSession(signal?: AbortSignal): Promise<Session> {
  return remember(await ask<Session>({ path: PATH, unscoped: true, signal }));
}

/** Logs in with a name and a password. */
export async function logIn(name: string, password: string): Promise<Session> {
  const json = { name, password };
  await ask<void>({ path: PATH, method: "POST", json, isLogin: true });
  return loadSession();
}

/** Ends the session. */
export async function logOut(): Promise<void> {
  await ask<void>({ path: PATH, method: "DELETE" });
}

/** Changes the own password. */
export async function changePassword(oldPassword: string, newPassword: string): Promise<void> {
  const json = { old_password: oldPassword, new_password: newPassword };
  await ask<void>({ path: `${PATH}/password`, method: "POST", json, isLogin: true });
}
