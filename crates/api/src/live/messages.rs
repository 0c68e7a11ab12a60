//! What clients of live updates send.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Shortest distance of two answers, in milliseconds.
const STEP_MS_MIN: i64 = 1_000;
/// Longest distance of two answers, in milliseconds.
const STEP_MS_MAX: i64 = 3_600_000;
/// Longest name of a query, in bytes.
const ID_BYTES_MAX: usize = 64;

/// A query to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) query: String,
    pub(super) step_ms: i64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Received {
    Subscribe { queries: Vec<Query> },
}

#[derive(Deserialize)]
struct Query {
    id: String,
    query: String,
    step_ms: Option<i64>,
}

/// Reads a message: the queries to follow from now on, by their names.
pub(super) fn parse(
    text: &str,
    queries_max: usize,
) -> Result<BTreeMap<String, Subscription>, String> {
    let Received::Subscribe { queries } =
        serde_json::from_str(text).map_err(|error| format!("message not understood: {error}"))?;
    if queries.len() > queries_max {
        return Err(format!("{} queries, the limit is {queries_max}", queries.len()));
    }
    let mut subscriptions = BTreeMap::new();
    for Query { id, query, step_ms } in queries {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(format!("the id of a query has 1 to {ID_BYTES_MAX} bytes"));
        }
        promql::parse(&query).map_err(|error| format!("query {id:?}: {error}"))?;
        let step_ms = step_ms.unwrap_or(STEP_MS_MIN);
        if !(STEP_MS_MIN..=STEP_MS_MAX).contains(&step_ms) {
            return Err(format!("step_ms of query {id:?} is not {STEP_MS_MIN} to {STEP_MS_MAX}"));
        }
        if subscriptions.insert(id.clone(), Subscription { query, step_ms }).is_some() {
            return Err(format!("two queries have the id {id:?}"));
        }
    }
    Ok(subscriptions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_names_its_queries() {
        let text = r#"{"type":"subscribe","queries":[{"id":"a","query":"up","step_ms":2000}]}"#;
        let expected = Subscription { query: "up".to_owned(), step_ms: 2_000 };
        assert_eq!(parse(text, 1), Ok(BTreeMap::from([("a".to_owned(), expected)])));
        assert_eq!(parse(text, 0), Err("1 queries, the limit is 0".to_owned()));
    }

    #[test]
    fn mistakes_are_named() {
        for (queries, expected) in [
            (r#"{"id":"","query":"up"}"#, "the id of a query"),
            (r#"{"id":"a","query":"up("}"#, "query \"a\": 1:"),
            (r#"{"id":"a","query":"up","step_ms":999}"#, "step_ms of query"),
            (r#"{"id":"a","query":"up","step_ms":3600001}"#, "step_ms of query"),
            (r#"{"id":"a","query":"up"},{"id":"a","query":"up"}"#, "two queries"),
            (r#"{"id":"a"}"#, "message not understood"),
        ] {
            let text = format!(r#"{{"type":"subscribe","queries":[{queries}]}}"#);
            let error = parse(&text, 16).expect_err(&text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
