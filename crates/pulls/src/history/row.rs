//! A row of the table `pulls`: what is searched has columns, the rest is JSON in `detail`.
//!
//! Fields are only ever added, and may be missing when they are read.

use std::borrow::Cow;
use std::sync::Arc;

use model::TenantId;
use platform::Timestamp;
use report::{Confidence, LayerPhase};
use serde::{Deserialize, Serialize};
use state::{Row, Value};

use super::{Entry, Stored};
use crate::cluster::{ContainerKind, Owner, PodReference};
use crate::error::PullsError;
use crate::identity::Key;
use crate::view::{FailureSource, LayerView, PullFailure, PullState, PullView};

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct Detail<'a> {
    /// The reference of a pull that an original agent named; `None` for all of its digests together, and for others.
    named: Option<Text<'a>>,
    /// Whether it is all that an original agent saw as digests.
    digests: bool,
    image: Text<'a>,
    confidence: Text<'a>,
    candidates: Vec<Text<'a>>,
    digest: Text<'a>,
    manifest_digest: Text<'a>,
    state: Text<'a>,
    failure: Option<Failure<'a>>,
    attempt: u32,
    total_bytes: u64,
    downloaded_bytes: u64,
    transferred_bytes: u64,
    cached_bytes: u64,
    total_known: bool,
    percent: f64,
    layers: Vec<Layer<'a>>,
    layers_done: u32,
    layers_cached: u32,
    queued_at: Option<i64>,
    updated_at: i64,
    indirect: bool,
    pods: Vec<Pod<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Failure<'a> {
    reason: Text<'a>,
    message: Text<'a>,
    source: Text<'a>,
}

#[derive(Serialize, Deserialize)]
struct Layer<'a> {
    digest: Text<'a>,
    media_type: Text<'a>,
    phase: Text<'a>,
    total_bytes: u64,
    downloaded_bytes: u64,
    total_known: bool,
    resumed_bytes: u64,
    percent: f64,
    started_at: Option<i64>,
    completed_at: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Pod<'a> {
    namespace: Text<'a>,
    pod: Text<'a>,
    container: Text<'a>,
    kind: Text<'a>,
    image: Text<'a>,
    owner: Option<(Text<'a>, Text<'a>)>,
}

impl Default for Detail<'_> {
    fn default() -> Self {
        Self {
            named: None,
            digests: false,
            image: "".into(),
            confidence: Confidence::Unknown.as_str().into(),
            candidates: Vec::new(),
            digest: "".into(),
            manifest_digest: "".into(),
            state: PullState::Unknown.as_str().into(),
            failure: None,
            attempt: 1,
            total_bytes: 0,
            downloaded_bytes: 0,
            transferred_bytes: 0,
            cached_bytes: 0,
            total_known: false,
            percent: 0.0,
            layers: Vec::new(),
            layers_done: 0,
            layers_cached: 0,
            queued_at: None,
            updated_at: 0,
            indirect: false,
            pods: Vec::new(),
        }
    }
}

/// Returns the values of a row, in the order of the statement that puts it.
pub(super) fn write(tenant: &TenantId, entry: &Entry) -> Vec<Value> {
    let view = &entry.view;
    let mut names = format!("{}\n{}", view.image, view.digest);
    for candidate in &view.candidates {
        names.push('\n');
        names.push_str(candidate);
    }
    let mut pods = String::new();
    for pod in &view.pods {
        pods.push('\n');
        pods.push_str(&pod.namespace);
        pods.push('/');
        pods.push_str(&pod.pod);
    }
    vec![
        tenant.as_str().into(),
        (&*view.id).into(),
        (&*view.cluster).into(),
        (&*view.node).into(),
        names.to_ascii_lowercase().into(),
        pods.to_ascii_lowercase().into(),
        view.state.as_str().into(),
        view.started_at.as_millis().into(),
        view.ended_at.map(Timestamp::as_millis).into(),
        view.ended_at.is_some().into(),
        // Texts, numbers and lists of them: that does not fail.
        serde_json::to_string(&detail_of(entry)).unwrap_or_default().into(),
    ]
}

fn detail_of(entry: &Entry) -> Detail<'_> {
    let view = &entry.view;
    let text = |text: &'_ Arc<str>| -> Text<'static> { Cow::Owned(text.to_string()) };
    Detail {
        named: match &entry.key {
            Key::Named(name) => Some(text(name)),
            Key::Identified(_) | Key::Digests => None,
        },
        digests: entry.key == Key::Digests,
        image: Cow::Borrowed(&view.image),
        confidence: view.confidence.as_str().into(),
        candidates: view.candidates.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        digest: Cow::Borrowed(&view.digest),
        manifest_digest: Cow::Borrowed(&entry.manifest_digest),
        state: view.state.as_str().into(),
        failure: view.failure.as_ref().map(|failure| Failure {
            reason: Cow::Borrowed(&failure.reason),
            message: Cow::Borrowed(&failure.message),
            source: failure.source.as_str().into(),
        }),
        attempt: view.attempt,
        total_bytes: view.total_bytes,
        downloaded_bytes: view.downloaded_bytes,
        transferred_bytes: view.transferred_bytes,
        cached_bytes: view.cached_bytes,
        total_known: view.total_known,
        percent: view.percent,
        layers: view.layers.iter().map(layer_of).collect(),
        layers_done: view.layers_done,
        layers_cached: view.layers_cached,
        queued_at: view.queued_at.map(Timestamp::as_millis),
        updated_at: view.updated_at.as_millis(),
        indirect: view.indirect,
        pods: view.pods.iter().map(pod_of).collect(),
    }
}

fn layer_of(layer: &LayerView) -> Layer<'_> {
    Layer {
        digest: Cow::Borrowed(&layer.digest),
        media_type: Cow::Borrowed(&layer.media_type),
        phase: layer.phase.as_str().into(),
        total_bytes: layer.total_bytes,
        downloaded_bytes: layer.downloaded_bytes,
        total_known: layer.total_known,
        resumed_bytes: layer.resumed_bytes,
        percent: layer.percent,
        started_at: layer.started_at.map(Timestamp::as_millis),
        completed_at: layer.completed_at.map(Timestamp::as_millis),
    }
}

fn pod_of(pod: &PodReference) -> Pod<'_> {
    Pod {
        namespace: Cow::Borrowed(&pod.namespace),
        pod: Cow::Borrowed(&pod.pod),
        container: Cow::Borrowed(&pod.container),
        kind: kind_word(pod.kind).into(),
        image: Cow::Borrowed(&pod.image),
        owner: pod
            .owner
            .as_ref()
            .map(|owner| (Cow::Borrowed(&*owner.kind), Cow::Borrowed(&*owner.name))),
    }
}

/// Reads a row of `tenant, id, cluster, node, started_at, ended_at, detail`.
///
/// # Errors
///
/// It is none, or its detail is damaged.
pub(super) fn read(row: &Row) -> Result<Stored, PullsError> {
    let tenant =
        TenantId::new(row.text(0)?).map_err(|_| PullsError::Damaged { column: "tenant" })?;
    let detail: Detail<'_> =
        serde_json::from_str(row.text(6)?).map_err(|_| PullsError::Damaged { column: "detail" })?;
    let id: Arc<str> = row.text(1)?.into();
    let ended_at = row.optional_integer(5)?.map(Timestamp::from_millis);
    let key = match (&detail.named, detail.digests) {
        (Some(name), _) => Key::Named((&**name).into()),
        (None, true) => Key::Digests,
        (None, false) => Key::Identified(Arc::clone(&id)),
    };
    // Of what ran nobody knows how far it is.
    let state = match ended_at {
        Some(_) => detail.state.parse().unwrap_or(PullState::Unknown),
        None => PullState::Unknown,
    };
    let view = PullView {
        id,
        cluster: row.text(2)?.into(),
        node: row.text(3)?.into(),
        image: (&*detail.image).into(),
        confidence: detail.confidence.parse().unwrap_or(Confidence::Unknown),
        candidates: detail.candidates.iter().map(|name| (&**name).into()).collect(),
        digest: (&*detail.digest).into(),
        state,
        stalled_since: None,
        failure: detail.failure.as_ref().map(|failure| PullFailure {
            reason: (&*failure.reason).into(),
            message: (&*failure.message).into(),
            source: failure.source.parse().unwrap_or(FailureSource::Agent),
        }),
        attempt: detail.attempt,
        total_bytes: detail.total_bytes,
        downloaded_bytes: detail.downloaded_bytes,
        transferred_bytes: detail.transferred_bytes,
        cached_bytes: detail.cached_bytes,
        total_known: detail.total_known,
        bytes_per_second: 0.0,
        eta_seconds: None,
        percent: detail.percent,
        layers: detail.layers.iter().map(layer_from).collect(),
        layers_done: detail.layers_done,
        layers_cached: detail.layers_cached,
        queued_at: detail.queued_at.map(Timestamp::from_millis),
        started_at: Timestamp::from_millis(row.integer(4)?),
        ended_at,
        updated_at: Timestamp::from_millis(detail.updated_at),
        indirect: detail.indirect,
        pods: detail.pods.iter().map(pod_from).collect(),
    };
    let manifest_digest = (&*detail.manifest_digest).into();
    Ok(Stored { tenant, entry: Entry { key, view: Arc::new(view), manifest_digest } })
}

fn layer_from(layer: &Layer<'_>) -> LayerView {
    LayerView {
        digest: (&*layer.digest).into(),
        media_type: (&*layer.media_type).into(),
        phase: layer.phase.parse().unwrap_or(LayerPhase::Waiting),
        total_bytes: layer.total_bytes,
        downloaded_bytes: layer.downloaded_bytes,
        total_known: layer.total_known,
        resumed_bytes: layer.resumed_bytes,
        bytes_per_second: 0.0,
        percent: layer.percent,
        started_at: layer.started_at.map(Timestamp::from_millis),
        completed_at: layer.completed_at.map(Timestamp::from_millis),
    }
}

fn pod_from(pod: &Pod<'_>) -> PodReference {
    PodReference {
        namespace: (&*pod.namespace).into(),
        pod: (&*pod.pod).into(),
        container: (&*pod.container).into(),
        kind: KINDS
            .into_iter()
            .find(|kind| kind_word(*kind) == pod.kind)
            .unwrap_or(ContainerKind::Regular),
        image: (&*pod.image).into(),
        owner: pod
            .owner
            .as_ref()
            .map(|(kind, name)| Owner { kind: (&**kind).into(), name: (&**name).into() }),
    }
}

const KINDS: [ContainerKind; 4] =
    [ContainerKind::Init, ContainerKind::Regular, ContainerKind::Ephemeral, ContainerKind::Volume];

const fn kind_word(kind: ContainerKind) -> &'static str {
    match kind {
        ContainerKind::Init => "init",
        ContainerKind::Regular => "regular",
        ContainerKind::Ephemeral => "ephemeral",
        ContainerKind::Volume => "volume",
    }
}

/// Returns a text as a pattern that it alone fits.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.replace('\0', "\u{fffd}").to_ascii_lowercase().chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
