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

/** Limits by name; what is left out is as the server's configuration says. */
export type Limits = Schemas["TenantLimitsShape"];

/** An API key, without the key. */
export type ApiKey = Schemas["Key"];

/** A new API key; the key itself is never told again. */
export type CreatedKey = Schemas["NewKeyAnswer"];

/** What an API key shall be. */
export type NewKey = Schemas["KeyRequest"];

/** A person who can log in. */
export type User = Schemas["User"];

/** What a user shall be. */
export type NewUser = Schemas["UserRequest"];

/** What of a user changes. */
export type UserChange = Schemas["UserChangeRequest"];

/** A tenant: its data and people are apart from those of others. */
export type Tenant = Schemas["Tenant"];

/** What a tenant shall be. */
export type NewTenant = Schemas["TenantRequest"];

/** What of a tenant changes. */
export type TenantChange = Schemas["TenantChangeRequest"];

/** What was used on one day of UTC, by kind; the schema cannot say that the day itself is text. */
export type UsageDay = { day: string } & Record<string, number | string>;

/** What a tenant used. */
export type Usage = Omit<Schemas["Usage"], "days"> & { days: UsageDay[] };

/** One action in the audit log. */
export type AuditEntry = Schemas["Entry"];

/** A page of the audit log, the newest first. */
export type AuditPage = Schemas["Entries"];

/** An event in protobuf's JSON: names in camelCase, 64-bit integers as text. */
export type EventJson = Record<string, unknown>;

/** An event in the log, with what was found out about it when it arrived. */
export type TailEvent = Schemas["TailItem"];

/** How the event log is, what became of events, and how many dead letters there are. */
export type EventsStatus = Schemas["EventsStatus"];

/** What a consumer gave up on. */
export type DeadLetter = Schemas["Letter"];

/** A dead letter with all of its bytes. */
export type DeadLetterInFull = Schemas["WholeLetter"];

/** How many dead letters a consumer has. */
export type DeadLetterDepth = Schemas["Depth"];

/** A page of dead letters, the newest first. */
export type DeadLetterPage = Schemas["Letters"];

/** What became at once of a dead letter that was sent back. */
export type Replayed = Schemas["Replayed"];

/** A layer of a pull on the wire. */
export type WireLayer = Schemas["LayerStatus"];

/** A container that waits for an image, on the wire. */
export type WirePod = Schemas["PodCorrelation"];

/** A pull on the wire. */
export type WirePull = Schemas["PullStatus"];

/** All pulls of now, on the wire. */
export type WirePulls = Schemas["PullList"];

/** A page of pulls on the wire, the newest first. */
export type WirePullPage = Schemas["PullPage"];

/** What happened to a pull, on the wire. */
export type WirePullEvent = Schemas["PullEvent"];

/** An image over all nodes. */
export type ImagePulls = Schemas["ImageStatus"];

/** All images. */
export type ImageList = Schemas["ImageList"];

/** A node whose agent has reported. */
export type PullNode = Schemas["NodeStatus"];

/** All nodes. */
export type PullNodeList = Schemas["NodeList"];

/** A container of a pod, and what it waits for. */
export type PodContainer = Schemas["ContainerStatus"];

/** A pod that waits. */
export type WaitingPod = Schemas["PodStatus"];

/** Whether the pods of a cluster are followed. */
export type ClusterConnection = Schemas["ClusterStatus"];

/** The pods that wait, and how their clusters are followed. */
export type WaitingPods = Schemas["PodList"];
