// Sends events to a running server that asks nobody who they are, and follows them with a real
// browser: npm run e2e:events. BASE_URL, ARTEFACTS, CHROMIUM as in page.mjs.
import { BASE_URL, browse, check, drawn, fits, picture, shown, WAIT_MS } from "./browser.mjs";

const MARKUP = "<img src=x onerror=alert(1)>";

async function send(fields) {
  const event = {
    appId: "shop",
    deviceId: "d1",
    timestampMs: String(Date.now() - 1_500),
    ...fields,
  };
  const answer = await fetch(`${BASE_URL}/v1/events/ingest`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ event }),
  });
  return answer.status;
}

async function sendView(screenName, fields = {}) {
  const status = await send({ screenView: { screenName }, ...fields });
  check(status === 200, `an event is taken in: ${screenName}: ${status}`);
}

function row(page, text) {
  return page.getByTestId("event").filter({ hasText: text });
}

async function seen(page, text) {
  await row(page, text).first().waitFor({ timeout: WAIT_MS });
  check(true, `the tail shows ${text}`);
}

async function empty(page) {
  await page.goto(`${BASE_URL}/`);
  await page.getByTestId("nav-events").click();
  const example = page.getByTestId("text-view");
  await example.filter({ hasText: "curl" }).waitFor({ timeout: WAIT_MS });
  const text = await example.innerText();
  check(text.includes(`${BASE_URL}/v1/events/ingest`), "an empty log says how to send an event");
  await picture(page, "events-empty");
}

async function follow(page) {
  await sendView("Home");
  await seen(page, "Home");
  await sendView(MARKUP, { deviceId: "d2" });
  await seen(page, MARKUP);
  const tapped = await send({ appId: "news", buttonTap: { buttonId: "buy" } });
  check(tapped === 200, `an event of another app is taken in: ${tapped}`);
  await seen(page, "buttonId: buy");
  const state = page.locator('[data-testid="tail-state"][data-state="live"]');
  await state.waitFor({ timeout: WAIT_MS });
  check(true, "the tail is live");
}

async function pause(page) {
  await page.getByTestId("events").focus();
  await page.keyboard.press("Space");
  const held = page.getByTestId("tail-held");
  await held.waitFor({ timeout: WAIT_MS });
  await sendView("Cart");
  await sendView("Checkout");
  await held.filter({ hasText: "2 held back" }).waitFor({ timeout: WAIT_MS });
  check((await row(page, "Cart").count()) === 0, "a pause holds events back");
  await picture(page, "events-paused");
  await page.getByTestId("tail-pause").click();
  await seen(page, "Cart");
  await seen(page, "Checkout");
}

async function open(page) {
  await page.getByTestId("events").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  const view = page.getByTestId("event-view");
  await view.filter({ hasText: '"screenName": "Checkout"' }).waitFor({ timeout: WAIT_MS });
  check(/1\.\d+ s later/.test(await view.innerText()), "an event tells how long it took");
  await picture(page, "event-light");
  await page.keyboard.press("Escape");
  await view.waitFor({ state: "detached" });
  await row(page, MARKUP).first().click();
  await view.filter({ hasText: `"screenName": "${MARKUP}"` }).waitFor({ timeout: WAIT_MS });
  check((await page.locator("#content img, .event-view img").count()) === 0, "data is no markup");
  await page.getByRole("button", { name: "Only this device" }).click();
  await page.waitForURL((url) => url.search === "?app=shop&device=d2");
  await seen(page, MARKUP);
  check((await row(page, "Home").count()) === 0, "other devices are left out");
}

async function filter(page) {
  await page.getByRole("button", { name: "Show all" }).click();
  await seen(page, "Home");
  await page.getByLabel("JSONPath").fill("$[?@.screenName=='Cart']");
  await page.keyboard.press("Enter");
  await seen(page, "Cart");
  check((await row(page, "Home").count()) === 0, "the JSONPath chooses among events");
  await page.reload();
  await seen(page, "Cart");
  check((await page.getByTestId("event").count()) === 1, "the address holds the filter");
  await page.goto(`${BASE_URL}/events?category=interaction`);
  await seen(page, "buttonId: buy");
  check((await page.getByTestId("event").count()) === 1, "the category chooses among events");
}

async function rates(page) {
  await page.goto(`${BASE_URL}/events?range=5m`);
  await drawn(page, 'section[aria-label="Events by app"] [data-testid="chart"]');
  await drawn(page, 'section[aria-label="Events by type"] [data-testid="chart"]');
  await page.getByText("screen / view").first().waitFor({ timeout: WAIT_MS });
  check(true, "the rates by app and type are drawn");
  await picture(page, "events-light");
}

/** Uses a key for two events that differ. */
async function conflict(key) {
  await sendView("Home", { idempotencyKey: key });
  const refused = await send({ idempotencyKey: key, screenView: { screenName: `other ${key}` } });
  check(refused !== 200, `a key for another event is refused: ${refused}`);
}

async function letters(page) {
  await conflict("k1");
  await conflict("k2");
  await page.getByTestId("letters-link").click({ timeout: WAIT_MS });
  await shown(page, "letter");
  check((await page.getByTestId("letter").count()) === 2, "dead letters are listed");
  await page.getByTestId("depth").filter({ hasText: "gateway" }).click();
  await page.waitForURL((url) => url.search === "?consumer=gateway");
  await picture(page, "letters-light");
  await page.locator(".letter-open").first().click();
  const view = page.getByTestId("letter-view");
  await view.filter({ hasText: '"screenName": "other k2"' }).waitFor({ timeout: WAIT_MS });
  await picture(page, "letter-light");
  await page.getByText("Bytes", { exact: true }).click();
  await view.filter({ hasText: "00000000  " }).waitFor({ timeout: WAIT_MS });
  check(true, "a dead letter is shown with its bytes");
  await view.getByRole("button", { name: "Discard" }).click();
  await decide(page, "Discard", "1 letter was discarded");
  await page.getByLabel("Choose all that are listed").check();
  await page.locator("#content").getByRole("button", { name: "Replay" }).click();
  await decide(page, "Replay", "1 letter was processed");
  await page.getByText("No dead letters of gateway").waitFor({ timeout: WAIT_MS });
  await page.getByTestId("nav-events").click();
  await seen(page, "other k1");
}

async function decide(page, action, outcome) {
  await page
    .getByRole("dialog")
    .getByText(/cannot be undone|stays in it/)
    .waitFor();
  await page.getByRole("dialog").getByRole("button", { name: action }).click();
  await page.getByTestId("outcome").filter({ hasText: outcome }).waitFor({ timeout: WAIT_MS });
  check(true, outcome);
}

async function darkAndSmall(page) {
  await conflict("k3");
  await page.emulateMedia({ colorScheme: "dark" });
  await picture(page, "events-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  await fits(page, "events");
  await picture(page, "events-small");
  await page.getByTestId("nav-dead-letters").click();
  await shown(page, "letter");
  await fits(page, "dead letters");
  await picture(page, "letters-small");
}

await browse([empty, follow, pause, open, filter, rates, letters, darkAndSmall]);
