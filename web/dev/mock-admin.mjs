// The part of the mock server that knows people: session, keys, users, tenants, usage, audit log,
// configuration. With MODE=keys there is a login, for admin / password.
import { randomBytes, randomUUID } from "node:crypto";

const MODE = process.env.MODE ?? "local";
const DAY_MS = 86_400_000;
const ago = (ms) => new Date(Date.now() - ms).toISOString();
const ALL =
  "metrics:read metrics:write events:read events:write pulls:read pulls:write rules:write";
const ROLES = {
  admin: [...ALL.split(" "), "admin"],
  editor: ALL.split(" ").filter((name) => name !== "pulls:write"),
  viewer: ["metrics:read", "events:read", "pulls:read"],
  ingest: ["metrics:write", "events:write"],
  agent: ["pulls:write"],
};

let loggedIn = false;
const CSRF = randomBytes(16).toString("hex");

function key(name, fields = {}) {
  return {
    id: randomUUID(),
    name,
    tenant: "default",
    app: null,
    permissions: ROLES.ingest,
    all_tenants: false,
    created_at: ago(40 * DAY_MS),
    created_by: "admin",
    expires_at: null,
    revoked_at: null,
    last_used_at: ago(90_000),
    replaced_by: null,
    limits: {},
    ...fields,
  };
}

const keys = [
  key("node-exporters", { limits: { samples_per_second: 5000 } }),
  key("ci", { permissions: ["metrics:read", "rules:write"], expires_at: ago(-3 * DAY_MS) }),
  key("old laptop", { revoked_at: ago(2 * DAY_MS), last_used_at: null }),
  key("bootstrap", { permissions: ROLES.admin, all_tenants: true, created_by: null }),
];

function user(name, fields = {}) {
  return {
    id: randomUUID(),
    name,
    display_name: name,
    role: "viewer",
    tenant: "default",
    all_tenants: false,
    disabled: false,
    has_password: true,
    oidc_issuer: null,
    created_at: ago(20 * DAY_MS),
    last_login_at: ago(3_600_000),
    ...fields,
  };
}

const users = [
  user("admin", { role: "admin", all_tenants: true, display_name: "Ada Admin" }),
  user("vera", { oidc_issuer: "https://id.example.org", has_password: false }),
  user("erik", { role: "editor", disabled: true, last_login_at: null }),
];

const tenants = [
  { id: "default", display_name: "", disabled: false, created_at: ago(90 * DAY_MS), limits: {} },
  {
    id: "team-a",
    display_name: "Team A",
    disabled: false,
    created_at: ago(9 * DAY_MS),
    limits: { samples_per_day_max: 50_000_000, series_max: 100_000 },
  },
];

const entries = Array.from({ length: 130 }, (_, index) => ({
  id: String(1000 - index),
  at: ago(index * 3_700_000),
  tenant: "default",
  actor: "user 0195",
  actor_name: ["admin", "vera"][index % 2],
  action: ["key.create", "session.login", "user.update"][index % 3],
  target: ["key 0194a", "user 0195", "user 0196"][index % 3],
  outcome: index % 7 === 6 ? "refused" : "done",
  address: "127.0.0.1",
  request_id: randomUUID(),
  detail: index % 3 === 1 ? {} : { name: "<b>ci</b>", permissions: ["metrics:read"] },
}));

function record(action, target, detail = {}) {
  const id = String(2000 + entries.length);
  const common = { tenant: "default", actor: "user 0195", actor_name: "admin", outcome: "done" };
  entries.unshift({
    id,
    at: ago(0),
    ...common,
    action,
    target,
    address: null,
    request_id: null,
    detail,
  });
}

const settings = [
  ["server.listen", "127.0.0.1:8080", "default"],
  ["server.tls.certificate_file", "", "default"],
  ["auth.mode", MODE, "--set"],
  ["auth.bootstrap_admin_key", null, "environment TINYOBS_AUTH__BOOTSTRAP_ADMIN_KEY"],
  ["metrics.retention.raw", "14d", "tinyobs.yaml"],
  ["log.level", "info", "default"],
].map(([path, value, origin]) => ({ path, value, origin, reloadable: path === "log.level" }));

function session() {
  const open = MODE !== "keys";
  const everything = { permissions: ROLES.admin, all_tenants: true, tenant: "default" };
  const caller = open
    ? { kind: "anonymous", name: "anonymous", role: "admin", ...everything }
    : { kind: "user", name: "admin", role: "admin", ...everything };
  const known = open || loggedIn;
  return {
    mode: open ? "open" : "keys",
    login_needed: !known,
    logins: open
      ? []
      : [
          { kind: "password", name: "password" },
          { kind: "oidc", name: "Example" },
        ],
    caller: known ? caller : null,
    csrf_token: loggedIn ? CSRF : null,
    expires_at: null,
  };
}

function usage(days) {
  return {
    tenant: "default",
    series: 4_200,
    storage_bytes: 31_000_000,
    limits: { samples_per_day_max: 60_000_000, series_max: 5_000 },
    days: Array.from({ length: Math.min(days, 24) }, (_, index) => ({
      day: ago(index * DAY_MS).slice(0, 10),
      samples: 40_000_000 + ((index * 7919) % 13) * 1_000_000,
      events: 0,
      bytes_in: 700_000_000 + index * 9_000_000,
      queries: 20_000 + index * 300,
      samples_read: 90_000_000,
      requests: 90_000,
      refused: index % 9 === 0 ? 140 : 0,
    })),
  };
}

const refusal = (status, code, message) => [status, { error: "refused", code, message }];

function audit(params) {
  const begin = Number(params.get("cursor") ?? 0);
  const wanted = (entry) =>
    (!params.get("actor") || entry.actor === params.get("actor")) &&
    (!params.get("action") || entry.action === params.get("action"));
  const found = entries.filter(wanted);
  const end = begin + Number(params.get("limit") ?? 100);
  return { entries: found.slice(begin, end), next: end < found.length ? String(end) : null };
}

const made = (prefix, name, fields) => ({
  ...key(name, { created_at: ago(0), last_used_at: null, ...fields }),
  key: prefix + randomBytes(32).toString("hex").slice(prefix.length),
});

function keyRoutes(method, [id, verb], params, body) {
  if (method === "GET") {
    const all = params.get("include_revoked") === "true";
    return [200, { keys: keys.filter((each) => all || each.revoked_at === null) }];
  }
  const old = keys.find((each) => each.id === id);
  if (method === "POST" && id === undefined) {
    const { role, ...rest } = body;
    const { key: secret, ...created } = made("", body.name, {
      ...rest,
      permissions: body.permissions ?? ROLES[role],
    });
    keys.unshift(created);
    record("key.create", `key ${created.id}`, { name: created.name });
    return [201, { ...created, key: secret }];
  }
  if (!old) return refusal(404, "not_found", "there is no such key");
  if (method === "POST" && verb === "rotate") {
    const { key: secret, ...created } = made("", old.name, {});
    old.expires_at = ago(-DAY_MS);
    old.replaced_by = created.id;
    keys.unshift(created);
    record("key.rotate", `key ${old.id}`);
    return [201, { ...created, key: secret }];
  }
  old.revoked_at = ago(0);
  record("key.revoke", `key ${old.id}`);
  return [204];
}

function userRoutes(method, [id, verb], body) {
  if (method === "GET") return [200, { users }];
  if (id === undefined) {
    if (users.some((each) => each.name === body.name)) {
      return refusal(409, "conflict", `there is a user '${body.name}' already`);
    }
    users.push(user(body.name, { ...body, password: undefined, last_login_at: null }));
    return [201, users.at(-1)];
  }
  const found = users.find((each) => each.id === id);
  if (!found) return refusal(404, "not_found", "there is no such user");
  if (verb === "password") return [204];
  if (method === "PATCH") return [200, Object.assign(found, body)];
  users.splice(users.indexOf(found), 1);
  return [204];
}

function tenantRoutes(method, [id], body) {
  if (method === "GET") return [200, { tenants }];
  if (id === undefined) {
    tenants.push({ disabled: false, created_at: ago(0), ...body });
    return [201, tenants.at(-1)];
  }
  const found = tenants.find((each) => each.id === id);
  return found ? [200, Object.assign(found, body)] : refusal(404, "tenant_unknown", "no tenant");
}

function sessionRoutes(method, [verb], body) {
  if (method === "GET") return [200, session()];
  if (verb === "password") {
    return body.old_password === "password"
      ? [204]
      : refusal(401, "login_failed", "the present password is another");
  }
  loggedIn = method === "POST" && body.name === "admin" && body.password === "password";
  if (method === "DELETE") return [204];
  return loggedIn
    ? [204]
    : refusal(401, "login_failed", "name and password do not belong together");
}

/** Returns status and body of a request's answer; undefined where it is none of these routes. */
export function admin({ method, path, params, headers, body }) {
  const [, first, name, ...rest] = path.split("/");
  if (path === "/-/reload")
    return [200, { applied: ["log.level"], needs_restart: ["server.listen"] }];
  if (first === "v1" && name === "session") return sessionRoutes(method, rest, body);
  if (MODE === "keys" && !loggedIn && path !== "/v1/health") {
    return refusal(401, "session_expired", "log in first");
  }
  if (loggedIn && method !== "GET" && headers["x-csrf-token"] !== CSRF) {
    return refusal(403, "csrf_missing", "X-CSRF-Token is missing");
  }
  if (first !== "v1") return undefined;
  if (name === "keys") return keyRoutes(method, rest, params, body);
  if (name === "users") return userRoutes(method, rest, body);
  if (name === "tenants") return tenantRoutes(method, rest, body);
  if (name === "usage") return [200, usage(Number(params.get("days") ?? 30))];
  if (name === "audit") return [200, audit(params)];
  if (name === "config") return [200, { settings }];
  if (name === "health") {
    const checks = { storage: "ok", cardinality: "ok", disk: "ok", state: "ok" };
    const compaction = { healthy: true };
    const common = { status: "healthy", version: "0.1.0-mock", uptime: "1h0m0s" };
    return [200, { ...common, compaction, checks }];
  }
  return undefined;
}
