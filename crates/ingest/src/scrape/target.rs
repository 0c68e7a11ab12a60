//! One target: what it is called, what was fetched from it, what is stored of that.
//!
//! No I/O here: a response goes in, samples come out.

use std::collections::{BTreeMap, HashMap};

use model::{
    LabelError, Labels, LabelsBuilder, METRIC_NAME, MetricMetadata, Sample, SeriesKey, Timestamp,
    WriteBatch, stale_nan,
};

use super::config::{Job, TargetGroup};
use crate::text::{Entry, ExpositionError, ExpositionFormat, parse_exposition};

/// The identity of a target: two with equal identity are scraped once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TargetId {
    /// The labels that every series of it carries.
    pub(super) labels: Labels,
    pub(super) url: String,
}

/// Why a discovered address is not scraped.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("no address is left after relabelling")]
    NoAddress,
    #[error(transparent)]
    Labels(#[from] LabelError),
}

/// Returns the targets of a group; those that a rule drops are left out.
pub(super) fn targets_of(job: &Job, group: &TargetGroup) -> Vec<Result<TargetId, TargetError>> {
    group.targets.iter().filter_map(|address| target_of(job, group, address).transpose()).collect()
}

fn target_of(
    job: &Job,
    group: &TargetGroup,
    address: &str,
) -> Result<Option<TargetId>, TargetError> {
    let config = &job.config;
    let mut labels = LabelsBuilder::new();
    labels.set("job", &config.job_name);
    labels.set("__scheme__", &config.scheme);
    labels.set("__metrics_path__", &config.metrics_path);
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            labels.set(&format!("__param_{name}"), first);
        }
    }
    for (name, value) in &group.labels {
        labels.set(name, value);
    }
    labels.set("__address__", address);
    if !job.relabel.apply(&mut labels) {
        return Ok(None);
    }
    let address = labels.get("__address__").ok_or(TargetError::NoAddress)?.to_owned();
    let url = url_of(config.params.clone(), &labels, &address);
    if labels.get("instance").is_none() {
        labels.set("instance", &address);
    }
    let labels = labels.build()?.filtered(|name| !name.starts_with("__"));
    Ok(Some(TargetId { labels, url }))
}

fn url_of(
    mut params: BTreeMap<String, Vec<String>>,
    labels: &LabelsBuilder,
    address: &str,
) -> String {
    for (label, value) in labels.iter() {
        if let Some(name) = label.strip_prefix("__param_") {
            let values = params.entry(name.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => value.clone_into(first),
                None => values.push(value.to_owned()),
            }
        }
    }
    let scheme = labels.get("__scheme__").unwrap_or("http");
    let path = labels.get("__metrics_path__").unwrap_or("/metrics");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let pairs: Vec<(&str, &str)> = params
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())))
        .collect();
    let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}://{address}{slash}{path}{mark}{query}")
}

/// What was fetched, or why nothing was.
pub(super) type Fetched<'a> = Result<(&'a str, ExpositionFormat), String>;

/// Why a scrape counts as failed although something was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    #[error("{0}")]
    Fetch(String),
    #[error(transparent)]
    Exposition(#[from] ExpositionError),
    #[error(transparent)]
    Labels(#[from] LabelError),
    #[error("more than {limit} samples, the sample_limit of the job")]
    TooManySamples { limit: usize },
}

/// When and how long a scrape was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) start: Timestamp,
    pub(super) duration_seconds: f64,
}

/// What a scrape makes of a target.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    samples: Vec<(Labels, Sample)>,
    metadata: BTreeMap<String, MetricMetadata>,
    /// Why the target counts as down.
    pub(super) error: Option<ScrapeError>,
}

impl Outcome {
    /// Returns everything as one batch.
    pub(super) fn batch(&self) -> WriteBatch<'_> {
        let mut batch = WriteBatch::new();
        for (labels, sample) in &self.samples {
            batch.push(SeriesKey::canonical(labels), *sample);
        }
        for (metric, metadata) in &self.metadata {
            batch.push_metadata(metric.clone(), metadata.clone());
        }
        batch
    }
}

/// A target's memory from scrape to scrape.
#[derive(Debug, Default)]
pub(super) struct TargetState {
    /// What the text of a series means; `None` for those that a rule drops.
    known: HashMap<String, Known>,
    /// The series of the last scrape that end when they are missing from the next.
    live: Vec<Labels>,
    scrapes: u64,
}

#[derive(Debug)]
struct Known {
    labels: Option<Labels>,
    last_scrape: u64,
}

#[derive(Debug, Default)]
struct Scraped {
    samples: Vec<(Labels, Sample)>,
    metadata: BTreeMap<String, MetricMetadata>,
    live: Vec<Labels>,
    scraped: usize,
    added: usize,
}

impl TargetState {
    /// Turns what was fetched into samples, with the markers and reports that belong to them.
    pub(super) fn scrape(
        &mut self,
        job: &Job,
        target: &TargetId,
        timing: Timing,
        fetched: Fetched<'_>,
    ) -> Outcome {
        self.scrapes += 1;
        let scraped = fetched
            .map_err(ScrapeError::Fetch)
            .and_then(|(body, format)| self.read(job, target, timing.start, body, format));
        let (mut scraped, error) = match scraped {
            Ok(scraped) => (scraped, None),
            Err(error) => (Scraped::default(), Some(error)),
        };
        let scrapes = self.scrapes;
        if error.is_none() {
            self.known.retain(|_, known| known.last_scrape == scrapes);
        }
        let kept = scraped.samples.len();
        scraped.live.sort_unstable();
        let live = std::mem::replace(&mut self.live, scraped.live);
        let ended = live.into_iter().filter(|labels| self.live.binary_search(labels).is_err());
        scraped
            .samples
            .extend(ended.map(|labels| (labels, Sample::new(timing.start, stale_nan()))));
        #[expect(clippy::cast_precision_loss, reason = "counts of one scrape")]
        let reports = [
            ("up", f64::from(u8::from(error.is_none()))),
            ("scrape_duration_seconds", timing.duration_seconds),
            ("scrape_samples_scraped", scraped.scraped as f64),
            ("scrape_samples_post_metric_relabeling", kept as f64),
            ("scrape_series_added", scraped.added as f64),
        ];
        for (name, value) in reports {
            let labels = report_labels(target, name);
            scraped.samples.push((labels, Sample::new(timing.start, value)));
        }
        Outcome { samples: scraped.samples, metadata: scraped.metadata, error }
    }

    /// Ends every series, reports included, because the target is gone.
    pub(super) fn end(&mut self, target: &TargetId, now: Timestamp) -> Outcome {
        let reports = REPORTS.iter().map(|name| report_labels(target, name));
        let samples = std::mem::take(&mut self.live)
            .into_iter()
            .chain(reports)
            .map(|labels| (labels, Sample::new(now, stale_nan())))
            .collect();
        Outcome { samples, ..Outcome::default() }
    }

    fn read(
        &mut self,
        job: &Job,
        target: &TargetId,
        start: Timestamp,
        body: &str,
        format: ExpositionFormat,
    ) -> Result<Scraped, ScrapeError> {
        let mut scraped = Scraped::default();
        for entry in parse_exposition(body, format) {
            let sample = match entry? {
                Entry::Sample(sample) => sample,
                Entry::Help { metric, help } => {
                    scraped.metadata.entry(metric.into_owned()).or_default().help =
                        help.into_owned();
                    continue;
                }
                Entry::Type { metric, metric_type } => {
                    scraped.metadata.entry(metric.into_owned()).or_default().metric_type =
                        metric_type;
                    continue;
                }
                Entry::Unit { metric, unit } => {
                    scraped.metadata.entry(metric.into_owned()).or_default().unit = unit.to_owned();
                    continue;
                }
            };
            scraped.scraped += 1;
            let text = sample.series.as_str();
            let labels = match self.known.get_mut(text) {
                Some(known) => {
                    known.last_scrape = self.scrapes;
                    known.labels.clone()
                }
                None => {
                    let labels = series_labels(job, target, &sample.series.labels()?)?;
                    let known = Known { labels: labels.clone(), last_scrape: self.scrapes };
                    self.known.insert(text.to_owned(), known);
                    scraped.added += usize::from(labels.is_some());
                    labels
                }
            };
            let Some(labels) = labels else { continue };
            let own_time = sample.timestamp.filter(|_| job.config.honor_timestamps);
            if own_time.is_none() {
                scraped.live.push(labels.clone());
            }
            scraped.samples.push((labels, Sample::new(own_time.unwrap_or(start), sample.value)));
            let limit = job.config.sample_limit;
            if limit > 0 && scraped.samples.len() > limit {
                return Err(ScrapeError::TooManySamples { limit });
            }
        }
        Ok(scraped)
    }
}

const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

fn report_labels(target: &TargetId, name: &str) -> Labels {
    let mut labels = target.labels.to_builder();
    labels.set(METRIC_NAME, name);
    labels.build().expect("a target's labels have names")
}

/// Joins a scraped series with its target; `None` when a rule drops it.
fn series_labels(
    job: &Job,
    target: &TargetId,
    scraped: &Labels,
) -> Result<Option<Labels>, LabelError> {
    let mut labels = scraped.to_builder();
    for (name, value) in &target.labels {
        let Some(own) = scraped.get(name) else {
            labels.set(name, value);
            continue;
        };
        if !job.config.honor_labels {
            let mut moved = format!("exported_{name}");
            while scraped.get(&moved).is_some() || target.labels.get(&moved).is_some() {
                moved.insert_str(0, "exported_");
            }
            labels.set(&moved, own);
            labels.set(name, value);
        }
    }
    if !job.metric_relabel.apply(&mut labels) {
        return Ok(None);
    }
    labels.build().map(Some)
}

#[cfg(test)]
mod tests;
