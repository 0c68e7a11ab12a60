// The part of the mock server that knows events: the tail, the log's state and dead letters.
// EVENTS_PER_SECOND sets how fast events come, 4 by default; 0 is an empty log.
const RATE = Number(process.env.EVENTS_PER_SECOND ?? 4);
const KEPT = 50_000;
const TICK_MS = 50;
const TRIES_MS = 2_500;

const APPS = ["shop", "news", "shop", "bank", "shop"];
const SCREENS = ["Home", "Product", "Cart", "Checkout", "<b>Profile</b>"];
const KINDS = [
  [
    "screen",
    "view",
    (n) => ({ screenView: { screenName: SCREENS[n % 5], previousScreen: "Home" } }),
  ],
  [
    "interaction",
    "button_tap",
    (n) => ({ buttonTap: { buttonId: `buy-${n % 9}`, coordinates: { x: 12.5, y: 480 } } }),
  ],
  [
    "commerce",
    "add_to_cart",
    (n) => ({ addToCart: { productId: `sku-${n % 40}`, quantity: 1, priceCents: "1299" } }),
  ],
  [
    "system",
    "app_crash",
    () => ({
      appCrash: { crashType: "SIGSEGV", stackTrace: "at main()\n  at run()\n  at start()" },
    }),
  ],
  [
    "custom",
    "level_done",
    (n) => ({
      customEvent: {
        eventName: "level_done",
        intParams: { level: String(n % 30) },
        boolParams: { perfect: true },
      },
    }),
  ],
  ["user", "login", (n) => ({ userLogin: { userId: `user-${n % 100}`, method: "email" } })],
];

let log = [];
let end = 1;
const listeners = new Set();

function make(now) {
  const n = end;
  end += 1;
  const [category, type, payload] = KINDS[(n * 7 + (n >> 3)) % KINDS.length];
  const app = APPS[n % APPS.length];
  const device = `device-${String((n * 13) % 50).padStart(3, "0")}`;
  const id = `0194e0c2-6f1e-7c3a-9d1e-${String(n).padStart(12, "0")}`;
  const timestampMs = String(now - ((n * 37) % 4_000));
  return {
    offset: n,
    received_at: new Date(now).toISOString(),
    app,
    category,
    type,
    device,
    event: {
      id,
      appId: app,
      deviceId: device,
      timestampMs,
      idempotencyKey: `k-${n}`,
      ...payload(n),
    },
  };
}

if (RATE > 0) {
  for (let index = 0; index < 300; index += 1) log.push(make(Date.now() - (300 - index) * 900));
  let owed = 0;
  setInterval(() => {
    owed += (RATE * TICK_MS) / 1_000;
    const fresh = Array.from({ length: Math.floor(owed) }, () => make(Date.now()));
    owed -= fresh.length;
    log.push(...fresh);
    if (log.length > KEPT) log = log.slice(-KEPT / 2);
    for (const listener of listeners) listener(fresh);
  }, TICK_MS);
}

function fits(params, item) {
  const same = (name) => !params.get(name) || params.get(name) === item[name];
  return same("app") && same("category") && same("type") && same("device");
}

function start(from) {
  if (from === "earliest") return log[0]?.offset ?? end;
  if (/^\d+$/.test(from)) return Number(from);
  if (from === "latest") return end;
  return log.find((item) => item.received_at >= from)?.offset ?? end;
}

/** Answers /v1/events/tail as server-sent events. */
export function tail(params, response) {
  const path = params.get("path") ?? "";
  if (path !== "" && !path.startsWith("$")) {
    response.writeHead(400, { "Content-Type": "application/json" });
    const message = "the JSONPath does not begin with $";
    return response.end(JSON.stringify({ code: "bad_request", message }));
  }
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const write = (items) => {
    const wanted = items.filter((item) => fits(params, item));
    response.write(
      wanted.map((item) => `id: ${item.offset}\ndata: ${JSON.stringify(item)}\n\n`).join(""),
    );
  };
  response.write(": hello\n\n");
  const from = start(params.get("from") ?? "latest");
  write(log.filter((item) => item.offset >= from));
  if (log.length > 0) response.write(`data: ${JSON.stringify({ skipped: 17 })}\n\n`);
  listeners.add(write);
  const beat = setInterval(() => response.write(": beat\n\n"), 15_000);
  response.on("close", () => {
    listeners.delete(write);
    clearInterval(beat);
  });
}

function letter(id) {
  const gateway = id % 3 !== 0;
  const event = make(Date.now()).event;
  return {
    id: String(id),
    at: new Date(Date.now() - (140 - id) * 400_000).toISOString(),
    state: "waiting",
    consumer: gateway ? "gateway" : "warehouse",
    subject: "events.shop.screen.view",
    headers: { "Nats-Msg-Id": `shop:k-${id}`, "X-Request-ID": "req-1" },
    offset: gateway ? null : 1_000 + id,
    attempts: gateway ? 1 : 5,
    error: gateway
      ? "the idempotency key was used for an event with other content"
      : "undecodable: invalid wire type 7 in field 3 <script>",
    bytes: 214,
    event: gateway ? event : null,
  };
}

let letters = RATE > 0 ? Array.from({ length: 130 }, (_, index) => letter(130 - index)) : [];

function depths() {
  const counts = new Map();
  for (const { consumer } of letters) counts.set(consumer, (counts.get(consumer) ?? 0) + 1);
  return [...counts].sort().map(([consumer, count]) => ({ consumer, count }));
}

function list(params) {
  const limit = Number(params.get("limit") ?? 50);
  const before = Number(params.get("before") ?? Number.POSITIVE_INFINITY);
  const consumer = params.get("consumer");
  const found = letters.filter(
    (each) => Number(each.id) < before && (!consumer || each.consumer === consumer),
  );
  return { letters: found.slice(0, limit), more: found.length > limit, depths: depths() };
}

function replay(found) {
  const nothing = { event_id: null, offset: null, error: null };
  if (found.consumer === "gateway" && Number(found.id) % 2 === 0) {
    return { ...nothing, state: "rejected", error: "app_id is unknown" };
  }
  if (found.consumer === "gateway") {
    letters = letters.filter((each) => each !== found);
    return { ...nothing, state: "accepted", event_id: "0194e0c2", offset: end };
  }
  found.state = "replaying";
  setTimeout(() => {
    letters = letters.filter((each) => each !== found);
  }, TRIES_MS);
  return { ...nothing, state: "replaying" };
}

/** Answers the routes of events; undefined for all others. */
export function events({ method, path, params }) {
  if (path === "/v1/events/status") {
    const first = log[0]?.offset ?? end;
    const bounds = { first, end, bytes: log.length * 350 };
    const counts = { received: end - 1, stored: end - 1, duplicates: 0, conflicts: 0 };
    const state = { engine: "embedded", connected: true, refusal: null, log: bounds };
    return [
      200,
      {
        ...state,
        counts: { ...counts, rejected: {}, unanswered: 0, in_flight: 0 },
        keys: { count: end, memory_bytes: end * 40 },
        consumers: [],
        dead_letters: depths(),
      },
    ];
  }
  const [, , , part, id, act] = path.split("/");
  if (part !== "dead-letters") return undefined;
  if (id === undefined) return [200, list(params)];
  const found = letters.find((each) => each.id === id);
  if (!found) return [404, { code: "not_found", message: "there is no such dead letter" }];
  if (act === "replay") return [200, replay(found)];
  if (method === "DELETE") {
    letters = letters.filter((each) => each !== found);
    return [204];
  }
  const body = found.event
    ? "\n\x04shop\x12\x02d1\u001a"
    : "\xff\xfe\x07broken\x00bytes of an event";
  return [200, { ...found, body_base64: Buffer.from(body, "latin1").toString("base64") }];
}
