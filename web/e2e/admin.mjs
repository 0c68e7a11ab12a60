// Administers a running server that needs a login, with a real browser: npm run e2e:admin.
//   ADMIN_KEY  the key of an administrator of all tenants
//   BASE_URL, ARTEFACTS, CHROMIUM  as in page.mjs
import { BASE_URL, browse, check, drawn, fits, picture, shown, WAIT_MS } from "./browser.mjs";

const USER = "ada";
const PASSWORD = "correct horse battery";
const NEXT_PASSWORD = "staple wrong donkey";
const KEY_NAME = "browser test";
const PARTS = ["keys", "users", "tenants", "usage", "audit", "configuration", "health"];

let secret = "";

async function withKey(key, path, json) {
  const headers = { "X-API-Key": key, "Content-Type": "application/json" };
  const options = json ? { method: "POST", headers, body: JSON.stringify(json) } : { headers };
  return fetch(`${BASE_URL}${path}`, options);
}

async function addUser() {
  const answer = await withKey(process.env.ADMIN_KEY ?? "", "/v1/users", {
    name: USER,
    display_name: "Ada",
    role: "admin",
    password: PASSWORD,
    all_tenants: true,
  });
  check(answer.status === 201, `the API makes a user: ${answer.status}`);
}

async function logIn(page) {
  await page.goto(`${BASE_URL}/admin/audit?action=key.create`);
  await page.getByLabel("Name").fill(USER, { timeout: WAIT_MS });
  check(page.url().endsWith("/admin/audit?action=key.create"), "the login keeps the address");
  await picture(page, "login-light");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("heading", { name: "Audit log" }).waitFor({ timeout: WAIT_MS });
  check(page.url().endsWith("/admin/audit?action=key.create"), "the login leads to the address");
}

async function createKey(page) {
  await page.getByTestId("admin-keys").click();
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill(KEY_NAME, { timeout: WAIT_MS });
  await dialog.getByLabel("Allowed").selectOption("viewer");
  await dialog.getByRole("button", { name: "Create the key" }).click();
  secret = await page.getByTestId("secret").inputValue({ timeout: WAIT_MS });
  check(/^[0-9a-f]{64}$/.test(secret), "the new key is shown");
  await picture(page, "admin-key-created");
  const answer = await withKey(secret, "/api/v1/labels");
  check(answer.status === 200, `the new key is accepted: ${answer.status}`);
  await page.keyboard.press("Escape");
  check(await page.getByTestId("secret").isVisible(), "the new key stays until it is stored");
  await page.getByRole("button", { name: "I have stored it" }).click();
  await page.getByTestId("key").filter({ hasText: KEY_NAME }).waitFor({ timeout: WAIT_MS });
  const html = await page.content();
  check(!html.includes(secret), "the list does not contain the key");
}

async function rotateKey(page) {
  await page.getByRole("button", { name: `Rotate ${KEY_NAME}` }).click();
  await page.getByLabel("The old key stays valid for").selectOption("0s");
  await page.getByRole("button", { name: "Rotate the key" }).click();
  const next = await page.getByTestId("secret").inputValue({ timeout: WAIT_MS });
  await page.getByRole("button", { name: "I have stored it" }).click();
  const answers = [await withKey(secret, "/api/v1/labels"), await withKey(next, "/api/v1/labels")];
  const statuses = answers.map((answer) => answer.status).join(" ");
  check(statuses === "401 200", `the new key is valid in place of the old one: ${statuses}`);
  secret = next;
  await page.getByTestId("key").filter({ hasText: KEY_NAME }).first().waitFor();
}

async function revokeKey(page) {
  await page.getByRole("button", { name: `Revoke ${KEY_NAME}` }).click();
  await page.getByRole("button", { name: "Revoke the key" }).click();
  await page.getByTestId("outcome").filter({ hasText: "revoked" }).waitFor({ timeout: WAIT_MS });
  await page.getByTestId("key").filter({ hasText: KEY_NAME }).waitFor({ state: "detached" });
  const answer = await withKey(secret, "/api/v1/labels");
  check(answer.status === 401, `the revoked key is refused: ${answer.status}`);
  await page.getByLabel("Show revoked keys").check();
  const revoked = page.locator('[data-testid="key"][data-state="revoked"]');
  await revoked.filter({ hasText: KEY_NAME }).waitFor({ timeout: WAIT_MS });
  check(true, "the revoked key is listed where asked for");
}

async function readAudit(page) {
  await page.getByTestId("admin-audit").click();
  for (const action of ["key.create", "key.revoke"]) {
    const entry = page.locator(`[data-testid="audit-entry"][data-action="${action}"]`);
    await entry.filter({ hasText: USER }).first().waitFor({ timeout: WAIT_MS });
    check(true, `the audit log has ${action}`);
  }
  await page.getByLabel("Action").fill("key.revoke");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.waitForFunction(
    () => document.querySelectorAll('[data-testid="audit-entry"]').length === 1,
    undefined,
    { timeout: WAIT_MS },
  );
  check(page.url().endsWith("?action=key.revoke"), "the address holds the filter");
}

async function outcome(page, text) {
  await page.getByTestId("outcome").filter({ hasText: text }).waitFor({ timeout: WAIT_MS });
  check(true, text);
}

async function manageUsers(page) {
  await page.getByTestId("admin-users").click();
  await page.getByRole("button", { name: "New user" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("vera", { timeout: WAIT_MS });
  await dialog.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await dialog.getByRole("button", { name: "Create the user" }).click();
  await outcome(page, "vera was created");
  await page.getByRole("button", { name: "Change vera" }).click();
  await dialog.getByLabel("Role").selectOption("editor");
  await dialog.getByLabel(/^Disabled/).check();
  await dialog.getByRole("button", { name: "Save" }).click();
  await outcome(page, "vera was changed");
  await page.getByTestId("user").filter({ hasText: "disabled" }).waitFor({ timeout: WAIT_MS });
  await page.getByRole("button", { name: "Set the password of vera" }).click();
  await dialog.getByLabel("Password", { exact: true }).fill(NEXT_PASSWORD);
  await dialog.getByRole("button", { name: "Set the password" }).click();
  await outcome(page, "vera has a new password");
  await page.getByRole("button", { name: "Delete vera" }).click();
  await dialog.getByRole("button", { name: "Delete the user" }).click();
  await outcome(page, "vera was deleted");
  await page.getByTestId("user").filter({ hasText: "vera" }).waitFor({ state: "detached" });
}

async function changePassword(page) {
  await page.getByTestId("account").click();
  await page.getByRole("menuitem", { name: "Change the password" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Present password").fill(PASSWORD, { timeout: WAIT_MS });
  await dialog.getByLabel("New password", { exact: true }).fill(NEXT_PASSWORD);
  await dialog.getByLabel("New password again").fill(NEXT_PASSWORD);
  await dialog.getByRole("button", { name: "Change the password" }).click();
  await dialog.waitFor({ state: "detached", timeout: WAIT_MS });
  check(true, "the own password is changed");
}

async function reload(page) {
  await page.getByTestId("admin-configuration").click();
  await page.getByRole("button", { name: "Read the configuration again" }).click();
  const result = page.getByTestId("reload-result");
  await result.filter({ hasText: /Nothing has changed|In force/ }).waitFor({ timeout: WAIT_MS });
  check(true, "the configuration is read again");
}

async function lookAround(page) {
  for (const part of PARTS) {
    await page.getByTestId(`admin-${part}`).click();
    await page.locator(".admin-part .empty", { hasText: "Loading" }).waitFor({ state: "detached" });
    await picture(page, `admin-${part}-light`);
    check((await page.getByRole("alert").count()) === 0, `${part} is shown without an error`);
  }
  await shown(page, "health-check");
  await page.getByTestId("admin-configuration").click();
  await shown(page, "setting");
  const key = page.getByTestId("setting").filter({ hasText: "auth.bootstrap_admin_key" });
  check((await key.first().innerText()).includes("hidden"), "secrets are hidden");
  check(!(await page.content()).includes(process.env.ADMIN_KEY ?? "-"), "no secret is in the page");
}

async function changeTenant(page) {
  await page.getByTestId("admin-tenants").click();
  await page.getByRole("button", { name: "New tenant" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Identifier").fill("team-a", { timeout: WAIT_MS });
  await dialog.getByLabel("Active series").fill("10k");
  await picture(page, "admin-tenant-new");
  await dialog.getByRole("button", { name: "Create the tenant" }).click();
  await page.getByTestId("tenant").filter({ hasText: "active series 10k" }).waitFor();
  check(true, "a tenant with a limit is made");
  await page.getByTestId("account").click();
  await page.getByRole("menuitem", { name: "team-a" }).click();
  await page.getByTestId("admin-keys").click();
  await page.getByText("Tenant team-a").waitFor({ timeout: WAIT_MS });
  await page.getByText("No keys yet").waitFor({ timeout: WAIT_MS });
  check(true, "the other tenant has keys of its own");
  await page.getByTestId("account").click();
  await page.getByRole("menuitem", { name: "default" }).click();
  await page.getByText("Tenant default").waitFor({ timeout: WAIT_MS });
}

async function server(page) {
  await page.getByTestId("nav-server").click();
  await drawn(page, 'section[aria-label="Samples taken in, by tenant"] [data-testid="chart"]');
  check(true, "the charts of the server itself are drawn");
  await picture(page, "server-light");
}

async function darkAndSmall(page) {
  await page.emulateMedia({ colorScheme: "dark" });
  await page.getByTestId("nav-admin").click();
  await page.getByTestId("admin-audit").click();
  await shown(page, "audit-entry");
  await picture(page, "admin-audit-dark");
  await page.setViewportSize({ width: 390, height: 844 });
  for (const part of PARTS) {
    await page.getByTestId(`admin-${part}`).click();
    await fits(page, part);
    await picture(page, `admin-${part}-small`);
  }
}

async function endSession(page, problems) {
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByTestId("admin-users").click();
  await shown(page, "user");
  check(problems.length === 0, "nothing was refused so far");
  await page.context().clearCookies();
  await page.getByTestId("admin-audit").click();
  await page.getByText("Your session has ended").waitFor({ timeout: WAIT_MS });
  check(page.url().endsWith("/admin/audit"), "the end of the session keeps the address");
  await page.getByLabel("Name").fill(USER);
  await page.getByLabel("Password", { exact: true }).fill(NEXT_PASSWORD);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await shown(page, "audit-entry");
  check(true, "another login goes on at the address");
  // The browser itself reports what was refused for want of a session.
  const refused = problems.filter((problem) => problem.includes("status of 401"));
  check(refused.length === problems.length, "only the want of a session was refused");
  problems.length = 0;
}

/** Leaves a dead letter: a key that was used for two events. */
async function addLetter() {
  for (const screenName of ["Home", "Cart"]) {
    const screenView = { screenName };
    const what = { appId: "shop", deviceId: "d1", timestampMs: String(Date.now()), screenView };
    const event = { ...what, idempotencyKey: "k1" };
    const answer = await withKey(process.env.ADMIN_KEY ?? "", "/v1/events/ingest", { event });
    const expected = screenName === "Home" ? 200 : 409;
    check(answer.status === expected, `an event is answered: ${answer.status}`);
  }
}

async function watchEvents(page) {
  await page.getByTestId("nav-events").click();
  await page.getByTestId("text-view").filter({ hasText: "X-API-Key" }).waitFor();
  check(true, "an empty log says how to send an event with a key");
  await addLetter();
  await page.getByTestId("event").filter({ hasText: "Home" }).waitFor({ timeout: WAIT_MS });
  check(true, "who is logged in follows events");
}

async function logInAsViewer(page) {
  const password = PASSWORD;
  const viewer = { name: "vic", display_name: "Vic", role: "viewer", password };
  const answer = await withKey(process.env.ADMIN_KEY ?? "", "/v1/users", viewer);
  check(answer.status === 201, `the API makes a viewer: ${answer.status}`);
  await page.getByLabel("Name").fill(viewer.name);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByTestId("nav-dead-letters").click({ timeout: WAIT_MS });
  await shown(page, "letter");
  await page.locator(".letter-open").first().click();
  await shown(page, "letter-view");
  check((await page.getByRole("checkbox").count()) === 0, "a viewer chooses no dead letters");
  const decisions = page.getByRole("button", { name: /Replay|Discard/ });
  check((await decisions.count()) === 0, "a viewer decides about no dead letters");
  await page.keyboard.press("Escape");
}

async function logOut(page) {
  await page.getByTestId("account").click();
  await page.getByTestId("log-out").click();
  await page.getByLabel("Name").waitFor({ timeout: WAIT_MS });
  await page.reload();
  await page.getByLabel("Name").waitFor({ timeout: WAIT_MS });
  check((await page.getByTestId("account").count()) === 0, "nobody is logged in any more");
  await picture(page, "login-dark");
}

await browse([
  addUser,
  logIn,
  createKey,
  rotateKey,
  revokeKey,
  readAudit,
  manageUsers,
  lookAround,
  reload,
  changeTenant,
  server,
  watchEvents,
  changePassword,
  darkAndSmall,
  endSession,
  logOut,
  logInAsViewer,
]);
