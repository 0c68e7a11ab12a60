import { NativeSelect, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { queryInstant } from "../api/client";
import { measureClock } from "../api/clock";
import { LivePanel } from "../components/live-panel";
import { navigate, useSearch } from "../components/router";
import { StatTile } from "../components/stat-tile";
import { type Host, hostsOf } from "../lib/interval";
import { hostPanels, hostStats, servicePanels, serviceStats } from "../lib/live-panels";
import { chooseStep } from "../lib/step";
import { parseDuration } from "../lib/time";

const RANGES = ["5m", "15m", "1h", "6h", "24h"];
const RANGE_DEFAULT = "5m";
/** Points per series of a live chart: one per second in the shortest range. */
const POINTS = 320;
/** How often new hosts are looked for. */
const HOSTS_EVERY_MS = 5_000;
const CLOCK_EVERY_MS = 60_000;

/** Returns the host, where `known` stays the same object as long as nothing of it changes. */
function sameHost(a: Host | undefined, b: Host | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function useHosts() {
  return useQuery({
    queryKey: ["hosts"],
    queryFn: async ({ signal }) => {
      const { value } = await queryInstant("node_load1[1m]", undefined, signal);
      return hostsOf(value.resultType === "matrix" ? value.result : []);
    },
    refetchInterval: (query) => (query.state.data?.length ? HOSTS_EVERY_MS : 1_000),
  });
}

function useStable(host: Host | undefined): Host | undefined {
  const [stable, setStable] = useState(host);
  if (sameHost(stable, host)) return stable;
  setStable(host);
  return host;
}

/** The live view of one machine and of TinyObs itself. */
export function Overview(): React.JSX.Element {
  const search = new URLSearchParams(useSearch());
  const asked = search.get("range") ?? "";
  const range = RANGES.includes(asked) ? asked : RANGE_DEFAULT;
  const rangeMs = parseDuration(range) ?? 300_000;
  const stepMs = chooseStep(rangeMs, POINTS);
  const wanted = search.get("host");

  useQuery({
    queryKey: ["clock"],
    queryFn: ({ signal }) => measureClock(signal),
    refetchInterval: CLOCK_EVERY_MS,
  });
  const hosts = useHosts();
  const found = hosts.data?.find((host) => host.name === wanted) ?? hosts.data?.[0];
  const host = useStable(found);
  const scope = useMemo(() => {
    return { host: host?.labels ?? {}, intervalMs: host?.intervalMs ?? 1_000, stepMs };
  }, [host, stepMs]);
  const charts = useMemo(() => (host ? hostPanels(scope) : []), [host, scope]);
  const own = useMemo(() => servicePanels(scope), [scope]);
  const stats = host ? hostStats(scope) : [];

  const show = (name: string, value: string, usual: string): void => {
    const params = new URLSearchParams(window.location.search);
    if (value === usual) params.delete(name);
    else params.set(name, value);
    navigate(params.size > 0 ? `/?${params}` : "/", { replace: true });
  };
  const panelProps = { from: `now-${range}`, rangeMs, stepMs };
  const names = [...new Set(hosts.data?.map((each) => each.name) ?? [])];
  return (
    <div className="overview">
      <div className="bar">
        <h1 className="title">Overview</h1>
        {names.length > 1 ? (
          <NativeSelect
            aria-label="Host"
            size="xs"
            data={names}
            value={host?.name ?? ""}
            onChange={(event) => show("host", event.currentTarget.value, names[0] ?? "")}
          />
        ) : (
          <span className="subtle">{host?.name ?? ""}</span>
        )}
        <SegmentedControl
          className="bar-end"
          aria-label="Time range"
          size="xs"
          data={RANGES}
          value={range}
          onChange={(value) => show("range", value, RANGE_DEFAULT)}
        />
      </div>
      <div className="stats">
        {[...stats, ...serviceStats()].map((stat) => (
          <StatTile key={stat.id} stat={stat} />
        ))}
      </div>
      <h2 className="section">This machine</h2>
      {hosts.data && !host && (
        <p className="empty">
          No host metrics yet. The built-in collector sends them every second unless{" "}
          <code>collector.enabled</code> is <code>false</code>; metrics of a node_exporter show up
          here as well.
        </p>
      )}
      <div className="grid">
        {charts.map((panel) => (
          <LivePanel key={panel.id} panel={panel} {...panelProps} />
        ))}
      </div>
      <h2 className="section">TinyObs</h2>
      <div className="grid">
        {own.map((panel) => (
          <LivePanel key={panel.id} panel={panel} {...panelProps} />
        ))}
      </div>
    </div>
  );
}
