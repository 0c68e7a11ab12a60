// Reports image pulls to a running server that asks nobody who they are, as agents do, and follows
// them with a real browser: npm run e2e:pulls. BASE_URL, ARTEFACTS, CHROMIUM as in page.mjs.
import { BASE_URL, browse, check, fits, picture, shown, WAIT_MS } from "./browser.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";
const MIB = 2 ** 20;
const GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
const WEB = "ghcr.io/team/web:2026.11";
const VIEWS = ["live", "history", "images", "nodes", "pods"];

const started = new Date().toISOString();
const sequences = new Map();

function digest(text) {
  return `sha256:${[...text].map((char) => char.charCodeAt(0).toString(16)).join("")}`.padEnd(
    71,
    "0",
  );
}

/** Reports all pulls of a node; what comes too soon after another report comes again. */
async function report(nodeName, pulls, fields = {}) {
  const sequence = (sequences.get(nodeName) ?? 0) + 1;
  sequences.set(nodeName, sequence);
  const body = JSON.stringify({
    nodeName,
    timestamp: new Date().toISOString(),
    pulls,
    agentVersion: "1.2.3",
    agentStarted: started,
    sequence,
    intervalMs: 600_000,
    runtime: "containerd 2.1.4",
    source: "containerd",
    ...fields,
  });
  const headers = { "Content-Type": "application/json" };
  const end = Date.now() + WAIT_MS;
  for (;;) {
    const answer = await fetch(`${BASE_URL}/api/v1/report`, { method: "POST", headers, body });
    if (answer.status === 200) return;
    if (answer.status !== 429 || Date.now() > end) {
      throw new Error(
        `a report of ${nodeName} is refused: ${answer.status} ${await answer.text()}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function layer(name, mib, phase, there = 1, fields = {}) {
  return {
    digest: digest(name),
    mediaType: GZIP,
    totalBytes: mib * MIB,
    downloadedBytes: phase === "cached" || phase === "waiting" ? 0 : Math.round(mib * MIB * there),
    totalKnown: true,
    phase,
    ...fields,
  };
}

function pull(id, imageRef, phase, layers, fields = {}) {
  const startedAt = started;
  const confidence = "certain";
  const known = { digest: digest(`index ${id}`), totalKnown: true, startedAt, confidence };
  return { id, imageRef, phase, layers, ...known, ...fields };
}

/** The web image: a layer is there, one is unpacked, one comes. */
function web(there) {
  return pull("web", WEB, "downloading", [
    layer("base", 20, "cached"),
    layer("runtime", 30, "unpacking"),
    layer("app", 50, "downloading", there, { mediaType: ZSTD }),
    layer("assets", 20, "waiting"),
  ]);
}

function webDone() {
  const layers = ["base", "runtime", "app", "assets"].map((name, index) =>
    layer(name, [20, 30, 50, 20][index], index === 0 ? "cached" : "done"),
  );
  return pull("web", WEB, "completed", layers, { endedAt: new Date().toISOString() });
}

/** An image of which only the repository is known. */
function spark(phase, fields = {}) {
  const name = "registry.example.com:5000/data/spark";
  return pull(
    "spark",
    name,
    phase,
    [layer("big", 400, phase === "failed" ? "failed" : "downloading", 0.4)],
    {
      confidence: "repository",
      candidates: [`${name}:3.4`, `${name}:3.5`],
      ...fields,
    },
  );
}

function row(page, text) {
  return page.getByTestId("pull").filter({ hasText: text });
}

async function seen(page, text, what) {
  await row(page, text).first().waitFor({ timeout: WAIT_MS });
  check(true, what ?? `a pull is shown: ${text}`);
}

async function looks(page, text, look) {
  const wanted = page.locator(`[data-testid="pull"][data-look="${look}"]`);
  await wanted.filter({ hasText: text }).first().waitFor({ timeout: WAIT_MS });
  check(true, `${text} is ${look}`);
}

async function sensible(page, what) {
  const text = await page.locator("body").innerText();
  check(
    !/NaN|undefined|Infinity|\[object/.test(text),
    `${what}: nothing is written that makes no sense`,
  );
}

async function nobody(page) {
  await page.goto(`${BASE_URL}/`);
  await page.getByTestId("nav-pulls").click();
  const example = page.getByTestId("no-agent");
  await example.waitFor({ timeout: WAIT_MS });
  const text = await example.innerText();
  check(text.includes(`tinyobs-agent --server ${BASE_URL}`), "it says how to start an agent");
  await picture(page, "pulls-empty");
  await page.getByTestId("pulls-pods").click();
  await shown(page, "kubernetes-off");
  check(true, "it says that Kubernetes is not connected");
  await page.getByTestId("pulls-nodes").click();
  await shown(page, "no-agent");
  await page.getByTestId("pulls-live").click();
  await page.waitForURL((url) => url.pathname === "/pulls");
}

async function follow(page) {
  await page
    .locator('[data-testid="pulls-state"][data-state="live"]')
    .waitFor({ timeout: WAIT_MS });
  await report("worker-1", [web(0.1)], { cluster: "edge" });
  await seen(page, "team/web", "a pull shows up while the page is open");
  await looks(page, "team/web", "downloading");
  const first = await row(page, "team/web").innerText();
  check(/ghcr\.io\/\s*team\/web\s*:2026\.11/.test(first), "the name is shown in its parts");
  check(first.includes("worker-1") && first.includes("edge"), "node and cluster are shown");
  check(first.includes("1 of 4 layers already present"), "the cached layer is shown");
  check(first.includes("35 %"), `35 of 100 MiB are there: ${first}`);
  await report("worker-2", [spark("downloading")]);
  await seen(page, "repository known, tag not", "what is not known of a name is said");
  await report("worker-3", [pull("x", MARKUP, "resolving", [], { totalKnown: false })]);
  await seen(page, MARKUP);
  check((await page.locator("#content img").count()) === 0, "names are no markup");
  const tile = page.getByTestId("tile-active").filter({ hasText: "3" });
  await tile.waitFor({ timeout: WAIT_MS });
  check(true, "the active pulls are counted");
}

async function open(page) {
  const button = row(page, "team/web").getByRole("button").first();
  const expanded = () => button.getAttribute("aria-expanded");
  check((await expanded()) === "false", "a row is closed at first");
  await button.focus();
  await page.keyboard.press("Enter");
  check((await expanded()) === "true", "Enter opens a row");
  await page.keyboard.press("Space");
  check((await expanded()) === "false", "the space bar closes it");
  await row(page, "team/web").locator(".pull-progress").click();
  check((await expanded()) === "true", "a click opens it, too");
  const layers = row(page, "team/web").getByTestId("layer");
  const short = ["base", "runtime", "app", "assets"].map((name) => digest(name).slice(7, 19));
  const texts = await layers.allInnerTexts();
  check(texts.length === 4, "all layers are listed");
  const ordered = texts.every((text, index) => text.includes(short[index]));
  check(ordered, "layers are in the order of the manifest, with bare digests");
  const words = ["already present", "unpacking", "zstd", "waiting"];
  check(
    words.every((word, index) => texts[index].includes(word)),
    "phases and media types are words",
  );
  await sensible(page, "an opened row");
  await picture(page, "pulls-light");
}

async function progress(page) {
  await report("worker-1", [web(0.5)], { cluster: "edge" });
  await row(page, "team/web").filter({ hasText: "55 %" }).waitFor({ timeout: WAIT_MS });
  const button = row(page, "team/web").getByRole("button").first();
  check(
    (await button.getAttribute("aria-expanded")) === "true",
    "a row stays open while it goes on",
  );
  const total = page.getByTestId("throughput");
  await total.filter({ hasText: /[KM]iB\/s/ }).waitFor({ timeout: WAIT_MS });
  check(true, "the throughput is summed up");
  await report("worker-1", [webDone()], { cluster: "edge" });
  await looks(page, "team/web", "completed");
  const done = await row(page, "team/web").innerText();
  check(done.includes("100 %"), "a pull is whole once it is there");
  const last = page.getByTestId("pull").last();
  check((await last.innerText()).includes("team/web"), "pulls that go on come first");
}

async function fail(page) {
  const error = `unexpected status 503 from https://registry.example.com ${MARKUP}`;
  await report("worker-2", [spark("failed", { error, endedAt: new Date().toISOString() })]);
  await looks(page, "data/spark", "failed");
  await row(page, "data/spark").getByRole("button").first().click();
  const failure = page.getByTestId("pull-failure");
  await failure.filter({ hasText: error }).waitFor({ timeout: WAIT_MS });
  check((await page.locator("#content img").count()) === 0, "errors are text");
  await page.getByTestId("tile-failed").filter({ hasText: "1" }).waitFor({ timeout: WAIT_MS });
  const text = await row(page, "data/spark").innerText();
  check(text.includes("40 %") && !text.includes("100 %"), "a failed pull is not whole");
  await picture(page, "pulls-failed");
}

async function filter(page) {
  await page.getByLabel("Image").fill("TEAM/w");
  await page.waitForURL((url) => url.search === "?image=TEAM%2Fw", { timeout: WAIT_MS });
  await row(page, "data/spark").waitFor({ state: "detached", timeout: WAIT_MS });
  await seen(page, "team/web", "a part of the name finds it");
  await page.reload();
  await seen(page, "team/web");
  check((await page.getByTestId("pull").count()) === 1, "the address holds the filter");
  await page.getByRole("button", { name: "Show all" }).click();
  await seen(page, "data/spark");
  await page.getByTestId("tile-failed").click();
  await page.waitForURL((url) => url.search === "?state=failed", { timeout: WAIT_MS });
  await row(page, "team/web").waitFor({ state: "detached", timeout: WAIT_MS });
  await page.getByLabel("Node").fill("nowhere");
  await page.getByText("No pull fits the filter").waitFor({ timeout: WAIT_MS });
  check(true, "it says that nothing fits");
  await page.getByRole("button", { name: "Show all" }).click();
}

async function one(page) {
  await row(page, "team/web").getByRole("button").first().click();
  await row(page, "team/web").getByTestId("pull-link").click();
  await page.waitForURL((url) => /^\/pulls\/[0-9a-f]{32}$/.test(url.pathname), {
    timeout: WAIT_MS,
  });
  await page.reload();
  await page.getByTestId("one-pull").filter({ hasText: "team/web" }).waitFor({ timeout: WAIT_MS });
  check((await page.getByTestId("layer").count()) === 4, "a pull has an address of its own");
  await picture(page, "pull-light");
}

async function history(page) {
  await page.getByTestId("pulls-history").click();
  await seen(page, "team/web", "the history has what ended");
  await page.getByLabel("State").selectOption("failed");
  await row(page, "team/web").waitFor({ state: "detached", timeout: WAIT_MS });
  await seen(page, "data/spark", "the history is filtered by state");
  await page.getByText("that is all").waitFor({ timeout: WAIT_MS });
  await picture(page, "pulls-history-light");
}

async function others(page) {
  await report("worker-4", [web(0.2)]);
  await report("worker-5", [], { error: "the socket is not there", source: "content-folder" });
  await page.getByTestId("pulls-images").click();
  const image = page.getByTestId("image").filter({ hasText: "team/web" });
  await image.filter({ hasText: "1 of 2 nodes" }).waitFor({ timeout: WAIT_MS });
  check(true, "an image is shown over all nodes");
  await picture(page, "pulls-images-light");
  await page.getByTestId("pulls-nodes").click();
  const node = page.getByTestId("node");
  await node.filter({ hasText: "worker-1" }).filter({ hasText: "containerd 2.1.4" }).waitFor();
  await report("worker-6", [web(0.3)], { intervalMs: 100 });
  const silent = page.locator('[data-testid="node"][data-state="silent"]');
  await silent.filter({ hasText: "Agent offline since 20" }).waitFor({ timeout: WAIT_MS });
  check(true, "it says since when an agent is silent");
  const failing = page.locator('[data-testid="node"][data-state="failing"]');
  await failing.filter({ hasText: "the socket is not there" }).waitFor({ timeout: WAIT_MS });
  check((await node.first().innerText()).includes("worker-6"), "nodes that need a look are first");
  await sensible(page, "nodes");
  await picture(page, "pulls-nodes-light");
  await page.getByTestId("pulls-live").click();
  await page
    .getByTestId("agents")
    .filter({ hasText: "1 cannot look" })
    .waitFor({ timeout: WAIT_MS });
  await looks(page, "worker-6", "unknown");
}

async function poll(page, problems) {
  check(problems.length === 0, "nothing was refused so far");
  const full = { code: "overloaded", message: "too many connections" };
  const refuse = (route) => route.fulfill({ status: 503, json: full });
  await page.route("**/api/v1/events", refuse);
  await page.reload();
  await page
    .locator('[data-testid="pulls-state"][data-state="polling"]')
    .waitFor({ timeout: WAIT_MS });
  await report("worker-4", [web(0.7)]);
  await row(page, "worker-4").filter({ hasText: "65 %" }).waitFor({ timeout: WAIT_MS });
  check(true, "without room for a stream the page asks again and again");
  await page.unroute("**/api/v1/events", refuse);
  await page
    .locator('[data-testid="pulls-state"][data-state="live"]')
    .waitFor({ timeout: WAIT_MS });
  await seen(page, "worker-4", "it follows the stream once there is room");
  // The browser itself reports what was refused.
  const refused = problems.filter((problem) => problem.includes("status of 503"));
  check(refused.length === problems.length, "only the stream was refused");
  problems.length = 0;
}

async function darkAndSmall(page) {
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await row(page, "worker-4").getByRole("button").first().click();
  await shown(page, "layer");
  const animation = await page
    .locator('.pull-state[data-look="downloading"] .pull-dot')
    .first()
    .evaluate((dot) => getComputedStyle(dot).animationName);
  check(animation === "none", "nothing moves where that is not wanted");
  await picture(page, "pulls-dark");
  await page.setViewportSize({ width: 360, height: 800 });
  for (const view of VIEWS) {
    await page.getByTestId(`pulls-${view}`).click();
    await page.waitForURL(
      (url) => url.pathname === (view === "live" ? "/pulls" : `/pulls/${view}`),
    );
    await page.locator("#content .empty", { hasText: "Loading" }).waitFor({ state: "detached" });
    await fits(page, view);
    await picture(page, `pulls-${view}-small`);
  }
  await page.getByTestId("pulls-live").click();
  await row(page, "worker-4").getByRole("button").first().click();
  await shown(page, "layer");
  await fits(page, "an opened row");
  await sensible(page, "a small page");
}

await browse([
  nobody,
  follow,
  open,
  progress,
  fail,
  filter,
  one,
  history,
  others,
  poll,
  darkAndSmall,
]);
