import { afterEach, describe, expect, test, vi } from "vitest";
import { queryInstant } from "../src/api/client";
import {
  chooseTenant,
  chosenTenant,
  identityHeaders,
  setCsrfToken,
  subscribeLoginNeeded,
} from "../src/api/identity";
import { changePassword, loadSession, logIn } from "../src/api/session";
import type { Principal, Session } from "../src/api/types";
import {
  managesServer,
  may,
  openNotice,
  providerError,
  providerHref,
  usableTenant,
  wantedPath,
} from "../src/lib/session";

const CALLER: Principal = {
  kind: "user",
  name: "ada",
  role: "admin",
  permissions: ["metrics:read", "admin"],
  tenant: "default",
  all_tenants: true,
};

function session(caller: Partial<Principal> | null): Session {
  return {
    mode: "keys",
    login_needed: caller === null,
    logins: [{ kind: "password", name: "password" }],
    caller: caller && { ...CALLER, ...caller },
    csrf_token: caller && "token",
  };
}

/** Answers each request with the next answer; returns the requests that came. */
function answers(...list: [number, unknown][]) {
  const requests: { url: string; method: string; headers: Record<string, string> }[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const headers = { ...(init.headers as Record<string, string>) };
    requests.push({ url, method: init.method ?? "GET", headers });
    const [status, body] = list.shift() ?? [200, {}];
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  });
  return requests;
}

afterEach(() => {
  vi.unstubAllGlobals();
  chooseTenant(null);
  setCsrfToken(null);
});

test("only changes carry the session's token, everything carries the chosen tenant", () => {
  expect(identityHeaders("POST")).toEqual({});
  setCsrfToken("secret");
  chooseTenant("team-a");
  expect(identityHeaders("GET")).toEqual({ "X-Scope-OrgID": "team-a" });
  expect(identityHeaders("DELETE")).toEqual({
    "X-Scope-OrgID": "team-a",
    "X-CSRF-Token": "secret",
  });
  expect(identityHeaders("PATCH", true)).toEqual({ "X-CSRF-Token": "secret" });
});

test("a login is asked about afterwards, so that its token is known", async () => {
  const requests = answers([204, undefined], [200, session({})]);
  expect((await logIn("ada", "secret")).caller?.name).toBe("ada");
  expect(requests.map(({ url, method }) => `${method} ${url}`)).toEqual([
    "POST /v1/session",
    "GET /v1/session",
  ]);
  expect(requests[0]?.headers).toEqual({ "Content-Type": "application/json" });
  expect(identityHeaders("POST")).toEqual({ "X-CSRF-Token": "token" });
});

test("a tenant that was chosen is kept for those who may choose", async () => {
  chooseTenant("team-a");
  answers([200, session({})], [200, session({ all_tenants: false })]);
  await loadSession();
  expect(chosenTenant()).toBe("team-a");
  await loadSession();
  expect(chosenTenant()).toBeNull();
});

test("a refusal for want of a login is reported, a wrong password is not", async () => {
  const refused = { error: "unauthorized", code: "login_failed", message: "no" };
  const needed = vi.fn();
  const end = subscribeLoginNeeded(needed);
  answers([401, refused], [401, refused], [401, { status: "error", error: "log in" }]);
  await expect(logIn("ada", "x")).rejects.toMatchObject({ message: "no", kind: "login_failed" });
  await expect(changePassword("x", "y")).rejects.toThrow("no");
  expect(needed).not.toHaveBeenCalled();
  await expect(queryInstant("up", undefined)).rejects.toThrow("log in");
  expect(needed).toHaveBeenCalledOnce();
  end();
});

test("permissions say what is shown", () => {
  expect(may(session({}), "admin")).toBe(true);
  expect(may(session({ permissions: [] }), "admin")).toBe(false);
  expect(may(session(null), "admin")).toBe(false);
  expect(managesServer(session({}))).toBe(true);
  expect(managesServer(session({ all_tenants: false }))).toBe(false);
  expect(usableTenant(session({}), "default")).toBeNull();
});

describe("the login", () => {
  test.each([
    ["/explore", "?q=up", "/explore?q=up"],
    ["/login", "?error=oidc_denied", "/"],
  ])("at %s%s leads to %s", (pathname, search, expected) => {
    expect(wantedPath({ pathname, search })).toBe(expected);
  });

  test("at the provider comes back to the view", () => {
    expect(providerHref("/explore?q=a&b")).toBe("/v1/login/oidc?return_to=%2Fexplore%3Fq%3Da%26b");
  });

  test("tells why the provider's failed", () => {
    const at = (pathname: string, search: string) => providerError({ pathname, search });
    expect(at("/login", "?error=oidc_no_role")).toContain("no role");
    expect(at("/login", "?error=<b>")).toBe("The login did not succeed.");
    expect(at("/login", "")).toBeUndefined();
    expect(at("/explore", "?error=oidc_no_role")).toBeUndefined();
  });
});

test.each([
  ["localhost", false],
  ["tiny.localhost", false],
  ["127.0.0.1", false],
  ["[::1]", false],
  ["127.0.0.1.example.org", true],
  ["10.0.0.7", true],
])("without a login, %s is exposed: %s", (hostname, exposed) => {
  const open = session({ kind: "anonymous" });
  expect(openNotice(open, hostname)?.exposed).toBe(exposed);
  expect(openNotice(session({}), hostname)).toBeUndefined();
});
