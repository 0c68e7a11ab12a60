//! `tinyobs query`: a client of the HTTP API.

use std::io::Write as _;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::Value;

use crate::Failure;
use crate::cli::QueryArgs;
use crate::client::Client;

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

fn ask(args: QueryArgs) -> Result<Bytes, Failure> {
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
    Client::new(&args.server)?.post_form(&format!("/api/v1/{path}"), &given)
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
