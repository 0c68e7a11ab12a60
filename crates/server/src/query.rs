//! `tinyobs query`: a client of the HTTP API.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::TenantId;
use platform::{HttpClient as _, HttpRequest, SystemHttpClient};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::Failure;
use crate::cli::{QueryArgs, environment};
use crate::state_command::read_secret;

/// The environment variable with the API key. It cannot be a flag: everybody on the machine sees those.
pub(crate) const KEY_VARIABLE: &str = "TINYOBS_KEY";

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The largest answer that is read.
const RESPONSE_BYTES_MAX: u64 = 1 << 30;

/// Runs `tinyobs query …`.
pub(crate) fn run(args: QueryArgs) -> Result<(), Failure> {
    let json = args.json;
    let answer = ask(args)?;
    let mut out = std::io::stdout().lock();
    if json {
        out.write_all(&answer).context("write the answer")?;
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&answer).context("read the server's answer")?;
    for line in warnings(&answer) {
        writeln!(std::io::stderr(), "{line}").context("write a warning")?;
    }
    for line in lines(&answer["data"]) {
        writeln!(out, "{line}").context("write the answer")?;
    }
    Ok(())
}

fn ask(args: QueryArgs) -> Result<Vec<u8>, Failure> {
    let key = key(args.key_file.as_deref())?;
    let headers = headers(key.as_ref(), args.tenant.as_ref())?;
    let server = args.server.trim_end_matches('/');
    let path = if args.start.is_some() { "query_range" } else { "query" };
    let parameters = [
        ("query", Some(args.expression)),
        ("time", args.time),
        ("start", args.start),
        ("end", args.end),
        ("step", args.step),
    ];
    let given: Vec<(&str, String)> =
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let form = serde_urlencoded::to_string(given).context("encode the query")?;
    let request = HttpRequest {
        method: http::Method::POST,
        url: format!("{server}/api/v1/{path}"),
        headers,
        body: form.into(),
        timeout: TIMEOUT,
        response_bytes_max: RESPONSE_BYTES_MAX,
    };
    let client = SystemHttpClient::new().context("set up the HTTP client")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let response = runtime.block_on(client.send(request)).context("ask the server")?;
    if response.status.is_success() {
        return Ok(response.body.to_vec());
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let reason = body["error"].as_str().unwrap_or("no reason given").to_owned();
    let error = anyhow!("server answers {}: {reason}", response.status.as_u16());
    if response.status == http::StatusCode::BAD_REQUEST {
        Err(Failure::Usage(error))
    } else {
        Err(Failure::Operation(error))
    }
}

/// Returns the key from its file, or else from the environment.
fn key(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    if file.is_some() {
        return read_secret("key", file).map(Some);
    }
    let mut variables = environment().into_iter();
    let found = variables.find(|(name, value)| name == KEY_VARIABLE && !value.is_empty());
    Ok(found.map(|(_, value)| value.into()))
}

fn headers(key: Option<&SecretString>, tenant: Option<&TenantId>) -> Result<HeaderMap, Failure> {
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
    if let Some(key) = key {
        let unusable = |_| Failure::Usage(anyhow!("the key has characters that no key has"));
        let mut value = HeaderValue::from_str(key.expose_secret()).map_err(unusable)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-api-key"), value);
    }
    if let Some(tenant) = tenant {
        let value = HeaderValue::from_str(tenant.as_str()).context("name the tenant")?;
        headers.insert(HeaderName::from_static("x-scope-orgid"), value);
    }
    Ok(headers)
}

fn warnings(answer: &Value) -> impl Iterator<Item = String> {
    let of = |key: &'static str| {
        answer[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(move |text| format!("{}: {text}", key.trim_end_matches('s')))
    };
    of("warnings").chain(of("infos"))
}

/// Returns one line per value: `{labels} value @ time`, as promtool prints them.
fn lines(data: &Value) -> Vec<String> {
    let point = |pair: &Value| {
        let value = pair[1].as_str().unwrap_or_default();
        format!("{value} @[{}]", pair[0])
    };
    let result = data["result"].as_array();
    match data["resultType"].as_str() {
        Some("vector") => result
            .into_iter()
            .flatten()
            .map(|series| format!("{} => {}", labels(&series["metric"]), point(&series["value"])))
            .collect(),
        Some("matrix") => result
            .into_iter()
            .flatten()
            .map(|series| {
                let points: Vec<String> =
                    series["values"].as_array().into_iter().flatten().map(point).collect();
                format!("{} =>\n{}", labels(&series["metric"]), points.join("\n"))
            })
            .collect(),
        Some("scalar") => vec![format!("scalar: {}", point(&data["result"]))],
        Some("string") => vec![data["result"][1].as_str().unwrap_or_default().to_owned()],
        _ => Vec::new(),
    }
}

fn labels(metric: &Value) -> String {
    let Some(metric) = metric.as_object() else { return "{}".to_owned() };
    let name = metric.get(model::METRIC_NAME).and_then(Value::as_str).unwrap_or_default();
    let pairs: Vec<String> = metric
        .iter()
        .filter(|(label, _)| *label != model::METRIC_NAME)
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    format!("{name}{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_result_type_is_printed() {
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "node"}, "value": [1.5, "1"]},
        ]});
        assert_eq!(lines(&vector), [r#"up{job="node"} => 1 @[1.5]"#]);
        let matrix = json!({"resultType": "matrix", "result": [
            {"metric": {}, "values": [[1, "2"], [2, "3"]]},
        ]});
        assert_eq!(lines(&matrix), ["{} =>\n2 @[1]\n3 @[2]"]);
        let scalar = json!({"resultType": "scalar", "result": [1, "2"]});
        assert_eq!(lines(&scalar), ["scalar: 2 @[1]"]);
    }
}
