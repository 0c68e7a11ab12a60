//! `/metrics`: what the program counts, for scrapers.

use std::sync::Arc;

use access::Permission;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, header};
use model::TenantId;

use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::failure::{Failure, Kind, PlainFailure};
use crate::openapi::Description;
use crate::parts::App;

/// Where scrapers look.
pub(crate) const PATH: &str = "/metrics";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the endpoint for scrapers.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let rule = (Access::Needs(Permission::MetricsRead), Class::Query);
    let description =
        Description::new("observability", "Expose what the program says about itself")
            .details(
                "In Prometheus' text format, or in OpenMetrics for those who prefer it. The series are those of \
                 the default tenant; telemetry.metrics_public opens them to everybody.",
            )
            .answers_media(200, PLAIN, "The page of metrics.");
    vec![Endpoint::new(Verb::Get, PATH, rule, metrics).family(Family::Plain).describe(description)]
}

async fn metrics(State(app): State<Arc<App>>, request: Request) -> Result<Response, PlainFailure> {
    // The page tells of all tenants; it is kept in the default tenant's store, and whoever may read that may read it.
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| caller.tenant.id != TenantId::default_tenant()) {
        let message = "the metrics of this program belong to the default tenant";
        return Err(Failure::new(Kind::TenantForbidden, message).into());
    }
    let open_metrics = prefers_open_metrics(request.headers());
    let exposition = Arc::clone(&app.observability.exposition);
    let made = tokio::task::spawn_blocking(move || {
        if open_metrics {
            (OPEN_METRICS, exposition.open_metrics().as_bytes().to_vec())
        } else {
            (PLAIN, exposition.plain().into_bytes())
        }
    });
    let (content_type, page) = made.await.map_err(|error| {
        tracing::error!(error = %error, "metrics page panicked");
        Failure::new(Kind::Internal, "the page could not be made; the log says more")
    })?;
    Ok(([(header::CONTENT_TYPE, content_type)], page).into_response())
}

/// Returns whether a client would rather have OpenMetrics 1.0 than plain text.
fn prefers_open_metrics(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let items = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let (mut open_metrics, mut plain) = (0.0_f32, 0.0_f32);
    for item in items {
        let mut fields = item.split(';').map(str::trim);
        let kind = fields.next().unwrap_or_default().to_ascii_lowercase();
        let (mut weight, mut version) = (1.0_f32, None);
        for field in fields {
            match field.split_once('=') {
                Some(("q", text)) => weight = text.parse().unwrap_or(0.0),
                Some(("version", text)) => version = Some(text.trim_matches('"')),
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if version.is_none_or(|version| version == "1.0.0") => {
                open_metrics = open_metrics.max(weight);
            }
            "text/plain" | "text/*" | "*/*" => plain = plain.max(weight),
            _ => {}
        }
    }
    open_metrics > 0.0 && open_metrics >= plain
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_preferred() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=0.0.1", false),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("text/plain, application/openmetrics-text;q=0.1", false),
            ("application/openmetrics-text;q=0", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_open_metrics(&headers), expected, "{accept}");
        }
    }
}
