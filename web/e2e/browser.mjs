// What the tests in a browser share.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** Where the server is. */
export const BASE_URL = (process.env.BASE_URL ?? "http://127.0.0.1:8080").replace(/\/$/, "");
const ARTEFACTS = process.env.ARTEFACTS ?? "../artefacts";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** A bound for each wait; all of them are far shorter when nothing is broken. */
export const WAIT_MS = 30_000;

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Says what is as it should be, and fails where it is not. */
export function check(condition, what) {
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
export async function drawn(page, selector) {
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

/** Writes what is shown into the folder of artefacts. */
export async function picture(page, name) {
  await page.screenshot({ path: join(ARTEFACTS, `${name}.png`) });
}

/** Waits until the table, list or text of a test identifier is there. */
export async function shown(page, testId) {
  await page.getByTestId(testId).first().waitFor({ timeout: WAIT_MS });
}

/** Checks that nothing sticks out of the window. */
export async function fits(page, what) {
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - window.innerWidth,
  );
  check(overflow <= 0, `${what}: nothing is wider than the screen`);
}

/** Runs steps in a browser of its own, and fails where something happened that must not. */
export async function browse(steps) {
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
    for (const step of steps) await step(page, problems);
    check(problems.length === 0, "no request left the host, no error and no policy violation");
  } catch (error) {
    for (const problem of problems) console.error(problem);
    await picture(page, "failed").catch(() => undefined);
    console.error(`failed: ${error.message}`);
    process.exitCode = 1;
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
