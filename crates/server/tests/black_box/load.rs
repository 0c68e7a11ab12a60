//! Four times what is allowed: refused quickly, stored completely where accepted, and answered meanwhile.
#![expect(clippy::disallowed_methods, reason = "the key comes from a real file")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use platform::{
    Clock as _, HttpClient as _, HttpRequest, HttpResponse, SystemClock, SystemHttpClient,
};

use crate::program::TinyObs;

/// What the key may send, a second and at once.
const ALLOWED_PER_SECOND: u64 = 10_000;
/// The key of the administrator, who sends.
const KEY: &str = "8f0c1d3a5b7e9264f1a3c5d7e9b2046813579bdf02468ace13579bdf02468ace";
const CLIENTS: u64 = 8;
const SAMPLES_PER_REQUEST: u64 = 500;
/// The clients together send four times what is allowed: every one of them a request in each such pause.
const PAUSE: Duration = Duration::from_millis(100);
const REQUESTS_PER_CLIENT: u64 = 20;
/// How often health is asked for meanwhile.
const HEALTH_PAUSE: Duration = Duration::from_millis(20);
/// Most memory that the program may take, in bytes: generous, for it was built without optimisation.
const RESIDENT_BYTES_MAX: f64 = 512e6;

#[test]
fn at_four_times_the_limits_the_accepted_is_stored_and_the_rest_refused() {
    assert_eq!(
        CLIENTS * SAMPLES_PER_REQUEST * 1000,
        4 * ALLOWED_PER_SECOND * u64::try_from(PAUSE.as_millis()).expect("a pause"),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, KEY).expect("write the key");
    let settings = [
        "auth.mode=keys".to_owned(),
        format!("auth.bootstrap_admin_key_file={}", key_file.display()),
        format!("limits.key.samples_per_second={ALLOWED_PER_SECOND}"),
        format!("limits.key.samples_burst={ALLOWED_PER_SECOND}"),
    ];
    let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = TinyObs::start(&folder.path().join("data"), &arguments);
    let load = Load::new(&server.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let Loaded { answers, mut health, took } = runtime.block_on(load.run());

    let accepted = answers.iter().filter(|answer| answer.status == StatusCode::OK).count() as u64;
    let refused: Vec<_> =
        answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS).collect();
    assert_eq!(accepted as usize + refused.len(), answers.len(), "nothing else happens");
    assert!(accepted > 0 && !refused.is_empty(), "{accepted} accepted of {}", answers.len());
    let samples = (accepted * SAMPLES_PER_REQUEST) as f64;
    let allowed = ALLOWED_PER_SECOND as f64 * (1.0 + took.as_secs_f64());
    assert!(samples <= allowed, "{samples} samples accepted in {took:?}");
    for answer in refused {
        let again = answer.headers.get("retry-after").expect("when to come again");
        let seconds: u64 = again.to_str().expect("a text").parse().expect("seconds");
        assert!((1..=2).contains(&seconds), "{seconds}");
    }

    let number = |query| runtime.block_on(load.number(query));
    let counted = number("sum(count_over_time(load[5m]))");
    assert_eq!(counted, samples, "every accepted sample, and no other");
    let resident = number("max_over_time(process_resident_memory_bytes[5m])");
    assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes resident");
    health.sort_unstable();
    let at = |part: usize| health.get(health.len() * part / 100);
    println!(
        "load: {accepted} of {} requests accepted in {took:?}; health answered {} times, half of them in {:?}, \
         95 of 100 in {:?}; {:.0} MB resident",
        answers.len(),
        health.len(),
        at(50),
        at(95),
        resident / 1e6,
    );
}

/// What became of it.
struct Loaded {
    answers: Vec<HttpResponse>,
    /// How long health took each time.
    health: Vec<Duration>,
    took: Duration,
}

/// Clients that do not care what they are told.
struct Load {
    url: String,
    client: SystemHttpClient,
    clock: Arc<SystemClock>,
}

impl Load {
    fn new(url: &str) -> Self {
        let client = SystemHttpClient::new().expect("a client");
        Self { url: url.to_owned(), client, clock: SystemClock::new() }
    }

    async fn run(&self) -> Loaded {
        let begun = self.clock.monotonic();
        let senders = join_all((0..CLIENTS).map(|number| self.sender(number)));
        let end = self.clock.monotonic() + PAUSE * u32::try_from(REQUESTS_PER_CLIENT).expect("few");
        let (answers, health) = futures_util::future::join(senders, self.prober(end)).await;
        let answers = answers.into_iter().flatten().collect();
        Loaded { answers, health, took: self.clock.monotonic() - begun }
    }

    async fn sender(&self, number: u64) -> Vec<HttpResponse> {
        let mut answers = Vec::new();
        let begun = self.clock.monotonic();
        for request in 0..REQUESTS_PER_CLIENT {
            let body = self.body(number);
            answers.push(self.send("POST", "/v1/metrics", body).await);
            let due = PAUSE * u32::try_from(request + 1).expect("few");
            self.clock.sleep_until(begun + due).await;
        }
        answers
    }

    /// Returns an OTLP request of a client: one sample now for each of its series.
    fn body(&self, client: u64) -> String {
        let millis = self.clock.now().as_millis();
        let point = |series| {
            let attribute = |key: &str, value: u64| {
                format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
            };
            let attributes = [attribute("client", client), attribute("n", series)].join(",");
            format!(
                r#"{{"timeUnixNano":"{millis}000000","asDouble":1,"attributes":[{attributes}]}}"#
            )
        };
        let points: Vec<_> = (0..SAMPLES_PER_REQUEST).map(point).collect();
        let points = points.join(",");
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"load","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
        )
    }

    async fn prober(&self, end: Duration) -> Vec<Duration> {
        let mut took = Vec::new();
        while self.clock.monotonic() < end {
            let asked = self.clock.monotonic();
            let answer = self.send("GET", "/v1/health", String::new()).await;
            assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
            let answered = self.clock.monotonic();
            took.push(answered - asked);
            self.clock.sleep_until(answered + HEALTH_PAUSE).await;
        }
        took
    }

    async fn send(&self, method: &str, path: &str, body: String) -> HttpResponse {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [("content-type", "application/json"), ("x-api-key", KEY)] {
            headers.insert(name, http::HeaderValue::from_static(value));
        }
        let request = HttpRequest {
            method: method.parse().expect("a method"),
            url: format!("{}{path}", self.url),
            headers,
            body: body.into(),
            timeout: Duration::from_secs(30),
            response_bytes_max: 1 << 20,
        };
        self.client.send(request).await.expect("an answer")
    }

    /// Returns the one number that a query results in.
    async fn number(&self, query: &str) -> f64 {
        let query = serde_urlencoded::to_string([("query", query)]).expect("a form");
        let answer = self.send("GET", &format!("/api/v1/query?{query}"), String::new()).await;
        let data: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let text = data["data"]["result"][0]["value"][1].as_str();
        text.unwrap_or_else(|| panic!("no number: {data}")).parse().expect("a number")
    }
}
