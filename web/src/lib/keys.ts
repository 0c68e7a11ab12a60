import type { ApiKey } from "../api/types";

/** What can be allowed, in the server's order. */
export const PERMISSIONS = [
  "metrics:read",
  "metrics:write",
  "events:read",
  "events:write",
  "pulls:read",
  "pulls:write",
  "rules:write",
  "admin",
];

const ROLE_PERMISSIONS: [string, string[]][] = [
  ["admin", PERMISSIONS],
  [
    "editor",
    ["metrics:read", "metrics:write", "events:read", "events:write", "pulls:read", "rules:write"],
  ],
  ["viewer", ["metrics:read", "events:read", "pulls:read"]],
  ["ingest", ["metrics:write", "events:write"]],
  ["agent", ["pulls:write"]],
];

/** Returns the name of a set of permissions: its role, or the permissions themselves. */
export function permissionsName(permissions: string[]): string {
  const sorted = [...permissions].sort().join();
  const role = ROLE_PERMISSIONS.find(([, allowed]) => [...allowed].sort().join() === sorted);
  return role ? role[0] : permissions.join(", ");
}

/** Whether a key can be used. */
export type KeyState = "active" | "expiring" | "expired" | "revoked";

/** A key that ends within this time is marked. */
const EXPIRING_MS = 7 * 86_400_000;

/** Returns whether a key can be used at a time. */
export function keyState(key: Pick<ApiKey, "revoked_at" | "expires_at">, nowMs: number): KeyState {
  if (typeof key.revoked_at === "string") return "revoked";
  if (typeof key.expires_at !== "string") return "active";
  const left = Date.parse(key.expires_at) - nowMs;
  if (left <= 0) return "expired";
  return left <= EXPIRING_MS ? "expiring" : "active";
}

/** How long a new key may last, in days; 0 for ever. */
export const EXPIRY_CHOICES: { value: string; label: string }[] = [
  { value: "0", label: "Never" },
  { value: "7", label: "In 7 days" },
  { value: "30", label: "In 30 days" },
  { value: "90", label: "In 90 days" },
  { value: "365", label: "In a year" },
];

/** Returns when a key ends that is made now, or undefined for never. */
export function expiresAt(days: number, nowMs: number): string | undefined {
  return days > 0 ? new Date(nowMs + days * 86_400_000).toISOString() : undefined;
}

/** How long a rotated key stays valid beside the new one. */
export const OVERLAP_CHOICES: { value: string; label: string }[] = [
  { value: "0s", label: "Ends at once" },
  { value: "1h", label: "One hour" },
  { value: "24h", label: "One day" },
  { value: "168h", label: "One week" },
];
export const OVERLAP_DEFAULT = "24h";
