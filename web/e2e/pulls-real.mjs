// Watches pulls of a real containerd in a real browser: npm run e2e:pulls-real. Whoever starts it holds the pull of
// IMAGE until it reads "half" on its standard output. BASE_URL, ARTEFACTS, CHROMIUM as in page.mjs.
import { BASE_URL, browse, check, picture, WAIT_MS } from "./browser.mjs";

const { IMAGE, PULL_NODE } = process.env;

function row(page, look) {
  const [repository] = IMAGE.split("/").slice(1).join("/").split(":");
  return page.locator(`[data-testid="pull"][data-look="${look}"]`).filter({ hasText: repository });
}

async function watch(page) {
  await page.goto(`${BASE_URL}/pulls`);
  const live = row(page, "downloading");
  await live.waitFor({ timeout: WAIT_MS });
  const text = await live.innerText();
  check(text.includes(PULL_NODE), "the node is shown");
  await live.getByRole("button").first().click();
  const layers = live.getByTestId("layer");
  await layers.nth(1).waitFor({ timeout: WAIT_MS });
  check((await layers.count()) === 2, "both layers are listed before they are there");
  await picture(page, "pulls-real");
  console.log("half");
  const done = row(page, "completed");
  await done.waitFor({ timeout: WAIT_MS });
  const tag = IMAGE.slice(IMAGE.lastIndexOf(":"));
  await done.filter({ hasText: tag }).waitFor({ timeout: WAIT_MS });
  check(true, "it is completed, and has its whole name");
  check(/NaN|undefined/.test(await page.locator("body").innerText()) === false, "nothing is NaN");
}

await browse([watch]);
