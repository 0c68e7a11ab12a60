//! Pulls, pods and nodes in words. Names come from elsewhere: nothing in them moves the cursor.

use api::parse_rfc3339;
use model::Timestamp;

use super::answer::{ClusterRow, ContainerRow, NodeRow, PodRow, Pull};
use super::live::Change;
use crate::logging::escaped;

/// What stands over a list of pulls.
pub(super) const HEADINGS: [&str; 9] =
    ["IMAGE", "NODE", "STATE", "DONE", "SIZE", "SPEED", "TIME", "LAYERS", "DETAILS"];
/// What stands over a list of pods.
pub(super) const POD_HEADINGS: [&str; 6] =
    ["NAMESPACE", "POD", "NODE", "CONTAINER", "IMAGE", "WAITS FOR"];
/// What stands over a list of nodes.
pub(super) const NODE_HEADINGS: [&str; 8] =
    ["NODE", "AGENT", "RUNTIME", "LOOKS AT", "REPORTS", "PULLS", "SPEED", "ERROR"];

/// The registry that people leave out, with the folder that they leave out.
const USUAL: [&str; 2] = ["docker.io/library/", "docker.io/"];
/// What the server calls an image without a name.
const UNRESOLVED: &str = "__pulling__";
/// Digits of a digest that are shown.
const DIGEST_CHARS: usize = 19;

/// Returns the cells under [`HEADINGS`].
pub(super) fn row(pull: &Pull, now: Timestamp) -> [String; 9] {
    [
        image(pull),
        node(pull),
        state(pull).to_owned(),
        percent(pull),
        size(pull),
        speed(pull.bytes_per_sec),
        time(pull, now),
        layers(pull),
        details(pull),
    ]
}

/// Returns the image as people write it; a question mark says that it is a guess.
pub(super) fn image(pull: &Pull) -> String {
    if pull.image_ref == UNRESOLVED || pull.image_ref.is_empty() {
        let digest: String = escaped(&pull.digest).chars().take(DIGEST_CHARS).collect();
        return if digest.is_empty() { "(unnamed)".to_owned() } else { digest };
    }
    let mut name = pull.image_ref.as_str();
    for usual in USUAL {
        name = name.strip_prefix(usual).unwrap_or(name);
    }
    let mark = if pull.confidence == "guess" { "?" } else { "" };
    format!("{}{mark}", escaped(name))
}

/// Returns the node, with its cluster where there are several.
pub(super) fn node(pull: &Pull) -> String {
    within(&pull.cluster, &pull.node_name)
}

fn within(outer: &str, inner: &str) -> String {
    let between = if outer.is_empty() { "" } else { "/" };
    format!("{}{between}{}", escaped(outer), escaped(inner))
}

/// Returns the state in a word.
pub(super) fn state(pull: &Pull) -> &'static str {
    match pull.state.as_str() {
        "downloading" if pull.stalled_since.is_some() => "stalled",
        "queued" => "queued",
        "resolving" => "resolving",
        "downloading" => "downloading",
        "unpacking" => "unpacking",
        "completed" => "done",
        "failed" => "failed",
        "unknown" => "silent",
        // What an older server says.
        _ if !pull.error.is_empty() => "failed",
        _ if pull.completed_at.is_some() => "done",
        _ => "downloading",
    }
}

/// Returns whether it has ended.
pub(super) fn has_ended(pull: &Pull) -> bool {
    pull.completed_at.is_some()
}

/// Returns whether it is not known how far it is.
fn is_dark(pull: &Pull) -> bool {
    pull.indirect || (pull.total_bytes == 0 && !has_ended(pull))
}

/// Returns how far it is.
pub(super) fn percent(pull: &Pull) -> String {
    match is_dark(pull) {
        true => "-".to_owned(),
        // Never 100 before it is there.
        false => format!("{}%", pull.percent.clamp(0.0, 100.0).floor()),
    }
}

/// Returns how much of how much.
pub(super) fn size(pull: &Pull) -> String {
    if pull.total_bytes == 0 {
        return if pull.downloaded_bytes == 0 {
            "-".to_owned()
        } else {
            bytes(pull.downloaded_bytes)
        };
    }
    let more = if pull.total_known { "" } else { "+" };
    if has_ended(pull) && pull.downloaded_bytes == pull.total_bytes {
        return bytes(pull.total_bytes);
    }
    format!("{}/{}{more}", bytes(pull.downloaded_bytes), bytes(pull.total_bytes))
}

/// Returns how fast it is.
pub(super) fn speed(bytes_per_second: f64) -> String {
    if bytes_per_second < 1.0 {
        return "-".to_owned();
    }
    // Nothing is that fast: the number is cut, not wrong.
    format!("{}/s", bytes(bytes_per_second.min(1e18) as u64))
}

/// Returns the time left, or the time that it took.
pub(super) fn time(pull: &Pull, now: Timestamp) -> String {
    if let Some(ended) = &pull.completed_at {
        let took = parse_rfc3339(ended).zip(parse_rfc3339(&pull.started_at));
        let took =
            took.map(|(ended, started)| ended.as_millis().saturating_sub(started.as_millis()));
        let ago = parse_rfc3339(ended).map(|at| now.as_millis().saturating_sub(at.as_millis()));
        return match (took, ago) {
            (Some(took), Some(ago)) => format!("{}, {} ago", span(took), span(ago)),
            _ => "-".to_owned(),
        };
    }
    match pull.eta_seconds {
        Some(seconds) if seconds.is_finite() => {
            format!("{} left", span((seconds.clamp(0.0, 1e9) * 1000.0) as i64))
        }
        _ => "-".to_owned(),
    }
}

/// Returns how many layers are there.
pub(super) fn layers(pull: &Pull) -> String {
    match pull.layer_count {
        0 => "-".to_owned(),
        count => format!("{}/{count}", pull.layers_done),
    }
}

/// Returns why it failed, or who waits for it.
pub(super) fn details(pull: &Pull) -> String {
    let mut parts = Vec::new();
    if pull.attempt > 1 {
        parts.push(format!("attempt {}", pull.attempt));
    }
    if let Some(failure) = &pull.failure {
        let before = if has_ended(pull) { "" } else { "before: " };
        let message = if failure.message.is_empty() {
            String::new()
        } else {
            format!(": {}", escaped(&failure.message))
        };
        parts.push(format!("{before}{}{message}", escaped(&failure.reason)));
    } else if !pull.error.is_empty() {
        parts.push(escaped(&pull.error).into_owned());
    }
    if let Some(pod) = pull.pods.first() {
        let others = match pull.pods.len() {
            1 => String::new(),
            count => format!(" +{}", count - 1),
        };
        parts.push(format!("{}{others}", within(&pod.namespace, &pod.pod_name)));
    }
    parts.join(", ")
}

/// Returns a change as a line.
pub(super) fn line(change: &Change<'_>) -> String {
    let pull = change.pull;
    let mut parts = vec![
        escaped(change.at).into_owned(),
        node(pull),
        image(pull),
        state(pull).to_owned(),
        size(pull),
    ];
    parts.push(details(pull));
    parts.retain(|part| !part.is_empty() && part != "-");
    parts.join(" ")
}

/// Returns the cells under [`POD_HEADINGS`], a row for each container.
pub(super) fn pod_rows(pod: &PodRow) -> Vec<Vec<String>> {
    let rows = pod.containers.iter().map(|container| {
        let kind = match container.kind.as_str() {
            "" | "container" => String::new(),
            kind => format!(" ({})", escaped(kind)),
        };
        vec![
            within(&pod.cluster, &pod.namespace),
            escaped(&pod.pod_name).into_owned(),
            if pod.node.is_empty() { "-".to_owned() } else { escaped(&pod.node).into_owned() },
            format!("{}{kind}", escaped(&container.container)),
            escaped(&container.image).into_owned(),
            waits_for(container),
        ]
    });
    rows.collect()
}

fn waits_for(container: &ContainerRow) -> String {
    let left = container.eta_seconds.filter(|seconds| seconds.is_finite());
    let left = left.map_or_else(String::new, |seconds| {
        format!(", {} left", span((seconds.clamp(0.0, 1e9) * 1000.0) as i64))
    });
    let behind = match container.queued_behind {
        None | Some(0) => String::new(),
        Some(1) => " behind another pull".to_owned(),
        Some(count) => format!(" behind {count} other pulls"),
    };
    let reason = match (container.reason.as_str(), container.message.as_str()) {
        ("", message) => escaped(message).into_owned(),
        (reason, "") => escaped(reason).into_owned(),
        (reason, message) => format!("{}: {}", escaped(reason), escaped(message)),
    };
    match (container.state.as_deref(), container.percent) {
        (Some("queued"), _) => format!("its turn{behind}"),
        (Some("downloading"), Some(percent)) => format!("the download, {}%{left}", percent.floor()),
        (Some("downloading"), None) => "the download".to_owned(),
        (Some("resolving"), _) => "the registry's answer".to_owned(),
        (Some("unpacking"), _) => "the unpacking".to_owned(),
        (Some("unknown"), _) => "an agent that is silent".to_owned(),
        _ if reason.is_empty() => "-".to_owned(),
        _ => reason,
    }
}

/// Returns the cells under [`NODE_HEADINGS`].
pub(super) fn node_row(node: &NodeRow) -> Vec<String> {
    let text = |text: &str| {
        if text.is_empty() { "-".to_owned() } else { escaped(text).into_owned() }
    };
    let reports = match (&node.last_seen, node.connected) {
        (_, true) => "yes".to_owned(),
        (Some(at), false) => format!("not since {}", escaped(at)),
        (None, false) => "never".to_owned(),
    };
    vec![
        within(&node.cluster, &node.node),
        text(&node.agent_version),
        text(&node.runtime),
        text(&node.source),
        reports,
        node.active.to_string(),
        speed(node.bytes_per_sec),
        escaped(&node.error).into_owned(),
    ]
}

impl ClusterRow {
    /// Returns what is wrong with following a cluster.
    pub(super) fn problem(&self) -> Option<String> {
        let cluster = match self.cluster.as_str() {
            "" => "the cluster".to_owned(),
            name => format!("cluster {}", escaped(name)),
        };
        let reason = self.reason.as_deref().unwrap_or("not connected");
        match self.connection.as_str() {
            "off" => Some(format!("{cluster} is not followed: its pods are not known")),
            "degraded" => {
                Some(format!("what is known of {cluster} may be old: {}", escaped(reason)))
            }
            _ => None,
        }
    }
}

/// Returns bytes with their unit.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // What rounds to 1024.0 is one of the next.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns a span of time in its two largest units.
fn span(millis: i64) -> String {
    let seconds = millis.max(0).unsigned_abs().div_ceil(1000);
    let parts = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = parts.iter().position(|(length, _)| seconds >= *length).unwrap_or(3);
    let (length, unit) = parts[first];
    let whole = format!("{}{unit}", seconds / length);
    match parts.get(first + 1) {
        Some((smaller, unit)) if seconds % length / smaller > 0 => {
            format!("{whole}{}{unit}", seconds % length / smaller)
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pull(fields: serde_json::Value) -> Pull {
        serde_json::from_value(fields).expect("a pull")
    }

    #[test]
    fn bytes_and_times_are_short() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (67_108_864, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        for (millis, expected) in [
            (-5, "0s"),
            (1, "1s"),
            (59_001, "1m"),
            (61_000, "1m1s"),
            (3_600_000, "1h"),
            (90_061_000, "1d1h"),
        ] {
            assert_eq!(span(millis), expected);
        }
    }

    #[test]
    fn a_pull_is_a_row_whatever_is_known_of_it() {
        let now = parse_rfc3339("2026-01-15T10:31:00Z").expect("a time");
        let check = |fields: serde_json::Value, expected: [&str; 9]| {
            assert_eq!(row(&pull(fields), now), expected);
        };
        check(
            json!({
                "id": "a", "nodeName": "worker-1", "imageRef": "docker.io/library/nginx:1.27", "state": "downloading",
                "totalBytes": 67_108_864, "downloadedBytes": 33_554_432, "totalKnown": true, "percent": 99.9,
                "bytesPerSec": 5_242_880.0, "etaSeconds": 6.4, "layerCount": 7, "layersDone": 3, "attempt": 1,
                "startedAt": "2026-01-15T10:30:00Z",
                "pods": [{"namespace": "shop", "podName": "a"}, {"namespace": "shop", "podName": "b"}],
            }),
            [
                "nginx:1.27",
                "worker-1",
                "downloading",
                "99%",
                "32.0 MiB/64.0 MiB",
                "5.0 MiB/s",
                "7s left",
                "3/7",
                "shop/a +1",
            ],
        );
        check(
            json!({
                "nodeName": "n", "cluster": "east", "imageRef": "__pulling__", "digest": "sha256:0123456789abcdef0123",
                "state": "resolving", "startedAt": "x",
            }),
            ["sha256:0123456789ab", "east/n", "resolving", "-", "-", "-", "-", "-", ""],
        );
        check(
            json!({
                "nodeName": "n", "imageRef": "ghcr.io/a/b:c", "state": "failed", "attempt": 2, "confidence": "guess",
                "startedAt": "2026-01-15T10:29:50Z", "completedAt": "2026-01-15T10:30:00Z", "percent": 0.0,
                "error": "x", "failure": {"reason": "ErrImagePull", "message": "not\u{1b}[2Jfound", "source": "kubelet"},
            }),
            [
                "ghcr.io/a/b:c?",
                "n",
                "failed",
                "0%",
                "-",
                "-",
                "10s, 1m ago",
                "-",
                "attempt 2, ErrImagePull: not\\u001b[2Jfound",
            ],
        );
        check(
            json!({
                "nodeName": "n", "imageRef": "a", "state": "completed", "percent": 100.0, "totalBytes": 2048,
                "downloadedBytes": 2048, "totalKnown": true,
                "startedAt": "2026-01-15T10:29:50Z", "completedAt": "2026-01-15T10:30:00Z",
            }),
            ["a", "n", "done", "100%", "2.0 KiB", "-", "10s, 1m ago", "-", ""],
        );
        check(json!({}), ["(unnamed)", "", "downloading", "-", "-", "-", "-", "-", ""]);
    }

    #[test]
    fn a_pod_says_what_it_waits_for() {
        let check = |fields: serde_json::Value, expected: &str| {
            let container: ContainerRow = serde_json::from_value(fields).expect("a container");
            assert_eq!(waits_for(&container), expected);
        };
        check(
            json!({"state": "downloading", "percent": 41.9, "etaSeconds": 61.0}),
            "the download, 41%, 1m1s left",
        );
        check(json!({"state": "queued", "queuedBehind": 2}), "its turn behind 2 other pulls");
        check(json!({"state": "queued"}), "its turn");
        check(json!({"state": "unpacking", "percent": 100.0}), "the unpacking");
        check(
            json!({"reason": "ErrImagePull", "message": "no such\nhost"}),
            "ErrImagePull: no such\\u000ahost",
        );
        check(json!({"state": "failed", "reason": "ImagePullBackOff"}), "ImagePullBackOff");
        check(json!({}), "-");
    }

    #[test]
    fn a_cluster_that_is_not_followed_is_named() {
        let check = |fields: serde_json::Value, expected: Option<&str>| {
            let cluster: ClusterRow = serde_json::from_value(fields).expect("a cluster");
            assert_eq!(cluster.problem().as_deref(), expected);
        };
        check(json!({"cluster": "", "connection": "live"}), None);
        check(
            json!({"cluster": "", "connection": "off"}),
            Some("the cluster is not followed: its pods are not known"),
        );
        check(
            json!({"cluster": "west", "connection": "degraded", "reason": "403\u{7}"}),
            Some("what is known of cluster west may be old: 403\\u0007"),
        );
    }
}
