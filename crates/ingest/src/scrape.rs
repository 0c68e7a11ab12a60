//! Scraping: fetches what targets expose, at their interval, and stores it.
//!
//! A manager task looks for targets every few seconds and owns one task per target.
//! What a response means is decided in [`target`], without I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use model::{AppendMode, SampleSink};
use platform::{Clock, Fs, HttpClient, HttpRequest, Tasks};
use tokio::sync::watch;
use tracing::Instrument as _;

mod config;
mod discovery;
mod own;
mod target;

pub use config::{
    Authorization, BasicAuth, FileDiscovery, ScrapeConfig, ScrapeConfigError, ScrapeDefaults,
    TargetGroup,
};
pub use own::OwnScrape;

use config::Job;
use discovery::Discovery;
use target::{Fetched, Outcome, TargetId, TargetState, Timing};

use crate::text::ExpositionFormat;

/// How often targets are looked for.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// What we understand, the richest first.
const ACCEPTED: &str =
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";

/// The doors to the outside that scraping needs.
#[derive(Clone, Debug)]
struct Doors {
    http: Arc<dyn HttpClient>,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn SampleSink>,
}

/// Scrapes the targets of all jobs.
pub struct Scraper {
    jobs: Vec<Arc<Job>>,
    doors: Doors,
}

impl fmt::Debug for Scraper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraper").field("jobs", &self.jobs.len()).finish_non_exhaustive()
    }
}

/// What a target's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Scrape,
    /// The target is gone: end its series.
    End,
    /// The program stops: leave its series as they are.
    Stop,
}

impl Scraper {
    /// Returns a scraper of the given jobs.
    ///
    /// # Errors
    ///
    /// The first job that cannot work.
    pub fn new(
        configs: Vec<ScrapeConfig>,
        defaults: &ScrapeDefaults,
        http: Arc<dyn HttpClient>,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn SampleSink>,
    ) -> Result<Self, ScrapeConfigError> {
        let mut jobs: Vec<Arc<Job>> = Vec::with_capacity(configs.len());
        for config in configs {
            if jobs.iter().any(|job| job.config.job_name == config.job_name) {
                return Err(ScrapeConfigError::DuplicateJob { job: config.job_name });
            }
            jobs.push(Arc::new(Job::check(config, defaults, fs.as_ref())?));
        }
        Ok(Self { jobs, doors: Doors { http, fs, clock, sink } })
    }

    /// Scrapes until `stop` becomes true or its sender is gone, then waits for the scrapes under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tasks = Tasks::new();
        let mut active: BTreeMap<(usize, TargetId), watch::Sender<Order>> = BTreeMap::new();
        let mut discoveries: Vec<Discovery> =
            self.jobs.iter().map(|_| Discovery::default()).collect();
        loop {
            self.follow(&mut discoveries, &mut active, &mut tasks);
            let again = self.doors.clock.monotonic() + DISCOVERY_INTERVAL;
            tokio::select! {
                biased;
                stopped = stop.wait_for(|stop| *stop) => {
                    drop(stopped);
                    break;
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(failure) = ended {
                        tracing::error!(error = %failure, "scrape task failed, its target is started again");
                        active.retain(|_, orders| !orders.is_closed());
                    }
                }
                () = self.doors.clock.sleep_until(again) => {}
            }
        }
        for orders in active.values() {
            orders.send_replace(Order::Stop);
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Starts a task for each new target and ends those of targets that are gone.
    fn follow(
        &self,
        discoveries: &mut [Discovery],
        active: &mut BTreeMap<(usize, TargetId), watch::Sender<Order>>,
        tasks: &mut Tasks,
    ) {
        let mut wanted = Vec::new();
        for (index, (job, discovery)) in self.jobs.iter().zip(discoveries).enumerate() {
            let targets = discovery.targets(job, self.doors.fs.as_ref());
            wanted.extend(targets.into_iter().map(|target| (index, target)));
        }
        active.retain(|key, orders| {
            let keep = wanted.binary_search(key).is_ok();
            if !keep {
                orders.send_replace(Order::End);
            }
            keep
        });
        for (index, target) in wanted {
            let key = (index, target);
            if active.contains_key(&key) {
                continue;
            }
            let Some(job) = self.jobs.get(index) else { continue };
            let (orders, receiver) = watch::channel(Order::Scrape);
            let scraping =
                scrape_target(Arc::clone(job), key.1.clone(), self.doors.clone(), receiver);
            tasks.spawn("scrape", scraping);
            active.insert(key, orders);
        }
    }
}

/// Scrapes one target until it is told to end.
async fn scrape_target(
    job: Arc<Job>,
    target: TargetId,
    doors: Doors,
    mut orders: watch::Receiver<Order>,
) {
    let mut state = TargetState::default();
    // Targets of one job are spread over its interval, each always at the same place in it.
    let mut next = doors.clock.monotonic() + offset_of(&target, job.interval);
    loop {
        tokio::select! {
            biased;
            order = orders.wait_for(|order| *order != Order::Scrape) => {
                if order.is_ok_and(|order| *order == Order::End) {
                    let ended = state.end(&target, doors.clock.now());
                    store(&ended, &target, doors.sink.as_ref());
                }
                return;
            }
            () = doors.clock.sleep_until(next) => {}
        }
        let outcome = scrape_once(&job, &target, &doors, &mut state).await;
        if let Some(error) = &outcome.error {
            tracing::debug!(url = target.url, error = %error, "scrape failed");
        }
        store(&outcome, &target, doors.sink.as_ref());
        // A scrape that took too long skips the rounds that it missed.
        let now = doors.clock.monotonic();
        while next <= now {
            next += job.interval;
        }
    }
}

async fn scrape_once(
    job: &Job,
    target: &TargetId,
    doors: &Doors,
    state: &mut TargetState,
) -> Outcome {
    let (start, begun) = (doors.clock.now(), doors.clock.monotonic());
    let request = HttpRequest {
        method: Method::GET,
        url: target.url.clone(),
        headers: headers(job),
        body: bytes::Bytes::new(),
        timeout: job.timeout,
        response_bytes_max: job.body_bytes_max,
    };
    let span =
        tracing::info_span!(target: "trace", "scrape", otel.kind = "client", url = target.url);
    // The client asks for the span when it is given the request, not only while it waits for the answer.
    let response = span.in_scope(|| doors.http.send(request)).instrument(span.clone()).await;
    let duration_seconds = (doors.clock.monotonic() - begun).as_secs_f64();
    let fetched: Fetched<'_> = match &response {
        Err(error) => Err(error.to_string()),
        Ok(response) if response.status != StatusCode::OK => {
            Err(format!("target answers {}", response.status))
        }
        Ok(response) => match std::str::from_utf8(&response.body) {
            Ok(body) => Ok((body, format_of(&response.headers))),
            Err(_) => Err("response is not UTF-8".to_owned()),
        },
    };
    state.scrape(job, target, Timing { start, duration_seconds }, fetched)
}

fn headers(job: &Job) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    let timeout = HeaderValue::try_from(job.timeout.as_secs_f64().to_string());
    if let Ok(timeout) = timeout {
        let name = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
        headers.insert(name, timeout);
    }
    if let Some(authorization) = &job.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers
}

fn format_of(headers: &HeaderMap) -> ExpositionFormat {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match content_type {
        Some(text) if text.trim_start().starts_with("application/openmetrics-text") => {
            ExpositionFormat::OpenMetrics
        }
        _ => ExpositionFormat::Prometheus,
    }
}

fn store(outcome: &Outcome, target: &TargetId, sink: &dyn SampleSink) {
    match sink.append(&outcome.batch(), AppendMode::Partial) {
        Ok(receipt) if receipt.rejections.is_empty() => {}
        Ok(receipt) => {
            let reason = receipt.rejections.examples.first().map(|first| first.reason.to_string());
            let refused = receipt.rejections.samples;
            tracing::warn!(url = target.url, refused, reason, "scraped samples were refused");
        }
        Err(error) => {
            tracing::warn!(url = target.url, error = %error, "scrape could not be stored");
        }
    }
}

fn offset_of(target: &TargetId, interval: Duration) -> Duration {
    // The same for each start of the program, so that the spacing of samples survives a restart.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let hash = hasher.hash_one((target.labels.as_bytes(), &target.url));
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(hash % millis)
}

#[cfg(test)]
mod tests;
