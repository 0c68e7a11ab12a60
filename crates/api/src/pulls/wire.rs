//! How a pull is written: schema v1 of Pulltrace, and what it does not have.

use model::Timestamp;
use pulls::{ContainerKind, LayerView, Owner, PodReference, PullFailure, PullState, PullView};
use report::Confidence;
use serde::Serialize;
use serde::ser::Serializer;
use utoipa::ToSchema;

use crate::time::format_rfc3339_millis;

/// What Pulltrace calls an image that it has no name of yet.
const UNRESOLVED: &str = "__pulling__";
/// Counts of bytes are signed where Pulltrace's messages are read.
const BYTES_MAX: u64 = i64::MAX as u64;

/// How an image without a name is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// As the page of Pulltrace expects it.
    Original,
    /// By its digest.
    Native,
}

/// A pull of an image: the fields of Pulltrace's schema v1, and more.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullStatus<'a> {
    /// Tells it from every other pull, also after a restart of the server: 32 hexadecimal digits.
    id: &'a str,
    node_name: &'a str,
    /// The image's best name; its digest where it has none. `__pulling__` instead where Pulltrace had the route.
    image_ref: &'a str,
    /// Bytes of the layers that are not cached, as far as they are known.
    total_bytes: u64,
    /// Bytes of them that are there, those of an earlier attempt included.
    downloaded_bytes: u64,
    /// 0 once it ended.
    bytes_per_sec: f64,
    /// Left out where it cannot be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    eta_seconds: Option<f64>,
    /// 0 to 100, never less than before.
    percent: f64,
    layer_count: usize,
    /// Layers that are there, cached ones included.
    layers_done: u32,
    /// RFC 3339, by this server's clock, as all times here.
    #[schema(value_type = String)]
    started_at: Time,
    /// When it ended, also without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    completed_at: Option<Time>,
    /// Why it failed, in words; left out unless it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<&'a str>,
    /// The containers that wait for it; once it ended, those that waited. Left out if there are none.
    #[serde(skip_serializing_if = "Pods::is_empty")]
    #[schema(value_type = Vec<PodCorrelation<'_>>, required = false)]
    pods: Pods<'a>,
    /// In the order of the manifest; left out until they are known.
    #[serde(skip_serializing_if = "Layers::is_empty")]
    #[schema(value_type = Vec<LayerStatus<'_>>, required = false)]
    layers: Layers<'a>,
    /// Whether `totalBytes` is final.
    total_known: bool,

    /// Left out where there is only one.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    cluster: &'a str,
    /// `queued`, `resolving`, `downloading`, `unpacking`, `completed`, `failed` or `unknown`: its agent is silent.
    state: &'static str,
    /// Since when no byte arrived although it downloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    stalled_since: Option<Time>,
    /// Why it failed; of a pull that goes on, why the attempt before it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<Failure<'a>>,
    /// Which attempt of its image on its node this is, from 1.
    attempt: u32,
    /// What the name leads to; left out until it is known.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    digest: &'a str,
    /// How sure the name is: `certain`, `likely`, `repository`, `guess` or `unknown`.
    confidence: &'static str,
    /// Other names that it may have; left out if there are none.
    #[serde(skip_serializing_if = "Names::is_empty")]
    #[schema(value_type = Vec<String>, required = false)]
    candidates: Names<'a>,
    /// Bytes that it took over the network.
    transferred_bytes: u64,
    /// Bytes of layers that were there before.
    cached_bytes: u64,
    /// Layers that were there before.
    layers_cached: u32,
    /// When a kubelet asked for it, where it did so before it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    queued_at: Option<Time>,
    /// When something was last heard of it.
    #[schema(value_type = String)]
    updated_at: Time,
    /// Whether bytes are unknown because a snapshotter fetches the layers itself.
    indirect: bool,
}

/// Why a pull failed.
#[derive(Serialize, ToSchema)]
#[schema(as = PullFailure)]
struct Failure<'a> {
    /// A word such as `ErrImagePull`, `ImagePullBackOff`, `Aborted` or `AgentLost`.
    reason: &'a str,
    /// What people read; may be empty.
    message: &'a str,
    /// Who said so: `agent`, `kubelet` or `silence`.
    source: &'static str,
}

/// A layer of a pull.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerStatus<'a> {
    /// The `id` of the pull.
    pull_id: &'a str,
    digest: &'a str,
    /// Empty where it is not known.
    media_type: &'a str,
    total_bytes: u64,
    downloaded_bytes: u64,
    bytes_per_sec: f64,
    percent: f64,
    /// When its download began; left out if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    started_at: Option<Time>,
    /// When it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    completed_at: Option<Time>,
    total_known: bool,
    /// `waiting`, `downloading`, `committing`, `downloaded`, `unpacking`, `done`, `cached` or `failed`.
    phase: &'static str,
    /// How much of it an earlier attempt had left.
    resumed_bytes: u64,
}

/// A container that waits for a pull.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodCorrelation<'a> {
    namespace: &'a str,
    pod_name: &'a str,
    container: &'a str,
    /// As the pod asks for it.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    image: &'a str,
    /// `init`, `regular`, `ephemeral` or `volume`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    owner: Option<PodOwner<'a>>,
}

/// Who made a pod.
#[derive(Serialize, ToSchema)]
pub(super) struct PodOwner<'a> {
    /// Such as `ReplicaSet`.
    kind: &'a str,
    name: &'a str,
}

impl<'a> PullStatus<'a> {
    pub(super) fn of(pull: &'a PullView, naming: Naming) -> Self {
        let is_unresolved = pull.confidence == Confidence::Unknown;
        Self {
            id: &pull.id,
            node_name: &pull.node,
            image_ref: match naming {
                Naming::Original if is_unresolved => UNRESOLVED,
                Naming::Original | Naming::Native => &pull.image,
            },
            total_bytes: bytes(pull.total_bytes),
            downloaded_bytes: bytes(pull.downloaded_bytes),
            bytes_per_sec: finite(pull.bytes_per_second),
            eta_seconds: pull.eta_seconds.filter(|eta| eta.is_finite()),
            percent: finite(pull.percent),
            layer_count: pull.layers.len(),
            layers_done: pull.layers_done,
            started_at: Time(pull.started_at),
            completed_at: pull.ended_at.map(Time),
            error: pull.failure.as_ref().filter(|_| pull.state == PullState::Failed).map(told),
            pods: Pods(&pull.pods),
            layers: Layers(pull),
            total_known: pull.total_known,
            cluster: &pull.cluster,
            state: pull.state.as_str(),
            stalled_since: pull.stalled_since.map(Time),
            failure: pull.failure.as_ref().map(Failure::of),
            attempt: pull.attempt,
            digest: &pull.digest,
            confidence: pull.confidence.as_str(),
            candidates: Names(&pull.candidates),
            transferred_bytes: bytes(pull.transferred_bytes),
            cached_bytes: bytes(pull.cached_bytes),
            layers_cached: pull.layers_cached,
            queued_at: pull.queued_at.map(Time),
            updated_at: Time(pull.updated_at),
            indirect: pull.indirect,
        }
    }
}

impl<'a> LayerStatus<'a> {
    pub(super) fn of(pull: &'a PullView, layer: &'a LayerView) -> Self {
        Self {
            pull_id: &pull.id,
            digest: &layer.digest,
            media_type: &layer.media_type,
            total_bytes: bytes(layer.total_bytes),
            downloaded_bytes: bytes(layer.downloaded_bytes),
            bytes_per_sec: finite(layer.bytes_per_second),
            percent: finite(layer.percent),
            started_at: layer.started_at.map(Time),
            completed_at: layer.completed_at.map(Time),
            total_known: layer.total_known,
            phase: layer.phase.as_str(),
            resumed_bytes: bytes(layer.resumed_bytes),
        }
    }
}

impl<'a> PodCorrelation<'a> {
    fn of(pod: &'a PodReference) -> Self {
        Self {
            namespace: &pod.namespace,
            pod_name: &pod.pod,
            container: &pod.container,
            image: &pod.image,
            kind: container_kind(pod.kind),
            owner: pod.owner.as_ref().map(PodOwner::of),
        }
    }
}

impl<'a> PodOwner<'a> {
    pub(super) fn of(owner: &'a Owner) -> Self {
        Self { kind: &owner.kind, name: &owner.name }
    }
}

impl<'a> Failure<'a> {
    fn of(failure: &'a PullFailure) -> Self {
        let source = failure.source.as_str();
        Self { reason: &failure.reason, message: &failure.message, source }
    }
}

/// Returns what people are told of a failure.
fn told(failure: &PullFailure) -> &str {
    if failure.message.is_empty() { &failure.reason } else { &failure.message }
}

/// Returns the word of a kind.
pub(super) const fn container_kind(kind: ContainerKind) -> &'static str {
    match kind {
        ContainerKind::Init => "init",
        ContainerKind::Regular => "regular",
        ContainerKind::Ephemeral => "ephemeral",
        ContainerKind::Volume => "volume",
    }
}

/// Returns a count of bytes that fits whoever reads it.
pub(super) fn bytes(count: u64) -> u64 {
    count.min(BYTES_MAX)
}

/// Returns a number that JSON has.
pub(super) fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}

/// A time, written as RFC 3339 with milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_rfc3339_millis(self.0))
    }
}

/// Layers, written without being gathered first.
struct Layers<'a>(&'a PullView);

impl Layers<'_> {
    const fn is_empty(&self) -> bool {
        self.0.layers.is_empty()
    }
}

impl Serialize for Layers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(pull) = self;
        serializer.collect_seq(pull.layers.iter().map(|layer| LayerStatus::of(pull, layer)))
    }
}

/// Containers that wait, written without being gathered first.
struct Pods<'a>(&'a [PodReference]);

impl Pods<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pods<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(PodCorrelation::of))
    }
}

/// Names of images.
struct Names<'a>(&'a [std::sync::Arc<str>]);

impl Names<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|name| &**name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use pulls::FailureSource;
    use report::LayerPhase;
    use serde_json::Value;

    use super::*;

    /// A pull of which everything is known.
    fn known() -> PullView {
        let time = Timestamp::from_millis(1_732_000_000_000);
        let owner = Owner { kind: "ReplicaSet".into(), name: "cart".into() };
        let layer = LayerView {
            digest: "sha256:00".into(),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            phase: LayerPhase::Done,
            total_bytes: 100,
            downloaded_bytes: 50,
            total_known: true,
            resumed_bytes: 10,
            bytes_per_second: 5.0,
            percent: 50.0,
            started_at: Some(time),
            completed_at: Some(time),
        };
        let failure = PullFailure {
            reason: "ErrImagePull".into(),
            message: "".into(),
            source: FailureSource::Kubelet,
        };
        let pod = PodReference {
            namespace: "shop".into(),
            pod: "cart-1".into(),
            container: "cart".into(),
            kind: ContainerKind::Regular,
            image: "cart:1".into(),
            owner: Some(owner),
        };
        PullView {
            id: "0f".repeat(16).into(),
            cluster: "west".into(),
            node: "a".into(),
            image: "sha256:01".into(),
            confidence: Confidence::Unknown,
            candidates: vec!["cart".into()],
            digest: "sha256:01".into(),
            state: PullState::Failed,
            stalled_since: Some(time),
            failure: Some(failure),
            attempt: 2,
            total_bytes: 100,
            downloaded_bytes: 50,
            transferred_bytes: 40,
            cached_bytes: 7,
            total_known: true,
            bytes_per_second: 5.0,
            eta_seconds: Some(10.0),
            percent: 50.0,
            layers: vec![layer],
            layers_done: 1,
            layers_cached: 1,
            queued_at: Some(time),
            started_at: time,
            ended_at: Some(time),
            updated_at: time,
            indirect: true,
            pods: vec![pod],
        }
    }

    /// The same pull when hardly anything was known, and what was makes no sense.
    fn unknown() -> PullView {
        PullView {
            cluster: "".into(),
            candidates: Vec::new(),
            digest: "".into(),
            state: PullState::Resolving,
            stalled_since: None,
            failure: None,
            total_bytes: u64::MAX,
            bytes_per_second: f64::NAN,
            eta_seconds: Some(f64::INFINITY),
            percent: f64::NEG_INFINITY,
            layers: Vec::new(),
            queued_at: None,
            ended_at: None,
            pods: Vec::new(),
            ..known()
        }
    }

    fn written(pull: &PullView, naming: Naming) -> Value {
        serde_json::to_value(PullStatus::of(pull, naming)).expect("JSON")
    }

    fn names(object: &Value) -> BTreeSet<&str> {
        object.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    #[test]
    fn everything_in_the_published_schema_is_written_and_nothing_else() {
        let schema = include_str!("../../../../docs/schemas/pull-event-v1.json");
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        let defined = |of: &str| schema["definitions"][of]["properties"].clone();
        let pull = written(&known(), Naming::Native);
        for (of, found) in
            [("pull", &pull), ("layer", &pull["layers"][0]), ("pod", &pull["pods"][0])]
        {
            assert_eq!(names(found), names(&defined(of)), "{of}");
        }
        let failure = &defined("pull")["failure"]["properties"];
        assert_eq!(names(&pull["failure"]), names(failure));
    }

    #[test]
    fn what_is_not_known_is_left_out_and_what_is_no_number_is_none() {
        let pull = written(&unknown(), Naming::Native);
        let schema = include_str!("../../../../docs/schemas/pull-event-v1.json");
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        let required = schema["definitions"]["pull"]["required"].as_array().expect("a list");
        for name in required.iter().filter_map(Value::as_str) {
            assert!(pull.get(name).is_some_and(|value| !value.is_null()), "{name}");
        }
        for name in ["etaSeconds", "completedAt", "error", "pods", "layers", "cluster", "failure"] {
            assert_eq!(pull.get(name), None, "{name}");
        }
        assert_eq!((&pull["bytesPerSec"], &pull["percent"]), (&0.0.into(), &0.0.into()));
        assert_eq!(pull["totalBytes"], i64::MAX);
    }

    #[test]
    fn a_pull_is_called_and_its_failure_told_as_who_asks_expects() {
        let [original, native] =
            [Naming::Original, Naming::Native].map(|naming| written(&known(), naming));
        assert_eq!(
            (&original["imageRef"], &native["imageRef"]),
            (&"__pulling__".into(), &"sha256:01".into())
        );
        assert_eq!(native["error"], "ErrImagePull", "the reason where there is no message");
        // Whatever its name, an image that is known is called by it.
        let named = PullView {
            image: Arc::from("__pulling__"),
            confidence: Confidence::Certain,
            state: PullState::Downloading,
            ..known()
        };
        let named = written(&named, Naming::Original);
        assert_eq!(
            (&named["imageRef"], &named["confidence"]),
            (&"__pulling__".into(), &"certain".into())
        );
        assert_eq!(named.get("error"), None, "the attempt before failed, not this one");
        assert_eq!(named["failure"]["source"], "kubelet");
    }
}
