//! `POST /v1/ingest`: samples as JSON, all stored or none.

mod decode;

use access::Unit;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use ingest::Compression;
use model::{
    AppendError, AppendMode, AppendReceipt, Labels, METRIC_NAME, MetricMetadata, MetricType,
    RejectReason, Sample, SampleSink as _, SeriesKey, WriteBatch,
};

use self::decode::{Decoded, decode};
use super::respond;
use crate::body::{self, json_response};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::json::Json;
use crate::stats::Protocol;
use crate::write;

/// Most metrics in one request.
pub(super) const METRICS_MAX: usize = 1000;
const NAME_BYTES_MAX: usize = 256;
const LABELS_MAX: usize = 20;
const LABEL_KEY_BYTES_MAX: usize = 256;
const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// Why a request was not stored.
#[derive(Debug)]
pub(crate) enum IngestFailure {
    /// As everywhere.
    Plain(Failure),
    /// There would be too many series.
    Cardinality { metric: String, current: u64, limit: u64, label: String, message: String },
}

impl From<Failure> for IngestFailure {
    fn from(failure: Failure) -> Self {
        Self::Plain(failure)
    }
}

impl IntoResponse for IngestFailure {
    fn into_response(self) -> Response {
        match self {
            Self::Plain(failure) => failure.native(),
            Self::Cardinality { metric, current, limit, label, message } => {
                let mut json = Json::new();
                json.display(format_args!(
                    r#"{{"error":"cardinality limit exceeded","current":{current},"limit":{limit},"metric":"#
                ));
                json.string(&metric);
                json.raw(r#","label":"#);
                json.string(&label);
                json.raw(r#","message":"#);
                json.string(&message);
                json.raw("}\n");
                json_response(StatusCode::BAD_REQUEST, json)
            }
        }
    }
}

/// Stores all samples of a request, or none.
pub(crate) async fn ingest(caller: Caller, request: Request) -> Result<Response, IngestFailure> {
    let (parts, body) = request.into_parts();
    let compression = body::compression(&parts.headers)?;
    let bytes_max = caller.app.limits.body_bytes_max;
    let work = move |caller: &Caller, bytes| store(caller, compression, bytes);
    let (count, receipt) = write::run(&caller, Unit::Samples, body, bytes_max, work).await?;
    if let Some(receipt) = receipt {
        caller.store().durable(receipt.sequence).await.map_err(Failure::from)?;
        caller.app.observability.stats.stored(Protocol::Json, receipt.stored_samples);
    }
    let mut json = Json::new();
    json.display(format_args!(r#"{{"status":"success","count":{count}}}"#));
    Ok(respond(json))
}

fn store(
    caller: &Caller,
    compression: Compression,
    body: Bytes,
) -> Result<(usize, Option<AppendReceipt>), IngestFailure> {
    let sent_bytes = body.len();
    let body = body::unpack(compression, body, caller.app.limits.body_bytes_max)?;
    let metrics = decode(&body)?;
    check_space(caller)?;
    let now = caller.app.clock.now();
    let mut prepared = Vec::with_capacity(metrics.len());
    for (index, metric) in metrics.iter().enumerate() {
        let labels = check(metric).map_err(|reason| at_index(index, &reason))?;
        let sample = Sample::new(metric.timestamp.unwrap_or(now), metric.value);
        prepared.push((labels, sample));
    }
    let mut batch = WriteBatch::new();
    for ((labels, sample), metric) in prepared.iter().zip(&metrics) {
        batch.push(SeriesKey::canonical(labels), *sample);
        if let Some(metric_type) = MetricType::from_name(&metric.kind) {
            let metadata = MetricMetadata { metric_type, ..MetricMetadata::default() };
            batch.push_metadata(metric.name.clone(), metadata);
        }
    }
    if batch.is_empty() {
        return Ok((0, None));
    }
    let charge = caller.charge(&batch, sent_bytes)?;
    let receipt = caller.store().append(&batch, AppendMode::AllOrNothing).map_err(refused)?;
    charge.keep(&receipt);
    Ok((metrics.len(), Some(receipt)))
}

fn check_space(caller: &Caller) -> Result<(), Failure> {
    let limit = caller.app.limits.storage_bytes_max;
    if limit == 0 {
        return Ok(());
    }
    let used = caller.bytes_on_disk();
    if used < limit {
        return Ok(());
    }
    let percent = used as f64 / limit as f64 * 100.0;
    let message = format!(
        "Storage limit exceeded: {used}/{limit} bytes used ({percent:.1}%). Please free up space or \
         increase limit."
    );
    Err(Failure::new(Kind::StorageFull, message))
}

/// Checks one metric and returns its labels.
fn check(metric: &Decoded) -> Result<Labels, String> {
    let name = &metric.name;
    if name.is_empty() {
        return Err("metric name cannot be empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        let length = name.len();
        return Err(format!("metric name too long (max 256 chars): {name:?} has {length} chars"));
    }
    let count = metric.labels.len();
    if count > LABELS_MAX {
        return Err(format!("too many labels (max 20): metric {name:?} has {count} labels"));
    }
    for (key, value) in &metric.labels {
        if key.len() > LABEL_KEY_BYTES_MAX {
            return Err(format!(
                "label key too long (max 256 chars): key {key:?} in metric {name:?}"
            ));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(format!(
                "label value too long (max 1024 chars): value for key {key:?} in metric {name:?}"
            ));
        }
        if key.starts_with("__") {
            return Err(format!(
                "label key {key:?} in metric {name:?} is reserved: choose one that does not begin \
                 with two underscores"
            ));
        }
    }
    let pairs = metric.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Labels::from_pairs(pairs.chain([(METRIC_NAME, name.as_str())]))
        .map_err(|error| error.to_string())
}

fn at_index(index: usize, reason: &str) -> Failure {
    Failure::bad_data(format!("invalid metric at index {index}: {reason}"))
}

fn refused(error: AppendError) -> IngestFailure {
    let AppendError::Rejected(rejection) = &error else { return Failure::from(error).into() };
    let reason = rejection.reason.to_string();
    match &rejection.reason {
        RejectReason::SeriesLimit { metric, current, limit, fastest_label, .. } => {
            IngestFailure::Cardinality {
                metric: metric.clone(),
                current: *current,
                limit: *limit,
                label: fastest_label.clone(),
                message: reason,
            }
        }
        _ => at_index(rejection.series_index, &reason).into(),
    }
}
