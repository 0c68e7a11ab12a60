// A stand-in for the server while working on the page: `npm run mock`, then `npm run dev`.
// It answers /api/v1 on 127.0.0.1:8080 with synthetic series; it does not evaluate PromQL, but makes
// lines whose number and size follow from the text of the query. Everything about people is in
// dev/mock-admin.mjs, about events in dev/mock-events.mjs. It also serves web/dist under the server's content security policy, so that
// violations show up early.
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { admin } from "./mock-admin.mjs";
import { events, tail } from "./mock-events.mjs";

const PORT = Number(process.env.PORT ?? 8080);
const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const STARTED = Date.now() / 1000 - Number(process.env.HISTORY_S ?? 7200);
const GIB = 2 ** 30;

const METRICS = {
  node_cpu_seconds_total: ["counter", "Seconds the CPUs spent in each mode."],
  node_load1: ["gauge", "1m load average."],
  node_memory_MemTotal_bytes: ["gauge", "Memory information field MemTotal_bytes."],
  node_memory_MemAvailable_bytes: ["gauge", "Memory information field MemAvailable_bytes."],
  node_network_receive_bytes_total: ["counter", "Network device statistic receive_bytes."],
  node_disk_read_bytes_total: ["counter", "The total number of bytes read successfully."],
  node_filesystem_avail_bytes: ["gauge", "Filesystem space available to non-root users."],
  process_resident_memory_bytes: ["gauge", "Resident memory size in bytes."],
  http_request_duration_seconds_bucket: ["histogram", "Duration of HTTP requests."],
  http_requests_total: ["counter", "Requests by code and method."],
  tinyobs_samples_appended_total: ["counter", "Samples accepted into the store."],
  tinyobs_head_series: ["gauge", "Series with recent samples."],
  tinyobs_storage_bytes: ["gauge", "Bytes of the data folder."],
  up: ["gauge", "Whether the last scrape of the target worked."],
};

function hash(text) {
  let value = 2166136261;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0), 16777619) >>> 0;
  return value / 2 ** 32;
}

function wave(seed, time) {
  const phase = hash(seed) * 100;
  const slow = Math.sin(time / 97 + phase) + 0.6 * Math.sin(time / 41 + phase * 2);
  const fast =
    Math.sin(time / 5.3 + phase * 3) * 0.35 + hash(`${seed}${Math.floor(time / 2)}`) * 0.5;
  return Math.max(0, 0.45 + 0.16 * slow + 0.14 * fast);
}

function seriesOf(expr) {
  const one = (low, high, labels = {}) => [
    { labels, value: (t) => low + (high - low) * wave(expr, t) },
  ];
  if (/sum by \(mode\)/.test(expr)) {
    const modes = {
      user: 34,
      system: 12,
      iowait: 5,
      irq: 0.2,
      softirq: 1.5,
      steal: 0.5,
      nice: 0.8,
    };
    return Object.entries(modes).map(([mode, size]) => ({
      labels: { mode },
      value: (t) => size * wave(mode, t),
    }));
  }
  if (/by \((app|event)\)/.test(expr)) {
    const [, label] = /by \((app|event)\)/.exec(expr);
    const names = label === "app" ? ["shop", "news", "bank"] : ["screen / view", "custom / done"];
    return names.map((name) => ({
      labels: { [label]: name },
      value: (t) => 400 * hash(name) * wave(name, t),
    }));
  }
  if (/by \(mountpoint\)/.test(expr)) {
    return ["/", "/boot/efi", "/work"].map((mountpoint) => ({
      labels: { mountpoint },
      value: (t) => 20 + 70 * hash(mountpoint) + wave(mountpoint, t / 60),
    }));
  }
  if (/MemTotal.*MemFree/.test(expr)) return one(5 * GIB, 6 * GIB);
  if (/^node_memory_Cached/.test(expr)) return one(7 * GIB, 7.4 * GIB);
  if (/^node_memory_Buffers/.test(expr)) return one(0.6 * GIB, 0.7 * GIB);
  if (/^node_memory_MemFree/.test(expr)) return one(10 * GIB, 10.6 * GIB);
  if (/^(max\()?100 \*/.test(expr)) return one(8, 70);
  if (/node_boot_time/.test(expr)) return [{ labels: {}, value: (t) => t - STARTED + 300000 }];
  if (/^node_load/.test(expr) || /node_load1/.test(expr))
    return one(0.3, 1.8, { instance: "devbox" });
  if (/node_procs_running/.test(expr))
    return [{ labels: {}, value: (t) => Math.round(4 * wave(expr, t)) }];
  if (/node_procs_blocked/.test(expr))
    return [{ labels: {}, value: (t) => Math.round(wave(expr, t)) }];
  if (/head_series/.test(expr)) return one(1180, 1220);
  if (/storage_bytes/.test(expr)) return [{ labels: {}, value: (t) => 4e6 + (t - STARTED) * 900 }];
  if (/samples_appended/.test(expr)) return one(1150, 1260);
  if (/fds/.test(expr)) return one(40, 48);
  if (/_bytes/.test(expr)) return one(2e5, 6e6, { instance: "devbox" });
  if (/context_switches|intr/.test(expr)) return one(2000, 9000);
  if (/none|absent_metric/.test(expr)) return [];
  const name = /[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(expr)?.[0] ?? "value";
  const count = /many/.test(expr) ? 400 : /up\b/.test(expr) ? 2 : 6;
  return Array.from({ length: count }, (_, index) => {
    const labels = {
      __name__: name,
      instance: `web-${index % 3}:9100`,
      job: "demo",
      path: `/p${index}`,
    };
    if (index === 1) labels.path = "<img src=x onerror=alert(1)>";
    return {
      labels,
      value: (t) =>
        index === 2 && t % 600 < 90 ? null : 10 * (index + 1) * wave(`${expr}${index}`, t),
    };
  });
}

function evaluate(expr, start, end, step) {
  return seriesOf(expr).map(({ labels, value }) => {
    const values = [];
    for (let t = start; t <= end + 1e-6; t += step) {
      if (t < STARTED) continue;
      const sample = value(t);
      if (sample !== null) values.push([t, String(sample)]);
    }
    return { metric: labels, values };
  });
}

function problem(expr) {
  const open = (expr.match(/\(/g) ?? []).length;
  const close = (expr.match(/\)/g) ?? []).length;
  if (expr.trim() === "")
    return 'invalid parameter "query": 1:1: parse error: no expression found in input';
  if (open !== close) {
    const line = expr.split("\n").length;
    return `invalid parameter "query": ${line}:${expr.split("\n").at(-1).length}: parse error: unclosed left parenthesis`;
  }
  return undefined;
}

function answerQuery(params, response) {
  const expr = params.get("query") ?? "";
  const mistake = problem(expr);
  if (mistake) return fail(response, 400, mistake);
  const now = Date.now() / 1000;
  if (/^time\(\)$/.test(expr))
    return ok(response, { resultType: "scalar", result: [now, String(now)] });
  if (/\[1m\]$/.test(expr)) {
    const hosts = process.env.HOSTS === "2" ? ["devbox", "db-1:9100"] : ["devbox"];
    const times = Array.from({ length: 30 }, (_, index) => [Math.floor(now) - 30 + index, "1"]);
    const result = hosts.map((instance) => {
      return { metric: { __name__: "node_load1", job: "tinyobs-host", instance }, values: times };
    });
    return ok(response, { resultType: "matrix", result });
  }
  const at = Number(params.get("time") ?? now);
  const result = evaluate(expr, at, at, 1).map(({ metric, values }) => ({
    metric,
    value: values[0],
  }));
  return ok(response, { resultType: "vector", result: result.filter((series) => series.value) });
}

function ok(response, data, extra = {}) {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ status: "success", data, ...extra }));
}

function fail(response, status, error) {
  response.statusCode = status;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ status: "error", errorType: "bad_data", error }));
}

function api(path, params, response) {
  if (path === "/api/v1/query") return answerQuery(params, response);
  if (path === "/api/v1/query_range") {
    const expr = params.get("query") ?? "";
    const mistake = problem(expr);
    if (mistake) return fail(response, 400, mistake);
    const [start, end, step] = ["start", "end", "step"].map((name) => Number(params.get(name)));
    const extra = /warn/.test(expr) ? { warnings: ["this answer may be incomplete"] } : {};
    return ok(response, { resultType: "matrix", result: evaluate(expr, start, end, step) }, extra);
  }
  if (path === "/api/v1/label/__name__/values") return ok(response, Object.keys(METRICS).sort());
  if (path === "/api/v1/labels")
    return ok(response, ["__name__", "instance", "job", "mode", "path"]);
  if (path.startsWith("/api/v1/label/")) return ok(response, ["devbox", "web-0:9100"]);
  if (path === "/api/v1/metadata") {
    const entries = Object.entries(METRICS).map(([name, [type, help]]) => [
      name,
      [{ type, help, unit: "" }],
    ]);
    return ok(response, Object.fromEntries(entries));
  }
  if (path === "/api/v1/series")
    return ok(response, [{ __name__: "up", job: "demo", instance: "web-0:9100" }]);
  if (path === "/api/v1/status/buildinfo") return ok(response, { version: "0.1.0-mock" });
  return fail(response, 404, `no route ${path}`);
}

const TYPES = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

function page(path, response) {
  const file = join(DIST, normalize(path));
  if (path !== "/" && extname(path) !== "" && file.startsWith(DIST) && existsSync(file)) {
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    return response.end(readFileSync(file));
  }
  if (extname(path) !== "" || !existsSync(join(DIST, "index.html"))) {
    response.statusCode = 404;
    return response.end("not found");
  }
  const nonce = randomBytes(16).toString("base64");
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self'",
    "connect-src 'self'",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  response.setHeader("Content-Security-Policy", policy.join("; "));
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  const html = readFileSync(join(DIST, "index.html"), "utf8");
  return response.end(html.replaceAll("__CSP_NONCE__", nonce));
}

createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://localhost");
  let body = "";
  request.on("data", (chunk) => {
    body += chunk;
  });
  request.on("end", () => {
    const isJson = request.headers["content-type"] === "application/json";
    const isForm = request.method === "POST" && !isJson;
    const params = new URLSearchParams(isForm ? body : url.search);
    const { method, headers } = request;
    const json = isJson ? JSON.parse(body) : {};
    const answer = /^\/(v1|api|-)\//.test(url.pathname)
      ? (admin({ method, path: url.pathname, params, headers, body: json }) ??
        events({ method, path: url.pathname, params }))
      : undefined;
    if (answer) {
      response.statusCode = answer[0];
      response.setHeader("Content-Type", "application/json");
      return response.end(answer[1] === undefined ? undefined : JSON.stringify(answer[1]));
    }
    if (url.pathname === "/v1/events/tail") return tail(params, response);
    if (url.pathname.startsWith("/api/") || url.pathname.startsWith("/v1/")) {
      return api(url.pathname, params, response);
    }
    return page(url.pathname, response);
  });
}).listen(PORT, "127.0.0.1", () => {
  process.stdout.write(`mock server on http://127.0.0.1:${PORT}\n`);
});
