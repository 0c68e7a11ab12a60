//! The log as it is written.

use std::time::Duration;

use model::Timestamp;
use parking_lot::Mutex;
use platform::SimClock;
use tokio::sync::watch;

use super::sampling::Sampling;
use super::*;

/// Keeps what is written.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what is written while `work` runs with a log of the given format.
fn written(json_format: bool, sampler: Arc<Sampler>, work: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let make = move || writer.clone();
    let lines = if json_format { json(make) } else { human(make, false) };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(sampler.into_filter()));
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(kept.0.lock().clone()).expect("text")
}

fn sampler(lines_max: u64) -> (Arc<Sampler>, Arc<SimClock>) {
    let clock = SimClock::new(Timestamp::from_millis(0));
    let sampling = Sampling { lines_max, interval: Duration::from_secs(10) };
    (Arc::new(Sampler::new(sampling, Arc::new(Arc::clone(&clock)))), clock)
}

const HOSTILE: &str = "a\nb\x1b[2Jc\u{202e}d\u{9b}e\u{2028}f\rg\u{e0041}";

#[test]
fn nothing_that_was_sent_moves_the_cursor_or_begins_a_line() {
    for json_format in [false, true] {
        let text = written(json_format, sampler(0).0, || {
            let span = tracing::info_span!("request", hostile_span = HOSTILE);
            let _entered = span.enter();
            tracing::info!(quoted = HOSTILE, shown = %HOSTILE, "says {HOSTILE}");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line = text.trim_end_matches('\n');
        let found =
            line.chars().find(|c| c.is_control() || "\u{202e}\u{2028}\u{e0041}".contains(*c));
        assert_eq!(found, None, "{text}");
        assert!(line.contains("quoted") && line.contains("hostile_span"), "{text}");
    }
}

#[test]
fn an_escaped_line_of_json_means_what_was_sent() {
    let text = written(true, sampler(0).0, || tracing::info!(sent = HOSTILE, "a message"));
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(line["fields"]["sent"], HOSTILE);
    assert_eq!(line["fields"]["message"], "a message");
    assert_eq!(line["level"], "INFO");
}

#[test]
fn lines_for_people_are_a_message_and_fields() {
    let text =
        written(false, sampler(0).0, || tracing::warn!(count = 3, name = "x", "it happened"));
    assert!(text.contains(" WARN ") && text.contains("it happened count=3 name=\"x\""), "{text}");
}

fn say(times: usize) {
    for number in 0..times {
        tracing::info!(number, "again");
    }
}

#[test]
fn a_message_that_comes_too_often_is_counted_instead() {
    let (sampler, clock) = sampler(3);
    let text = written(false, Arc::clone(&sampler), || {
        say(10);
        tracing::info!("another");
    });
    assert_eq!((text.matches("again").count(), text.matches("another").count()), (3, 1), "{text}");
    assert_eq!((sampler.suppressed(), sampler.shown()[2]), (7, ("info", 4)));
    let text = written(false, Arc::clone(&sampler), || say(1));
    assert_eq!(text, "", "the interval is not over");

    clock.advance(Duration::from_secs(10));
    let (stop, stopped) = watch::channel(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let text = written(false, Arc::clone(&sampler), || {
        runtime.block_on(summarize(Arc::clone(&sampler), stopped));
        say(5);
    });
    drop(stop);
    let summary = "log lines were suppressed module=\"tinyobs::logging::tests\" line=\"again\" suppressed=8 of=11";
    assert!(text.contains(summary), "{text}");
    assert_eq!(text.matches("again number").count(), 3, "{text}");
}

#[test]
fn errors_are_never_suppressed() {
    let text = written(false, sampler(1).0, || {
        for _ in 0..5 {
            tracing::error!("lost");
        }
    });
    assert_eq!(text.matches("lost").count(), 5, "{text}");
}

#[test]
fn spans_of_traces_do_not_show() {
    let text = written(false, sampler(0).0, || {
        let span = tracing::info_span!(target: TRACE_TARGET, "hidden");
        let _entered = span.enter();
        tracing::info!("a line");
    });
    assert!(text.contains("a line") && !text.contains("hidden"), "{text}");
}

#[test]
fn the_client_of_kubernetes_is_silent_unless_it_is_named() {
    for (level, expected) in
        [("info", false), ("debug,kube_client=warn", true), ("tinyobs=debug,info", false)]
    {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = human(move || writer.clone(), false);
        let filter = filter(level).expect("a filter");
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "kube_client::client::builder", "failed with status 503");
            tracing::info!("a line");
        });
        let text = String::from_utf8(kept.0.lock().clone()).expect("text");
        assert_eq!(text.contains("503"), expected, "{level}: {text}");
        assert!(text.contains("a line"), "{level}: {text}");
    }
}

#[test]
fn the_level_can_change() {
    let (level, handle) = reload::Layer::new(filter("warn").expect("a filter"));
    let log = Log { level: handle, sampler: sampler(0).0 };
    let kept = Kept::default();
    let writer = kept.clone();
    let lines = human(move || writer.clone(), false);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(level));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("too quiet");
        log.set_level("tinyobs=info").expect("a filter");
        tracing::info!("heard");
        log.set_level("tinyobs=nonsense").expect_err("no filter");
        tracing::info!("still heard");
    });
    let text = String::from_utf8(kept.0.lock().clone()).expect("text");
    assert!(!text.contains("too quiet"), "{text}");
    assert!(text.contains("heard") && text.contains("still heard"), "{text}");
}
