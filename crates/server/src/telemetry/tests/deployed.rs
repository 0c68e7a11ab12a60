//! What we ship over our own series: the dashboard, the alerts, the list in the documents.

use std::collections::BTreeMap;

use promql::parse;
use serde_json::Value;

use super::*;

const DASHBOARD: &str = include_str!("../../../../../deploy/grafana/tinyobs.json");
const RULES: &str = include_str!("../../../../../deploy/rules/tinyobs.yml");
const DOCUMENT: &str = include_str!("../../../../../docs/observability.md");

/// Returns the texts under `key` at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str() {
                    Some(text) if name == key => found.push(text),
                    _ => texts(field, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// Checks that our own parser reads an expression, and that each of its metrics is exposed.
fn check(text: &str, exposed: &BTreeSet<String>) {
    let text = text.replace("$__rate_interval", "1m");
    let expr = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let printed = expr.to_string();
    let own = printed.split(|character| !is_name(character));
    let own: Vec<&str> =
        own.filter(|word| word.starts_with("tinyobs_") || word.starts_with("process_")).collect();
    assert!(!own.is_empty() || printed.contains("up{"), "{text} is about nothing of ours");
    for metric in own {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| metric.strip_suffix(suffix).filter(|name| exposed.contains(*name)))
            .unwrap_or(metric);
        assert!(exposed.contains(family), "{metric} in {text} is not exposed");
    }
}

fn exposed() -> BTreeSet<String> {
    let page = telemetry().plain();
    families(&page).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_dashboard_asks_for_what_is_exposed() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    let exposed = exposed();
    expressions.iter().for_each(|text| check(text, &exposed));
}

#[test]
fn the_alerts_ask_for_what_is_exposed() {
    let rules: Value = serde_saphyr::from_str(RULES).expect("YAML");
    let mut expressions = Vec::new();
    texts(&rules, "expr", &mut expressions);
    assert!(expressions.len() > 10, "{expressions:?}");
    let exposed = exposed();
    expressions.iter().for_each(|text| check(text, &exposed));
}

/// Writes the table of families for the document.
fn table(page: &str) -> String {
    let mut families: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name).or_default().1 = help;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            families.entry(name).or_default().0 = kind;
        }
    }
    let row =
        |(name, (kind, help)): (&&str, &(&str, &str))| format!("| `{name}` | {kind} | {help} |");
    let rows: Vec<String> = families.iter().map(row).collect();
    rows.join("\n")
}

#[test]
fn the_document_lists_every_series() {
    let table = table(&telemetry().plain());
    assert!(
        DOCUMENT.contains(&table),
        "docs/observability.md lists other series than there are; its table should be:\n{table}"
    );
}
