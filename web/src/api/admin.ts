import { ask } from "./client";
import type {
  ApiKey,
  AuditPage,
  CreatedKey,
  NewKey,
  NewTenant,
  NewUser,
  Reloaded,
  Setting,
  Tenant,
  TenantChange,
  Usage,
  User,
  UserChange,
} from "./types";

/** Returns the tenant's keys, those that were revoked only where asked for. */
export async function listKeys(revoked: boolean, signal?: AbortSignal): Promise<ApiKey[]> {
  const params = { include_revoked: String(revoked) };
  return (await ask<{ keys: ApiKey[] }>({ path: "/v1/keys", params, signal })).keys;
}

/** Makes a key. Only this answer contains it. */
export function createKey(json: NewKey): Promise<CreatedKey> {
  return ask({ path: "/v1/keys", method: "POST", json });
}

/** Makes a key in place of another, which stays valid for a while, such as `24h`. */
export function rotateKey(id: string, overlap: string): Promise<CreatedKey> {
  const path = `/v1/keys/${encodeURIComponent(id)}/rotate`;
  return ask({ path, method: "POST", json: { overlap } });
}

/** Ends a key at once. */
export function revokeKey(id: string): Promise<void> {
  return ask({ path: `/v1/keys/${encodeURIComponent(id)}`, method: "DELETE" });
}

/** Returns the tenant's users. */
export async function listUsers(signal?: AbortSignal): Promise<User[]> {
  return (await ask<{ users: User[] }>({ path: "/v1/users", signal })).users;
}

/** Makes a user. */
export function createUser(json: NewUser): Promise<User> {
  return ask({ path: "/v1/users", method: "POST", json });
}

/** Changes what a user is. */
export function updateUser(id: string, json: UserChange): Promise<User> {
  return ask({ path: `/v1/users/${encodeURIComponent(id)}`, method: "PATCH", json });
}

/** Gives a user another password. */
export function setPassword(id: string, password: string): Promise<void> {
  const path = `/v1/users/${encodeURIComponent(id)}/password`;
  return ask({ path, method: "POST", json: { password } });
}

/** Removes a user. */
export function deleteUser(id: string): Promise<void> {
  return ask({ path: `/v1/users/${encodeURIComponent(id)}`, method: "DELETE" });
}

/** Returns all tenants. */
export async function listTenants(signal?: AbortSignal): Promise<Tenant[]> {
  return (await ask<{ tenants: Tenant[] }>({ path: "/v1/tenants", unscoped: true, signal }))
    .tenants;
}

/** Makes a tenant. */
export function createTenant(json: NewTenant): Promise<Tenant> {
  return ask({ path: "/v1/tenants", method: "POST", unscoped: true, json });
}

/** Changes what a tenant is or may use. */
export function updateTenant(id: string, json: TenantChange): Promise<Tenant> {
  const path = `/v1/tenants/${encodeURIComponent(id)}`;
  return ask({ path, method: "PATCH", unscoped: true, json });
}

/** Returns what the tenant used on each of the latest days. */
export function usage(days: number, signal?: AbortSignal): Promise<Usage> {
  return ask({ path: "/v1/usage", params: { days: String(days) }, signal });
}

/** Returns a page of the audit log, the newest entries first. */
export function audit(params: Record<string, string>, signal?: AbortSignal): Promise<AuditPage> {
  return ask({ path: "/v1/audit", params, signal });
}

/** Returns the settings that are in force, without secrets. */
export async function settings(signal?: AbortSignal): Promise<Setting[]> {
  return (await ask<{ settings: Setting[] }>({ path: "/v1/config", unscoped: true, signal }))
    .settings;
}

/** Reads the configuration again. */
export function reload(): Promise<Reloaded> {
  return ask({ path: "/-/reload", method: "POST", unscoped: true });
}
