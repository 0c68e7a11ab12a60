//! Responses in, samples out.

use std::time::Duration;

use model::is_stale;
use platform::SimFs;

use super::super::config::ScrapeDefaults;
use super::*;

fn job(more: &str) -> Job {
    let defaults = ScrapeDefaults {
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        body_bytes_max: 1 << 20,
    };
    let yaml = format!("job_name: j\n{more}");
    let config = serde_saphyr::from_str(&yaml).expect("a job");
    Job::check(config, &defaults, SimFs::new().as_ref()).expect("a valid job")
}

fn target() -> TargetId {
    let labels = Labels::from_pairs([("job", "j"), ("instance", "a:1")]).expect("labels");
    TargetId { labels, url: "http://a:1/metrics".to_owned() }
}

/// Scrapes `body` at `second` and returns what is stored but for the reports, as text.
fn check(
    state: &mut TargetState,
    job: &Job,
    second: i64,
    body: Result<&str, &str>,
    expected: &[&str],
) {
    let timing = Timing { start: Timestamp::from_millis(second * 1000), duration_seconds: 0.5 };
    let fetched =
        body.map(|body| (body, ExpositionFormat::Prometheus)).map_err(|reason| reason.to_owned());
    let outcome = state.scrape(job, &target(), timing, fetched);
    let mut shown: Vec<String> = Vec::new();
    for (labels, sample) in &outcome.samples {
        let name = labels.metric_name().unwrap_or_default();
        if !REPORTS.contains(&name) || name == "up" {
            let value =
                if is_stale(sample.value) { "stale".to_owned() } else { sample.value.to_string() };
            let labels = labels.filtered(|label| label != "job" && label != "instance");
            shown.push(format!("{labels} {value} @{}", sample.timestamp.as_millis()));
        }
    }
    assert_eq!(shown, expected);
}

#[test]
fn a_series_that_is_missing_ends_and_a_failed_scrape_ends_all() {
    let (job, mut state) = (job(""), TargetState::default());
    let both =
        [r#"{__name__="a"} 1 @1000"#, r#"{__name__="b"} 2 @1000"#, r#"{__name__="up"} 1 @1000"#];
    check(&mut state, &job, 1, Ok("a 1\nb 2\n"), &both);
    let one = [
        r#"{__name__="a"} 3 @2000"#,
        r#"{__name__="b"} stale @2000"#,
        r#"{__name__="up"} 1 @2000"#,
    ];
    check(&mut state, &job, 2, Ok("a 3\n"), &one);
    let none = [r#"{__name__="a"} stale @3000"#, r#"{__name__="up"} 0 @3000"#];
    check(&mut state, &job, 3, Err("connection refused"), &none);
    let still = [r#"{__name__="up"} 0 @4000"#];
    check(&mut state, &job, 4, Ok("a {broken\n"), &still);
}

#[test]
fn scraped_times_are_kept_and_such_series_do_not_end() {
    let (job, mut state) = (job(""), TargetState::default());
    check(
        &mut state,
        &job,
        1,
        Ok("a 1 500\n"),
        &[r#"{__name__="a"} 1 @500"#, r#"{__name__="up"} 1 @1000"#],
    );
    check(&mut state, &job, 2, Ok(""), &[r#"{__name__="up"} 1 @2000"#]);
}

#[test]
fn honor_timestamps_false_replaces_scraped_times() {
    let (job, mut state) = (job("honor_timestamps: false"), TargetState::default());
    check(
        &mut state,
        &job,
        1,
        Ok("a 1 500\n"),
        &[r#"{__name__="a"} 1 @1000"#, r#"{__name__="up"} 1 @1000"#],
    );
}

#[test]
fn labels_of_the_target_win_unless_honoured() {
    let body = "a{job=\"own\"} 1\n";
    let stored = |more: &str| {
        let timing = Timing { start: Timestamp::from_millis(0), duration_seconds: 0.0 };
        let fetched = Ok((body, ExpositionFormat::Prometheus));
        let outcome = TargetState::default().scrape(&job(more), &target(), timing, fetched);
        outcome.samples[0].0.to_string()
    };
    assert_eq!(stored(""), r#"{__name__="a", exported_job="own", instance="a:1", job="j"}"#);
    assert_eq!(stored("honor_labels: true"), r#"{__name__="a", instance="a:1", job="own"}"#);
}

#[test]
fn rules_drop_series_and_the_sample_limit_fails_the_scrape() {
    let rules = "metric_relabel_configs: [{source_labels: [__name__], regex: 'b.*', action: drop}]";
    let (job_with_rules, mut state) = (job(rules), TargetState::default());
    let kept = [r#"{__name__="a"} 1 @1000"#, r#"{__name__="up"} 1 @1000"#];
    check(&mut state, &job_with_rules, 1, Ok("a 1\nb 2\n"), &kept);
    let limited = job("sample_limit: 1");
    let refused = [r#"{__name__="up"} 0 @1000"#];
    check(&mut TargetState::default(), &limited, 1, Ok("a 1\nb 2\n"), &refused);
    let enough = [r#"{__name__="a"} 1 @1000"#, r#"{__name__="up"} 1 @1000"#];
    check(&mut TargetState::default(), &limited, 1, Ok("a 1\n"), &enough);
}

#[test]
fn help_type_and_unit_become_metadata() {
    let body = "# HELP a What it is.\n# TYPE a counter\na 1\n";
    let timing = Timing { start: Timestamp::from_millis(0), duration_seconds: 0.0 };
    let fetched = Ok((body, ExpositionFormat::Prometheus));
    let outcome = TargetState::default().scrape(&job(""), &target(), timing, fetched);
    let batch = outcome.batch();
    let (metric, metadata) = &batch.metadata()[0];
    assert_eq!((metric.as_str(), metadata.help.as_str()), ("a", "What it is."));
    assert_eq!(metadata.metric_type, model::MetricType::Counter);
}

#[test]
fn a_target_that_is_gone_ends_all_its_series_with_its_reports() {
    let (job, mut state) = (job(""), TargetState::default());
    let timing = Timing { start: Timestamp::from_millis(0), duration_seconds: 0.0 };
    let fetched = Ok(("a 1\n", ExpositionFormat::Prometheus));
    drop(state.scrape(&job, &target(), timing, fetched));
    let ended = state.end(&target(), Timestamp::from_millis(9));
    assert_eq!(ended.samples.len(), 1 + REPORTS.len());
    assert!(ended.samples.iter().all(|(_, sample)| is_stale(sample.value)));
}
