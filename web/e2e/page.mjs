// Drives a running server with a real browser: npm run e2e.
//   BASE_URL   where the server is, http://127.0.0.1:8080 by default
//   ARTEFACTS  folder for the screenshots, ../artefacts by default
//   CHROMIUM   the browser, /usr/bin/chromium by default
import { BASE_URL, browse, check, drawn, fits, picture, WAIT_MS } from "./browser.mjs";

const QUERY = "sum by (mode) (rate(node_cpu_seconds_total[10s]))";

function themeOf(page) {
  return page.evaluate(() => ({
    scheme: document.documentElement.getAttribute("data-mantine-color-scheme"),
    background: getComputedStyle(document.body).backgroundColor,
  }));
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

async function constant(page) {
  await page.goto(`${BASE_URL}/explore?q=${encodeURIComponent("vector(1)")}&from=now-5m&to=now`);
  await drawn(page, '.explore [data-testid="chart"]');
  check(true, "a series that never changes is drawn");
  await page.goBack();
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
  await fits(page, "overview");
  await picture(page, "overview-small");
}

await browse([overview, explore, constant, theme, small]);
