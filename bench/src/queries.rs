//! Asking: each query several times, the median of each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::load::STEP_S;
use crate::peer::{Kind, Peer};
use crate::report::{Row, median};

/// How often each query is asked.
const ROUNDS: usize = 5;

/// Seconds between two points of a range query.
const RANGE_STEP_S: u64 = 60;

/// One query of the list.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) is_range: bool,
    pub(crate) expression: String,
}

/// Reads a list of queries.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<Query>> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (kind, expression) = line.split_once(' ').context("kind and expression")?;
            let is_range = match kind {
                "instant" => false,
                "range" => true,
                _ => bail!("'{kind}' is neither instant nor range"),
            };
            Ok(Query { is_range, expression: expression.to_owned() })
        })
        .collect()
}

/// Returns the median seconds of each query, until the last byte of the answer.
pub(crate) fn ask(
    peer: &Peer,
    queries: &[Query],
    row: Row,
    end: Duration,
) -> anyhow::Result<Vec<f64>> {
    let end_s = end.as_secs();
    let start_s = end_s - row.steps.saturating_sub(1) * STEP_S;
    let mut connection = peer.connect()?;
    let mut medians = Vec::with_capacity(queries.len());
    for query in queries {
        let mut parameters = vec![("query", query.expression.clone())];
        let route = if query.is_range {
            parameters.push(("start", start_s.to_string()));
            parameters.push(("end", end_s.to_string()));
            parameters.push(("step", RANGE_STEP_S.to_string()));
            "query_range"
        } else {
            parameters.push(("time", end_s.to_string()));
            "query"
        };
        if peer.kind == Kind::VictoriaMetrics {
            parameters.push(("nocache", "1".to_owned()));
        }
        let form = serde_urlencoded::to_string(&parameters).context("encode")?;
        let path = format!("/api/v1/{route}?{form}");
        let mut seconds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let (status, answer) = connection.request("GET", &path, "", &[])?;
            seconds.push(started.elapsed().as_secs_f64());
            if status != 200 {
                let answer = String::from_utf8_lossy(&answer);
                bail!("{} answers {status} to {}: {answer}", peer.kind.name(), query.expression);
            }
        }
        medians.push(median(&mut seconds));
    }
    Ok(medians)
}
