//! What goes wrong with a server, as far as it is answered differently.

use std::error::Error;
use std::time::Duration;

use kube::core::Status;

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// The cause of a refusal of a version that the server does not know yet.
const VERSION_TOO_LARGE: &str = "ResourceVersionTooLarge";

/// A request or a watch that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// What people read.
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The server no longer knows the version or the page that was asked for: everything has to be listed again.
    Gone,
    /// The server asks to wait.
    Busy { for_at_least: Duration },
    /// Anything that a retry may cure.
    Other,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// `list` or `watch`.
    pub(crate) verb: &'static str,
    /// `pods` or `events`.
    pub(crate) resource: &'static str,
    pub(crate) namespace: Option<&'a str>,
}

impl Fault {
    pub(crate) fn new(asked: &Asked<'_>, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(asked, status),
            _ => Self::other(asked, &chain(error)),
        }
    }

    /// Takes what a server answers, or says within a watch.
    pub(crate) fn of_status(asked: &Asked<'_>, status: &Status) -> Self {
        let details = status.details.as_ref();
        let asked_wait = details.map_or(0, |details| details.retry_after_seconds);
        // The server was restored from a backup, and has not come as far as the watch was.
        let is_ahead = details.is_some_and(|details| {
            details.causes.iter().any(|cause| cause.reason == VERSION_TOO_LARGE)
        });
        let kind = match status.code {
            410 => FaultKind::Gone,
            _ if is_ahead => FaultKind::Gone,
            429 | 503 => FaultKind::Busy { for_at_least: Duration::from_secs(asked_wait.into()) },
            _ => FaultKind::Other,
        };
        let Asked { verb, resource, .. } = asked;
        let place = asked.place();
        let reason = match status.code {
            401 => "the server does not accept the credentials".to_owned(),
            403 => format!("the verb '{verb}' on '{resource}' {place} is not allowed; grant it"),
            code if status.message.is_empty() => {
                format!("cannot {verb} {resource} {place}: status {code}")
            }
            code => format!("cannot {verb} {resource} {place}: {} ({code})", status.message),
        };
        Self { kind, reason: cut(reason) }
    }

    pub(crate) fn other(asked: &Asked<'_>, why: &str) -> Self {
        let reason = format!("cannot {} {} {}: {why}", asked.verb, asked.resource, asked.place());
        Self { kind: FaultKind::Other, reason: cut(reason) }
    }
}

impl Asked<'_> {
    fn place(&self) -> String {
        match self.namespace {
            Some(namespace) => format!("in namespace '{namespace}'"),
            None => "in all namespaces".to_owned(),
        }
    }
}

/// Returns what an error and its causes say, without what they repeat.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    cut(text)
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(REASON_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(json: Value) -> Status {
        serde_json::from_value(json).expect("a status")
    }

    #[test]
    fn a_status_says_what_to_do() {
        let check = |code: u16, namespace: Option<&str>, kind: FaultKind, reason: &str| {
            let asked = Asked { verb: "list", resource: "pods", namespace };
            let status = Status::failure("too bad", "Reason").with_code(code);
            assert_eq!(
                Fault::of_status(&asked, &status),
                Fault { kind, reason: reason.to_owned() }
            );
        };
        check(410, None, FaultKind::Gone, "cannot list pods in all namespaces: too bad (410)");
        check(
            403,
            Some("web"),
            FaultKind::Other,
            "the verb 'list' on 'pods' in namespace 'web' is not allowed; grant it",
        );
        check(401, None, FaultKind::Other, "the server does not accept the credentials");
        let busy = FaultKind::Busy { for_at_least: Duration::ZERO };
        check(429, None, busy, "cannot list pods in all namespaces: too bad (429)");
        check(503, None, busy, "cannot list pods in all namespaces: too bad (503)");
        check(500, None, FaultKind::Other, "cannot list pods in all namespaces: too bad (500)");
    }

    #[test]
    fn a_version_from_before_a_restore_is_gone() {
        let asked = Asked { verb: "watch", resource: "pods", namespace: None };
        let status = status(json!({"code": 504, "reason": "Timeout", "message": "too large",
            "details": {"causes": [{"reason": VERSION_TOO_LARGE, "message": "too large"}]}}));
        assert_eq!(Fault::of_status(&asked, &status).kind, FaultKind::Gone);
    }

    #[test]
    fn a_server_says_how_long_to_wait() {
        let asked = Asked { verb: "list", resource: "pods", namespace: None };
        let status = status(json!({"code": 429, "details": {"retryAfterSeconds": 7}}));
        let for_at_least = Duration::from_secs(7);
        assert_eq!(Fault::of_status(&asked, &status).kind, FaultKind::Busy { for_at_least });
    }

    #[test]
    fn a_reason_has_a_limit() {
        let asked = Asked { verb: "list", resource: "pods", namespace: None };
        let fault = Fault::other(&asked, &"é".repeat(REASON_BYTES_MAX));
        assert!((REASON_BYTES_MAX - 1..=REASON_BYTES_MAX).contains(&fault.reason.len()));
    }
}
