//! Traces: spans become OTLP over HTTP, unless nobody asked for them.
//!
//! Spans of traces have a target of their own, so that the export, whose HTTP client has spans too, never traces
//! itself, and so that they cost nothing while tracing is off.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, Sampler, SdkTracerProvider};
use platform::Rng;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use crate::Failure;
use crate::logging::TRACE_TARGET;

mod context;
mod export;

pub(crate) use context::{PropagatingHttpClient, Propagation};
pub(crate) use export::{Exporter, Stats};

use export::Queue;

/// Where traces go, and which.
#[derive(Clone, Debug)]
pub(crate) struct TracesConfig {
    /// Where an OTLP receiver listens, such as `http://localhost:4318`; empty for nowhere.
    pub(crate) endpoint: String,
    /// Headers for the receiver, a line each.
    pub(crate) headers: Option<SecretString>,
    pub(crate) timeout: Duration,
    /// The share of requests that is traced, of those that do not come with a trace.
    pub(crate) sample_ratio: f64,
}

impl TracesConfig {
    /// Returns the URL that spans are sent to.
    fn url(&self) -> String {
        let base = self.endpoint.trim_end_matches('/');
        if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") }
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let lines = self.headers.as_ref().map_or("", ExposeSecret::expose_secret).lines();
        for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) =
                line.split_once(':').ok_or_else(|| anyhow!("a header is written 'name: value'"))?;
            let name = HeaderName::try_from(name.trim()).context("a header's name is invalid")?;
            let mut value = HeaderValue::try_from(value.trim())
                .map_err(|_| anyhow!("the value of the header '{name}' is invalid"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// What tracing consists of while it is on.
pub(crate) struct Traces {
    /// Makes spans of ours; given to the log's subscriber.
    pub(crate) layer: Box<dyn Layer<Registry> + Send + Sync>,
    /// Sends them away; to be run.
    pub(crate) exporter: Exporter,
}

/// Returns what the configuration asks for: nothing by default.
///
/// # Errors
///
/// A header is malformed.
pub(crate) fn open(config: &TracesConfig, rng: Arc<dyn Rng>) -> Result<Option<Traces>, Failure> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let headers = config.headers().context("tracing.otlp.headers").map_err(Failure::Usage)?;
    let resource = Resource::builder_empty()
        .with_service_name("tinyobs")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let (queue, spans) = Queue::new();
    let stats = queue.stats();
    let exporter = Exporter::new(spans, stats, (config.url(), headers), config.timeout, &resource);
    let layer = layer(queue, resource, config.sample_ratio, rng);
    Ok(Some(Traces { layer, exporter }))
}

fn layer(
    queue: Queue,
    resource: Resource,
    sample_ratio: f64,
    rng: Arc<dyn Rng>,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    // Who sends a trace along has decided whether it is recorded.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio)));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(sampler)
        .with_id_generator(Ids(rng))
        .with_resource(resource)
        .build();
    let tracer = provider.tracer_with_scope(InstrumentationScope::builder("tinyobs").build());
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == TRACE_TARGET);
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        .with_filter(ours)
        .boxed()
}

/// Makes identifiers of the program's own randomness.
#[derive(Debug)]
struct Ids(Arc<dyn Rng>);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        TraceId::from_bytes(bytes)
    }

    fn new_span_id(&self) -> SpanId {
        // Zero stands for no span.
        SpanId::from_bytes(self.0.next_u64().max(1).to_be_bytes())
    }
}

#[cfg(test)]
mod tests;
