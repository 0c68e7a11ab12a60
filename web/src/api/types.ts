import type { Labels } from "../lib/names";
import type { components } from "./schema";

/** A sample on the wire: seconds since the epoch, and the value as text. */
export type WireSample = [number, string];

/** A native histogram on the wire. */
export interface WireHistogram {
  count: string;
  sum: string;
}

/** One series of a range query's answer. */
export interface MatrixSeries {
  metric: Labels;
  values?: WireSample[];
  histograms?: [number, WireHistogram][];
}

/** One series of an instant query's answer. */
export interface VectorSample {
  metric: Labels;
  value?: WireSample;
  histogram?: [number, WireHistogram];
}

/** The value of a query. */
export type QueryValue =
  | { resultType: "matrix"; result: MatrixSeries[] }
  | { resultType: "vector"; result: VectorSample[] }
  | { resultType: "scalar"; result: WireSample }
  | { resultType: "string"; result: WireSample };

/** A query's answer with what the server wants to be known about it. */
export interface QueryAnswer {
  value: QueryValue;
  warnings: string[];
  infos: string[];
  /** From sending the request to the end of its answer, as the browser sees it. */
  durationMs: number;
}

type Schemas = components["schemas"];

/** What is known about a metric. */
export type MetricMetadata = Schemas["Metadata"];

/** How the server is; a degraded one answers it with status 503. */
export type Health = Schemas["HealthAnswer"];

/** Who uses the page, as the server sees it. */
export type Principal = Schemas["CallerAnswer"];

/** Whether a login is needed, how to log in, and who is logged in. */
export type Session = Schemas["SessionAnswer"];

/** A setting that is in force; the value of a secret is not told. */
export type Setting = Schemas["SettingInForce"];

/** What reading the configuration again did. */
export type Reloaded = Schemas["Reloaded"];

/** Limits by name; null or nothing is the server's default. */
export type Limits = Record<string, number | null>;

/** An API key, without the key. */
export interface ApiKey {
  id: string;
  name: string;
  tenant: string;
  app: string | null;
  permissions: string[];
  all_tenants: boolean;
  created_at: string;
  created_by: string | null;
  expires_at: string | null;
  revoked_at: string | null;
  last_used_at: string | null;
  rotated_from: string | null;
  limits: Limits;
}

/** A new API key; the key itself is never told again. */
export interface CreatedKey extends ApiKey {
  key: string;
}

/** What an API key shall be. */
export interface NewKey {
  name: string;
  role?: string;
  permissions?: string[];
  app?: string;
  expires_at?: string;
  all_tenants?: boolean;
  limits?: Limits;
}

/** A person who can log in. */
export interface User {
  id: string;
  name: string;
  display_name: string;
  role: string;
  tenant: string;
  all_tenants: boolean;
  disabled: boolean;
  has_password: boolean;
  oidc_issuer: string | null;
  created_at: string;
  last_login_at: string | null;
}

/** What a user shall be. */
export interface NewUser {
  name: string;
  display_name: string;
  role: string;
  password: string;
  all_tenants: boolean;
}

/** What of a user changes. */
export type UserChange = Partial<Pick<User, "display_name" | "role" | "disabled" | "all_tenants">>;

/** A tenant: its data and people are apart from those of others. */
export interface Tenant {
  id: string;
  display_name: string;
  disabled: boolean;
  created_at: string;
  limits: Limits;
}

/** What of a tenant changes. */
export type TenantChange = Partial<Pick<Tenant, "display_name" | "disabled" | "limits">>;

/** What was used on one day of UTC. */
export interface UsageDay {
  day: string;
  samples: number;
  events: number;
  bytes: number;
  queries: number;
  samples_read: number;
  refused: number;
}

/** What a tenant used. */
export interface Usage {
  tenant: string;
  series: number;
  days: UsageDay[];
  limits: Limits;
}

/** One action in the audit log. */
export interface AuditEntry {
  id: string;
  at: string;
  tenant: string;
  actor: string;
  actor_name: string;
  action: string;
  target: string;
  outcome: string;
  address: string | null;
  request_id: string | null;
  detail: unknown;
}

/** A page of the audit log, the newest first. */
export interface AuditPage {
  entries: AuditEntry[];
  /** Where the next page begins; null at the end. */
  next: string | null;
}
