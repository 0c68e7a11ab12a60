//! The scraper against a simulated network and clock.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use model::{
    AppendError, AppendReceipt, CommitSequence, Durable, Rejections, Timestamp, WriteBatch,
};
use parking_lot::Mutex;
use platform::{HttpError, HttpResponse, SimClock, SimFs};

use super::*;

/// Answers every request with the same page, and tells when it was asked.
#[derive(Debug)]
struct Answer {
    body: &'static str,
    asked: watch::Sender<u64>,
}

impl HttpClient for Answer {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        assert!(request.headers.contains_key(ACCEPT));
        self.asked.send_modify(|count| *count += 1);
        let body = Bytes::from_static(self.body.as_bytes());
        let headers = HeaderMap::new();
        Box::pin(std::future::ready(Ok(HttpResponse { status: StatusCode::OK, headers, body })))
    }
}

/// Keeps what is appended, and tells how many batches there are.
#[derive(Debug)]
struct Kept {
    samples: Mutex<Vec<(String, f64)>>,
    batches: watch::Sender<u64>,
}

impl SampleSink for Kept {
    fn append(&self, batch: &WriteBatch<'_>, _: AppendMode) -> Result<AppendReceipt, AppendError> {
        for series in batch.series() {
            let labels = series.key.decode().expect("labels").to_string();
            let values = series.samples.iter().map(|sample| (labels.clone(), sample.value));
            self.samples.lock().extend(values);
        }
        self.batches.send_modify(|count| *count += 1);
        Ok(AppendReceipt {
            sequence: CommitSequence(0),
            stored_samples: batch.sample_count(),
            rejections: Rejections::default(),
        })
    }

    fn durable(&self, _: CommitSequence) -> Durable {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn targets_are_scraped_at_their_interval_until_told_to_stop() {
    let clock = SimClock::new(Timestamp::from_millis(0));
    let http = Arc::new(Answer { body: "m 1\n", asked: watch::Sender::new(0) });
    let sink = Arc::new(Kept { samples: Mutex::default(), batches: watch::Sender::new(0) });
    let configs = serde_saphyr::from_str("[{job_name: j, static_configs: [{targets: ['a:1']}]}]");
    let defaults = ScrapeDefaults {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        body_bytes_max: 1 << 20,
    };
    let scraper = Scraper::new(
        configs.expect("jobs"),
        &defaults,
        Arc::clone(&http) as _,
        SimFs::new(),
        Arc::new(Arc::clone(&clock)),
        Arc::clone(&sink) as _,
    )
    .expect("valid jobs");
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Tasks::new();
    tasks.spawn("scraper", scraper.run(stopped));

    let mut batches = sink.batches.subscribe();
    for round in 1..=3 {
        // Time moves only while the target sleeps, so each step is one round.
        while *batches.borrow() < round {
            clock.advance(Duration::from_millis(500));
            tokio::task::yield_now().await;
        }
        batches.wait_for(|count| *count >= round).await.expect("the sink lives");
    }
    stop.send_replace(true);
    assert!(tasks.join_next().await.expect("one task").is_ok());

    assert_eq!(*http.asked.borrow(), *sink.batches.borrow());
    let samples = sink.samples.lock();
    let of = |name: &str| {
        let wanted = format!(r#"{{__name__="{name}", instance="a:1", job="j"}}"#);
        samples.iter().filter(|(labels, _)| *labels == wanted).map(|(_, value)| *value).collect()
    };
    let up: Vec<f64> = of("up");
    assert_eq!(up, vec![1.0; up.len()]);
    assert!(up.len() >= 3);
    let scraped: Vec<f64> = of("m");
    assert_eq!(scraped.len(), up.len());
}

#[test]
fn a_job_name_is_used_once() {
    let configs = serde_saphyr::from_str("[{job_name: j}, {job_name: j}]").expect("jobs");
    let defaults = ScrapeDefaults {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        body_bytes_max: 1,
    };
    let sink = Arc::new(Kept { samples: Mutex::default(), batches: watch::Sender::new(0) });
    let http = Arc::new(Answer { body: "", asked: watch::Sender::new(0) });
    let clock = Arc::new(SimClock::new(Timestamp::from_millis(0)));
    let made = Scraper::new(configs, &defaults, http, SimFs::new(), clock, sink);
    assert_eq!(made.expect_err("twice").to_string(), "job name 'j' is used twice");
}
