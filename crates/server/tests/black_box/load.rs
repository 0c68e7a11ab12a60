//! Four times what is allowed: refused quickly, stored completely where accepted, and answered meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use platform::{
    Clock as _, HttpClient as _, HttpRequest, HttpResponse, SystemClock, SystemHttpClient,
};

use crate::program::TinyObs;

/// What the tenant may send, a second and at once.
const ALLOWED_PER_SECOND: u64 = 10_000;
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
    let allowed = ALLOWED_PER_SECOND.to_string();
    let per_second = format!("limits.tenant.samples_per_second={allowed}");
    let burst = format!("limits.tenant.samples_burst={allowed}");
    let server = TinyObs::start(folder.path(), &["--set", &per_second, "--set", &burst]);
    let load = Load::new(&server.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Loaded { answers, mut health, took } = runtime.expect("a runtime").block_on(load.run());

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

    let counted = number(&server, "sum(count_over_time(load[5m]))");
    assert_eq!(counted, samples, "every accepted sample, and no other");
    let resident = number(&server, "max_over_time(process_resident_memory_bytes[5m])");
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
        headers
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
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
}

/// Returns the one number that a query results in.
fn number(server: &TinyObs, query: &str) -> f64 {
    let data = server.query("/api/v1/query", &[("query", query)]);
    let text = data["result"][0]["value"][1].as_str().expect("one number");
    text.parse().expect("a number")
}
