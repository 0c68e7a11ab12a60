import type { Unit } from "./format";
import { type Labels, matchers } from "./names";

/** One query of a live panel and how its series are called. */
export interface PanelQuery {
  expr: string;
  /** A fixed name, or the label whose value is the name. */
  name: { text: string } | { label: string };
}

/** A chart of the overview. */
export interface Panel {
  id: string;
  title: string;
  unit: Unit;
  queries: PanelQuery[];
  stacked: boolean;
  yMin?: number;
  yMax?: number;
  /** Names in the order they are drawn; others follow by name. */
  order?: string[];
  /** The name of what is left over, drawn in the background's colour. */
  muted?: string;
  /** Takes two places where there is room. */
  wide?: boolean;
}

/** A number on top of the overview; `limit` makes it a bar from 0. */
export interface Stat {
  id: string;
  title: string;
  unit: Unit;
  expr: string;
  limit?: number;
}

/** What the queries of the overview depend on. */
export interface PanelScope {
  /** Labels of the host that is shown. */
  host: Labels;
  /** Milliseconds between two samples of the host. */
  intervalMs: number;
  stepMs: number;
}

/** The file systems that hold no data of people. */
const PSEUDO_FS =
  'fstype!~"tmpfs|devtmpfs|overlay|squashfs|ramfs|proc|sysfs|cgroup2?|efivarfs|fuse.*"';
/** Devices whose input and output is that of another device. */
const VIRTUAL_DISKS = 'device!~"loop.*|ram.*|zram.*|dm-.*|md.*|sr.*|fd.*"';

/** Returns the window of rates in PromQL: at least four samples, and no part of a step left out. */
export function rateWindow(intervalMs: number, stepMs: number): string {
  const needed = Math.max(5_000, 4 * intervalMs, stepMs);
  return `${Math.ceil(needed / 1_000)}s`;
}

function selector(metric: string, scope: Labels, extra = ""): string {
  const parts = [matchers(scope), extra].filter((part) => part !== "");
  return parts.length === 0 ? metric : `${metric}{${parts.join(",")}}`;
}

/** Returns the charts of a host, from node_exporter's series. */
export function hostPanels({ host, intervalMs, stepMs }: PanelScope): Panel[] {
  const window = rateWindow(intervalMs, stepMs);
  const on = (metric: string, extra = ""): string => selector(metric, host, extra);
  const rate = (metric: string, extra = ""): string => `rate(${on(metric, extra)}[${window}])`;
  return [
    {
      id: "cpu",
      title: "CPU",
      unit: "percent",
      wide: true,
      stacked: true,
      yMin: 0,
      yMax: 100,
      queries: [
        {
          expr: `100 * sum by (mode) (${rate("node_cpu_seconds_total", 'mode!="idle"')}) / scalar(count(${on("node_cpu_seconds_total", 'mode="idle"')}))`,
          name: { label: "mode" },
        },
      ],
      order: ["user", "system", "iowait", "irq", "softirq", "steal", "nice"],
    },
    {
      id: "memory",
      title: "Memory",
      unit: "bytes",
      stacked: true,
      muted: "free",
      yMin: 0,
      queries: [
        {
          expr: `${on("node_memory_MemTotal_bytes")} - ${on("node_memory_MemFree_bytes")} - ${on("node_memory_Cached_bytes")} - ${on("node_memory_Buffers_bytes")}`,
          name: { text: "used" },
        },
        { expr: on("node_memory_Buffers_bytes"), name: { text: "buffers" } },
        { expr: on("node_memory_Cached_bytes"), name: { text: "cache" } },
        { expr: on("node_memory_MemFree_bytes"), name: { text: "free" } },
      ],
    },
    {
      id: "load",
      title: "Load",
      unit: "short",
      stacked: false,
      yMin: 0,
      queries: [
        { expr: on("node_load1"), name: { text: "1 min" } },
        { expr: on("node_load5"), name: { text: "5 min" } },
        { expr: on("node_load15"), name: { text: "15 min" } },
      ],
    },
    {
      id: "network",
      title: "Network",
      unit: "bytes-per-second",
      stacked: false,
      yMin: 0,
      queries: [
        {
          expr: `sum(${rate("node_network_receive_bytes_total", 'device!="lo"')})`,
          name: { text: "received" },
        },
        {
          expr: `sum(${rate("node_network_transmit_bytes_total", 'device!="lo"')})`,
          name: { text: "sent" },
        },
      ],
    },
    {
      id: "disk",
      title: "Disk I/O",
      unit: "bytes-per-second",
      stacked: false,
      yMin: 0,
      queries: [
        {
          expr: `sum(${rate("node_disk_read_bytes_total", VIRTUAL_DISKS)})`,
          name: { text: "read" },
        },
        {
          expr: `sum(${rate("node_disk_written_bytes_total", VIRTUAL_DISKS)})`,
          name: { text: "written" },
        },
      ],
    },
    {
      id: "filesystems",
      title: "File systems, used",
      unit: "percent",
      stacked: false,
      yMin: 0,
      yMax: 100,
      queries: [
        {
          expr: `100 * (1 - max by (mountpoint) (${on("node_filesystem_avail_bytes", PSEUDO_FS)}) / max by (mountpoint) (${on("node_filesystem_size_bytes", PSEUDO_FS)}))`,
          name: { label: "mountpoint" },
        },
      ],
    },
    {
      id: "processes",
      title: "Processes",
      unit: "short",
      stacked: false,
      yMin: 0,
      queries: [
        { expr: on("node_procs_running"), name: { text: "running" } },
        { expr: on("node_procs_blocked"), name: { text: "blocked" } },
      ],
    },
    {
      id: "switches",
      title: "Context switches and interrupts",
      unit: "per-second",
      stacked: false,
      yMin: 0,
      queries: [
        { expr: rate("node_context_switches_total"), name: { text: "switches" } },
        { expr: rate("node_intr_total"), name: { text: "interrupts" } },
      ],
    },
  ];
}

/** Returns the numbers on top of the overview. */
export function hostStats({ host, intervalMs }: PanelScope): Stat[] {
  const window = rateWindow(intervalMs, 0);
  const on = (metric: string, extra = ""): string => selector(metric, host, extra);
  const idle = on("node_cpu_seconds_total", 'mode="idle"');
  return [
    {
      id: "cpu",
      title: "CPU",
      unit: "percent",
      expr: `100 * (1 - avg(rate(${idle}[${window}])))`,
      limit: 100,
    },
    {
      id: "memory",
      title: "Memory",
      unit: "percent",
      expr: `100 * (1 - ${on("node_memory_MemAvailable_bytes")} / ${on("node_memory_MemTotal_bytes")})`,
      limit: 100,
    },
    {
      id: "disk",
      title: "Fullest file system",
      unit: "percent",
      expr: `max(100 * (1 - ${on("node_filesystem_avail_bytes", PSEUDO_FS)} / ${on("node_filesystem_size_bytes", PSEUDO_FS)}))`,
      limit: 100,
    },
    {
      id: "load",
      title: "Load per core",
      unit: "short",
      expr: `sum(${on("node_load1")}) / count(${idle})`,
      limit: 1,
    },
    {
      id: "uptime",
      title: "Uptime",
      unit: "age",
      expr: `time() - ${on("node_boot_time_seconds")}`,
    },
  ];
}

/** Returns the numbers of TinyObs itself. */
export function serviceStats(): Stat[] {
  return [
    {
      id: "samples",
      title: "Samples stored",
      unit: "per-second",
      expr: "sum(rate(tinyobs_samples_appended_total[10s]))",
    },
    { id: "series", title: "Active series", unit: "short", expr: "sum(tinyobs_head_series)" },
    { id: "bytes", title: "On disk", unit: "bytes", expr: "sum(tinyobs_storage_bytes)" },
  ];
}

/** Returns the charts of TinyObs itself. */
export function servicePanels({ stepMs }: PanelScope): Panel[] {
  const window = rateWindow(1_000, stepMs);
  const own = '{job="tinyobs"}';
  return [
    {
      id: "samples",
      title: "Samples taken in",
      unit: "per-second",
      stacked: false,
      yMin: 0,
      queries: [
        {
          expr: `sum(rate(tinyobs_samples_appended_total[${window}]))`,
          name: { text: "stored" },
        },
        {
          expr: `sum(rate(tinyobs_samples_rejected_total[${window}]))`,
          name: { text: "refused" },
        },
      ],
    },
    {
      id: "series",
      title: "Active series",
      unit: "short",
      stacked: false,
      yMin: 0,
      queries: [{ expr: "sum(tinyobs_head_series)", name: { text: "series" } }],
    },
    {
      id: "service-memory",
      title: "Memory of TinyObs",
      unit: "bytes",
      stacked: false,
      yMin: 0,
      queries: [
        { expr: `sum(process_resident_memory_bytes${own})`, name: { text: "resident" } },
        { expr: "sum(tinyobs_head_bytes)", name: { text: "of it the head" } },
      ],
    },
    {
      id: "service-cpu",
      title: "CPU of TinyObs",
      unit: "percent",
      stacked: false,
      yMin: 0,
      queries: [
        {
          expr: `100 * sum(rate(process_cpu_seconds_total${own}[${window}]))`,
          name: { text: "of one core" },
        },
      ],
    },
    {
      id: "storage",
      title: "On disk",
      unit: "bytes",
      stacked: false,
      yMin: 0,
      queries: [{ expr: "sum(tinyobs_storage_bytes)", name: { text: "data" } }],
    },
    {
      id: "files",
      title: "Open files",
      unit: "short",
      stacked: false,
      yMin: 0,
      queries: [{ expr: `sum(process_open_fds${own})`, name: { text: "descriptors" } }],
    },
  ];
}
