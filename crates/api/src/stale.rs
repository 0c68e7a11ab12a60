//! Remembers the last good answers, to be given, marked as old, when the storage fails.

use std::collections::{BTreeMap, VecDeque};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use model::Timestamp;
use parking_lot::Mutex;

use crate::params::Params;
use crate::time::format_rfc3339;

/// Most bytes that the answers of one tenant may take.
const BYTES_MAX: usize = 16 << 20;
/// Longest answer that is remembered, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Most answers of one tenant.
const ANSWERS_MAX: usize = 1024;

/// Parameters that say when; without them, the same question asked later is the same question.
const TIMES: [&str; 4] = ["time", "start", "end", "timeout"];

/// When a stale answer was made, RFC 3339.
const STALE_SINCE: HeaderName = HeaderName::from_static("x-tinyobs-stale-since");

/// The last good answers of a tenant.
#[derive(Debug, Default)]
pub(crate) struct LastAnswers {
    /// Never held across an await.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    answers: BTreeMap<String, Answer>,
    /// The keys in the order in which they came in; the first goes first.
    order: VecDeque<String>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    at: Timestamp,
    body: Bytes,
}

impl LastAnswers {
    /// Remembers a good answer. Its body must be in memory; what is longer than it may be is passed on as it is.
    pub(crate) async fn remember(
        &self,
        key: String,
        at: Timestamp,
        response: Response,
    ) -> Response {
        let length = http_body::Body::size_hint(response.body()).exact();
        let is_short = length.is_some_and(|length| length <= ANSWER_BYTES_MAX as u64);
        if !response.status().is_success() || !is_short {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return Response::from_parts(parts, Body::empty());
        };
        self.known.lock().put(key, Answer { at, body: body.clone() });
        Response::from_parts(parts, Body::from(body))
    }

    /// Returns the last good answer to the question, marked as old.
    pub(crate) fn recall(&self, key: &str, now: Timestamp) -> Option<Response> {
        let (at, body) = {
            let known = self.known.lock();
            let answer = known.answers.get(key)?;
            (answer.at, answer.body.clone())
        };
        let since = format_rfc3339(at);
        let mut response = Response::new(Body::from(marked(&body, &since)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::WARNING, HeaderValue::from_static("110 - \"Response is Stale\""));
        let age = u64::try_from(now.millis_since(at) / 1000).unwrap_or(0);
        headers.insert(header::AGE, HeaderValue::from(age));
        headers.extend(HeaderValue::from_str(&since).ok().map(|since| (STALE_SINCE, since)));
        Some(response)
    }
}

impl Known {
    fn put(&mut self, key: String, answer: Answer) {
        let size = |key: &str, answer: &Answer| 2 * key.len() + answer.body.len();
        self.bytes += size(&key, &answer);
        match self.answers.get_mut(&key) {
            Some(present) => {
                self.bytes -= size(&key, present);
                *present = answer;
            }
            None => {
                self.order.push_back(key.clone());
                self.answers.insert(key, answer);
            }
        }
        while self.bytes > BYTES_MAX || self.answers.len() > ANSWERS_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(answer) = self.answers.remove(&oldest) {
                self.bytes -= size(&oldest, &answer);
            }
        }
    }
}

/// Returns what makes two questions the same: the path and all parameters but the times.
pub(crate) fn key(params: &Params) -> String {
    let mut key = params.path().to_owned();
    for (name, value) in params.iter().filter(|(name, _)| !TIMES.contains(name)) {
        key.extend(["\0", name, "\0", value]);
    }
    key
}

/// Returns the body with a warning, where it has the place for one: an answer of the Prometheus API without warnings.
fn marked(body: &Bytes, since: &str) -> Bytes {
    const WARNINGS: &[u8] = b"],\"warnings\":[";
    let is_object = body.starts_with(b"{\"status\":\"success\",") && body.ends_with(b"}");
    if !is_object || body.windows(WARNINGS.len()).any(|window| window == WARNINGS) {
        return body.clone();
    }
    let mut marked = body[..body.len() - 1].to_vec();
    let warning = format!(
        ",\"warnings\":[\"the storage could not be read: this is the answer of {since}\"]}}"
    );
    marked.extend_from_slice(warning.as_bytes());
    marked.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &str) -> Response {
        Response::new(Body::from(body.to_owned()))
    }

    async fn text(response: Response) -> String {
        let body = response.into_body().collect().await.expect("in memory").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[tokio::test]
    async fn an_old_answer_says_how_old_it_is() {
        let last = LastAnswers::default();
        let body = r#"{"status":"success","data":[1]}"#;
        let passed = last.remember("q".to_owned(), at(5), json(body)).await;
        assert_eq!(text(passed).await, body);
        assert!(last.recall("other", at(9)).is_none());
        let stale = last.recall("q", at(9)).expect("known");
        assert_eq!(stale.headers()["age"], "4");
        assert_eq!(stale.headers()["x-tinyobs-stale-since"], "1970-01-01T00:00:05Z");
        let expected = r#"{"status":"success","data":[1],"warnings":["the storage could not be read: this is the answer of 1970-01-01T00:00:05Z"]}"#;
        assert_eq!(text(stale).await, expected);
    }

    #[tokio::test]
    async fn refusals_and_long_answers_are_not_remembered() {
        let last = LastAnswers::default();
        let mut refused = json("no");
        *refused.status_mut() = http::StatusCode::BAD_REQUEST;
        last.remember("refused".to_owned(), at(0), refused).await;
        let long = "x".repeat(ANSWER_BYTES_MAX + 1);
        assert_eq!(text(last.remember("long".to_owned(), at(0), json(&long)).await).await, long);
        assert!(last.recall("refused", at(1)).is_none() && last.recall("long", at(1)).is_none());
    }

    #[tokio::test]
    async fn the_oldest_answers_make_room() {
        let last = LastAnswers::default();
        let long = "x".repeat(ANSWER_BYTES_MAX);
        for number in 0..20 {
            last.remember(number.to_string(), at(number), json(&long)).await;
        }
        last.remember("19".to_owned(), at(20), json(&long)).await;
        assert!(last.recall("4", at(21)).is_none() && last.recall("5", at(21)).is_some());
        assert_eq!(last.known.lock().bytes, 15 * (ANSWER_BYTES_MAX + 4) - 10);
        for number in 0..=ANSWERS_MAX {
            last.remember(format!("short {number}"), at(30), json("x")).await;
        }
        assert_eq!(last.known.lock().answers.len(), ANSWERS_MAX);
    }
}
