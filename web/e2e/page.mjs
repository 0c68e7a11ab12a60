// Drives a running server with a real browser: npm run e2e.
//   BASE_URL   where the server is, http://127.0.0.1:8080 by default
//   ARTEFACTS  folder for the screenshots, ../artefacts by default
//   CHROMIUM   the browser, /usr/bin/chromium by default
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const BASE_URL = (process.env.BASE_URL ?? "http://127.0.0.1:8080").replace(/\/$/, "");
const ARTEFACTS = process.env.ARTEFACTS ?? "../artefacts";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUERY = "sum by (mode) (rate(node_cpu_seconds_total[10s]))";
/** A bound for each wait; all of them are far shorter when nothing is broken. */
const WAIT_MS = 30_000;

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

function check(condition, what) {
  if (!condition) throw new Error(what);
  console.log(`ok: ${what}`);
}

/** Collects what must not happen while the page is used. */
function watch(page) {
  const problems = [];
  const origin = new URL(BASE_URL).origin;
  const isElsewhere = (url) => {
    const { protocol, host } = new URL(url);
    return /^(https?|wss?):$/.test(protocol) && host !== new URL(origin).host;
  };
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`exception: ${error.message}`));
  page.on("request", (request) => {
    if (isElsewhere(request.url())) problems.push(`request left the host: ${request.url()}`);
  });
  page.on("websocket", (socket) => {
    if (isElsewhere(socket.url())) problems.push(`socket left the host: ${socket.url()}`);
  });
  return problems;
}

/** Waits until a chart has at least two points and coloured pixels, which axes and grid have not. */
async function drawn(page, selector) {
  await page.waitForFunction(
    (wanted) => {
      const chart = document.querySelector(wanted);
      const canvas = chart?.querySelector("canvas");
      const context = canvas?.getContext("2d");
      if (!context || Number(chart.dataset.points) < 2) return false;
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let coloured = 0;
      for (let index = 0; index < data.length; index += 4) {
        const [red, green, blue, alpha] = data.slice(index, index + 4);
        if (alpha > 60 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) {
          coloured += 1;
        }
      }
      return coloured > 20;
    },
    selector,
    { timeout: WAIT_MS, polling: 200 },
  );
}

function themeOf(page) {
  return page.evaluate(() => ({
    scheme: document.documentElement.getAttribute("data-mantine-color-scheme"),
    background: getComputedStyle(document.body).backgroundColor,
  }));
}

async function picture(page, name) {
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`) });
}

async function overview(page) {
  await page.goto(`${BASE_URL}/`);
  await drawn(page, 'section[aria-label="CPU"] [data-testid="chart"]');
  check(true, "the CPU chart of the overview is drawn");
  await page.getByTestId("stat-cpu").filter({ hasText: /\d/ }).waitFor({ timeout: WAIT_MS });
  check(true, "the CPU has a number");
  await picture(page, "overview-light");
}

async function explore(page) {
  await page.getByTestId("nav-explore").click();
  const editor = page.getByTestId("query-editor").locator(".cm-content");
  await editor.click({ timeout: WAIT_MS });
  const half = QUERY.lastIndexOf("[");
  await page.keyboard.type(QUERY.slice(0, half));
  await page.keyboard.press("Delete");
  await page.keyboard.press("Delete");
  await page.locator(".cm-lintRange-error").first().waitFor({ timeout: WAIT_MS });
  check(true, "a mistake is underlined while typing");
  await page.keyboard.type(QUERY.slice(half));
  await page.getByTestId("time-range").click();
  await page.getByRole("button", { name: "5m", exact: true }).click();
  await editor.click();
  await page.keyboard.press("Escape");
  const typed = await editor.innerText();
  check(typed.trim() === QUERY, "the editor shows the typed query");
  await page.getByTestId("run-query").click();
  await drawn(page, '.explore [data-testid="chart"]');
  check(true, "the query's chart is drawn");
  await picture(page, "explore-light");

  check(page.url().includes("q=sum"), "the address holds the query");
  await page.reload();
  await drawn(page, '.explore [data-testid="chart"]');
  check(true, "the address restores the view");

  await page.getByText("Table", { exact: true }).click();
  await page.waitForFunction(
    () => Number(document.querySelector('[data-testid="table"]')?.dataset.rows) > 0,
    undefined,
    { timeout: WAIT_MS },
  );
  check(true, "the table has rows");
  await page.getByText("Graph", { exact: true }).click();
}

async function theme(page) {
  const light = await themeOf(page);
  await page.getByTestId("theme-toggle").click();
  await page.getByTestId("theme-toggle").click();
  await page.waitForFunction(
    () => document.documentElement.getAttribute("data-mantine-color-scheme") === "dark",
    undefined,
    { timeout: WAIT_MS },
  );
  const dark = await themeOf(page);
  check(light.scheme === "light" && dark.scheme === "dark", "the theme switches to dark");
  check(light.background !== dark.background, "the background changes with the theme");
  await drawn(page, '.explore [data-testid="chart"]');
  await picture(page, "explore-dark");
  await page.reload();
  check((await themeOf(page)).scheme === "dark", "the theme is remembered");
  await page.getByTestId("nav-overview").click();
  await drawn(page, 'section[aria-label="CPU"] [data-testid="chart"]');
  await picture(page, "overview-dark");
}

async function small(page) {
  await page.setViewportSize({ width: 390, height: 844 });
  await drawn(page, 'section[aria-label="CPU"] [data-testid="chart"]');
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - window.innerWidth,
  );
  check(overflow <= 0, "nothing is wider than a small screen");
  await picture(page, "overview-small");
}

async function main() {
  mkdirSync(ARTEFACTS, { recursive: true });
  const profile = mkdtempSync(join(tmpdir(), "tinyobs-e2e-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: ARGUMENTS,
    viewport: { width: 1280, height: 900 },
    colorScheme: "light",
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const problems = watch(page);
  try {
    await overview(page);
    await explore(page);
    await theme(page);
    await small(page);
    check(problems.length === 0, "no request left the host, no error and no policy violation");
  } catch (error) {
    for (const problem of problems) console.error(problem);
    await picture(page, "failed").catch(() => undefined);
    throw error;
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(`failed: ${error.message}`);
  process.exitCode = 1;
});
