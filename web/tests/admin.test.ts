import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Setting } from "../src/api/types";
import { auditParams, decodeAudit, detailLines, encodeAudit } from "../src/lib/audit";
import { expiresAt, keyState, PERMISSIONS, permissionsName } from "../src/lib/keys";
import {
  defaultLimit,
  defaultText,
  limitCount,
  limitProblem,
  limitsOf,
  limitsReady,
  limitTexts,
  parseAmount,
  TENANT_LIMITS,
} from "../src/lib/limits";
import { findSettings, isChanged, isSecret, settingText } from "../src/lib/settings";
import { formatDistance } from "../src/lib/time";
import { dayOf, daySeconds, everyDay, shares } from "../src/lib/usage";
import { PASSWORD_CHARS_MAX, passwordProblem } from "../src/lib/users";
import { ADMIN_SECTIONS, adminSection, isBelow, viewTitle } from "../src/lib/views";

const DAY_MS = 86_400_000;
const NOW = Date.parse("2026-11-21T12:00:00Z");

describe("limits", () => {
  test.each([
    ["5000", 5_000],
    ["5 000", 5_000],
    ["1_000_000", 1_000_000],
    ["1.5M", 1_500_000],
    ["1.1k", 1_100],
    ["2 G", 2e9],
    ["0.5", 0.5],
    ["", undefined],
    ["many", undefined],
    ["-1", undefined],
    ["1e9", undefined],
    ["1,5", undefined],
    ["1.5 000", undefined],
  ])("%j is the amount %s", (text, expected) => {
    expect(parseAmount(text)).toBe(expected);
  });

  test.each([
    ["requests_per_second", "0.5", undefined],
    ["series_max", "", undefined],
    ["series_max", "10k", undefined],
    ["series_max", "0.5", "a whole number"],
    ["series_max", "0", "more than 0; leave it empty for the server's default"],
    ["series_max", "x", "write a number such as 5000 or 1.5M"],
    ["series_max", "99999999T", "less than that"],
  ])("%s of %j has the problem %s", (key, text, expected) => {
    const field = TENANT_LIMITS.find((each) => each.key === key);
    expect(field && limitProblem(field, text)).toBe(expected);
    expect(limitsReady(TENANT_LIMITS, { [key]: text })).toBe(expected === undefined);
  });

  test("come back from a form as they went in; what is empty is the default", () => {
    const limits = { series_max: 1_000, requests_per_second: 2.5, samples_burst: null };
    const texts = limitTexts(TENANT_LIMITS, limits);
    const back = limitsOf(TENANT_LIMITS, texts);
    expect(back).toMatchObject(limits);
    expect(Object.keys(back)).toEqual(TENANT_LIMITS.map(({ key }) => key));
    expect(limitCount(back)).toBe(2);
  });
});

test.each([
  ["tenant", "requests_per_second", "default: 100", 100],
  ["tenant", "queries_concurrent_max", "default: no limit", null],
  ["tenant", "series_max", "default: 1000", 1_000],
  ["tenant", "events_per_second", "server's default", null],
  ["key", "requests_per_second", "default: no limit", 100],
] as const)("an empty limit of a %s, %s, says %s", (scope, key, text, limit) => {
  const values = {
    "limits.tenant.requests_per_second": "100",
    "limits.tenant.queries_concurrent": "0",
    "limits.key.requests_per_second": "0",
    "metrics.limits.series": "1000",
  };
  const settings = Object.entries(values).map(([path, value]) => {
    return { path, value, origin: "default", reloadable: true };
  });
  expect(defaultText(scope, key, settings)).toBe(text);
  expect(defaultLimit(key, settings)).toBe(limit);
});

describe("keys", () => {
  test.each([
    [null, null, "active"],
    [null, "2027-11-21T12:00:00Z", "active"],
    [null, "2026-11-27T12:00:00Z", "expiring"],
    [null, "2026-11-21T12:00:00Z", "expired"],
    ["2026-11-20T12:00:00Z", null, "revoked"],
  ])("revoked at %s, expiring at %s, is %s", (revoked_at, expires_at, expected) => {
    expect(keyState({ revoked_at, expires_at }, NOW)).toBe(expected);
  });

  test("are called by the role that allows the same", () => {
    expect(permissionsName([...PERMISSIONS].reverse())).toBe("admin");
    expect(permissionsName(["events:write", "metrics:write"])).toBe("ingest");
    expect(permissionsName(["metrics:read"])).toBe("metrics:read");
  });

  test("last for the chosen days", () => {
    expect(expiresAt(0, NOW)).toBeUndefined();
    expect(expiresAt(7, NOW)).toBe("2026-11-28T12:00:00.000Z");
  });
});

describe("usage", () => {
  const known = { day: "2026-11-20", samples: 5, bytes_in: 9 };

  test("has every day up to today, the oldest first", () => {
    expect(everyDay([known], 3, NOW)).toEqual([
      { day: "2026-11-19" },
      known,
      { day: "2026-11-21" },
    ]);
  });

  test("lies on the axis at the days of the browser", () => {
    const date = new Date(daySeconds("2026-11-20") * 1_000);
    expect([date.getFullYear(), date.getMonth(), date.getDate(), date.getHours()]).toEqual([
      2026, 10, 20, 0,
    ]);
    expect(dayOf(NOW)).toBe("2026-11-21");
  });

  test("is held against the limits that there are", () => {
    const limits = { series_max: 10, samples_per_day_max: null };
    const usage = { tenant: "default", series: 7, storage_bytes: 3, days: [], limits };
    const settings: Setting[] = [
      { path: "limits.tenant.bytes_per_day", value: "20", origin: "default", reloadable: true },
      { path: "metrics.limits.series", value: "99", origin: "default", reloadable: true },
    ];
    expect(
      shares(usage, known, settings).map(({ title, used, limit }) => [title, used, limit]),
    ).toEqual([
      ["Active series", 7, 10],
      ["Samples today", 5, null],
      ["Events today", 0, null],
      ["Bytes sent today", 9, 20],
      ["On disk", 3, null],
    ]);
  });
});

describe("the audit log", () => {
  test("gives back every filter from the address", () => {
    const text = fc.string({ maxLength: 12 }).map((value) => value.trim());
    const filter = fc.record({
      actor: text,
      action: text,
      since: fc.constantFrom("", "now-1d", "2026-11-21 10:00"),
      until: fc.constantFrom("", "now", "1700000000000"),
    });
    fc.assert(
      fc.property(filter, (each) => {
        expect(decodeAudit(`?${encodeAudit(each)}`)).toEqual(each);
      }),
    );
  });

  test("is asked for in the server's words", () => {
    const filter = { actor: "", action: "key.create", since: "now-1d", until: "" };
    expect(auditParams(filter, "c1", NOW)).toEqual({
      limit: "100",
      action: "key.create",
      since: "2026-11-20T12:00:00.000Z",
      cursor: "c1",
    });
    expect(decodeAudit("?since=soon&until=now").since).toBe("");
  });

  test.each([
    [null, []],
    [{}, []],
    ["text", [["detail", "text"]]],
    [
      { name: "ci", permissions: ["a"], n: 1 },
      [
        ["name", "ci"],
        ["permissions", '["a"]'],
        ["n", "1"],
      ],
    ],
  ])("tells the details %j", (detail, expected) => {
    expect(detailLines(detail)).toEqual(expected);
  });
});

describe("settings", () => {
  const setting = (path: string, value: string | null, origin = "default"): Setting => {
    return { path, value, origin, reloadable: false };
  };
  const all = [
    setting("log.level", "info"),
    setting("auth.bootstrap_admin_key", null, "environment X"),
    setting("scrape.targets", '["a"]', "tinyobs.yaml"),
    setting("server.tls.certificate", ""),
  ];

  test("are shown as they are, secrets are not", () => {
    expect(all.map(settingText)).toEqual(["info", "hidden", '["a"]', "empty"]);
    expect(all.map(isSecret)).toEqual([false, true, false, false]);
    expect(all.map(isChanged)).toEqual([false, true, true, false]);
  });

  test.each([
    ["", 4],
    ["LOG info", 1],
    ["yaml", 1],
    ["default", 2],
    ["nothing", 0],
  ])("%j finds %i", (search, count) => {
    expect(findSettings(all, search)).toHaveLength(count);
  });
});

test("passwords are as long as the server wants them", () => {
  expect(passwordProblem("1234567")).toBe("at least 8 characters");
  expect(passwordProblem("12345678")).toBeUndefined();
  expect(passwordProblem("🔑".repeat(8))).toBeUndefined();
  expect(passwordProblem("x".repeat(PASSWORD_CHARS_MAX + 1))).toBe("at most 256 characters");
});

test.each([
  [0, "now"],
  [59_000, "now"],
  [3 * 3_600_000, "3h ago"],
  [-2 * DAY_MS, "in 2d"],
  [800 * DAY_MS, "2y ago"],
])("a time %i ms back is %s", (away, expected) => {
  expect(formatDistance(NOW - away, NOW)).toBe(expected);
});

test("views are found by their addresses", () => {
  expect(adminSection("/admin/usage", ADMIN_SECTIONS)?.id).toBe("usage");
  expect(adminSection("/admin", ADMIN_SECTIONS)?.id).toBe("keys");
  expect(adminSection("/admin/nothing", ADMIN_SECTIONS)?.id).toBe("keys");
  expect(isBelow("/administration", "/admin")).toBe(false);
  expect(viewTitle("/admin/audit")).toBe("Audit log · TinyObs");
  expect(viewTitle("/")).toBe("Overview · TinyObs");
});
