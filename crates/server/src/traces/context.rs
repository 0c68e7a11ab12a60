//! W3C trace context: in from the headers of requests, out to those that we send.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use api::TraceContext;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use platform::{HttpClient, HttpError, HttpRequest, HttpResponse};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Reads and writes the headers `traceparent` and `tracestate`.
#[derive(Debug, Default)]
pub(crate) struct Propagation(TraceContextPropagator);

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        let header = (HeaderName::try_from(key), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = header {
            self.0.insert(name, value);
        }
    }
}

impl TraceContext for Propagation {
    fn adopt(&self, span: &Span, headers: &HeaderMap) {
        let parent = self.0.extract(&Headers(headers));
        if parent.span().span_context().is_valid()
            && let Err(error) = span.set_parent(parent)
        {
            tracing::debug!(error = %error, "request is not part of the trace that it names");
        }
    }
}

/// Sends requests as parts of the trace that they are made in.
#[derive(Debug)]
pub(crate) struct PropagatingHttpClient {
    inner: Arc<dyn HttpClient>,
    propagation: Propagation,
}

impl PropagatingHttpClient {
    pub(crate) fn new(inner: Arc<dyn HttpClient>) -> Self {
        Self { inner, propagation: Propagation::default() }
    }
}

impl HttpClient for PropagatingHttpClient {
    fn send(
        &self,
        mut request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        let context = Span::current().context();
        if context.span().span_context().is_valid() {
            self.propagation.0.inject_context(&context, &mut HeadersMut(&mut request.headers));
        }
        self.inner.send(request)
    }
}
