//! Pulls that ended as events of the log, so that whatever reads events reads of them: rules, SQL, webhooks.

use std::sync::Arc;

use events::{EnvelopeMemory, EventResult, Gateway, Source};
use futures_util::future::BoxFuture;
use model::TenantId;
use platform::Clock;
use pulls::{PullSink, PullState, PullView, SinkError};
use report::ImageReference;
use serde_json::{Map, Value, json};

/// The application of these events.
const APP: &str = "tinyobs";

/// Stores pulls that ended as events.
#[derive(Debug)]
pub(crate) struct PullEvents {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl PullSink for PullEvents {
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        ended: &'a [Arc<PullView>],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.store(tenant, ended))
    }
}

impl PullEvents {
    /// Stores them durably. A pull that was stored before, by this program or an earlier one, is not stored again.
    async fn store(&self, tenant: &TenantId, ended: &[Arc<PullView>]) -> Result<(), SinkError> {
        let received_at = self.clock.now();
        let source = Source { tenant: tenant.clone(), app: None };
        for batch in ended.chunks(self.gateway.settings().batch_events_max.max(1)) {
            let mut memory = EnvelopeMemory::for_request(batch.len() * 512);
            let mut prepared = Vec::with_capacity(batch.len());
            for pull in batch {
                let mut envelope = Vec::new();
                match schema::envelope_from_json(event(pull).to_string().as_bytes(), &mut envelope)
                {
                    Ok(()) => prepared.push(self.gateway.prepare(
                        &source,
                        received_at,
                        &envelope,
                        &mut memory,
                    )),
                    Err(error) => tracing::error!(error = %error, "pull has no form as an event"),
                }
            }
            let results = self.gateway.ingest(tenant, received_at, prepared).await;
            for result in results.map_err(|error| SinkError(Box::new(error)))? {
                if let EventResult::Rejected(reason) = result {
                    // Repeating it would not help; it is counted among the events that were refused.
                    tracing::warn!(%reason, "pull was refused as an event");
                }
            }
        }
        Ok(())
    }
}

/// Returns the event: a custom one whose device is the node.
fn event(pull: &PullView) -> Value {
    let is_failed = pull.state == PullState::Failed;
    let name = if is_failed { "pull.failed" } else { "pull.completed" };
    let ended_at = pull.ended_at.unwrap_or(pull.updated_at);
    let mut texts = Map::new();
    let reference = ImageReference::parse(&pull.image).ok();
    let registry = reference.as_ref().map(ImageReference::registry);
    let repository = reference.as_ref().map(ImageReference::repository);
    let failure = pull.failure.as_ref().filter(|_| is_failed);
    for (name, value) in [
        ("pull_id", Some(&*pull.id)),
        ("cluster", Some(&*pull.cluster)),
        ("node", Some(&*pull.node)),
        ("image", Some(&*pull.image)),
        ("registry", registry),
        ("repository", repository),
        ("digest", Some(&*pull.digest)),
        ("confidence", Some(pull.confidence.as_str())),
        ("reason", failure.map(|failure| &*failure.reason)),
        ("error", failure.map(|failure| &*failure.message)),
        ("namespace", pull.pods.first().map(|pod| &*pod.namespace)),
        ("pod", pull.pods.first().map(|pod| &*pod.pod)),
        ("container", pull.pods.first().map(|pod| &*pod.container)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            texts.insert(name.to_owned(), value.into());
        }
    }
    let duration_ms = ended_at.millis_since(pull.started_at).max(0);
    json!({
        "appId": APP,
        "deviceId": &*pull.node,
        "timestampMs": ended_at.as_millis().to_string(),
        "correlationId": &*pull.id,
        "idempotencyKey": format!("{name}:{}", pull.id),
        "customEvent": {
            "eventName": name,
            "stringParams": texts,
            "intParams": {
                "attempt": pull.attempt.to_string(),
                "cached_bytes": pull.cached_bytes.to_string(),
                "duration_ms": duration_ms.to_string(),
                "layers": pull.layers.len().to_string(),
                "layers_cached": pull.layers_cached.to_string(),
                "total_bytes": pull.total_bytes.to_string(),
                "transferred_bytes": pull.transferred_bytes.to_string(),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use platform::Timestamp;
    use pulls::{ContainerKind, FailureSource, PodReference, PullFailure};
    use report::Confidence;
    use schema::Limits;

    use super::*;

    fn pull(state: PullState) -> PullView {
        let at = Timestamp::from_millis;
        PullView {
            id: "0123456789abcdef0123456789abcdef".into(),
            cluster: "west".into(),
            node: "node-1".into(),
            image: "ghcr.io/team/app:1".into(),
            confidence: Confidence::Certain,
            candidates: Vec::new(),
            digest: "".into(),
            state,
            stalled_since: None,
            failure: Some(PullFailure {
                reason: "ErrImagePull".into(),
                message: "no such image".into(),
                source: FailureSource::Kubelet,
            }),
            attempt: 2,
            total_bytes: 30,
            downloaded_bytes: 30,
            transferred_bytes: 20,
            cached_bytes: 5,
            total_known: true,
            bytes_per_second: 0.0,
            eta_seconds: None,
            percent: 100.0,
            layers: Vec::new(),
            layers_done: 0,
            layers_cached: 0,
            queued_at: None,
            started_at: at(1_000),
            ended_at: Some(at(3_500)),
            updated_at: at(3_500),
            indirect: false,
            pods: vec![PodReference {
                namespace: "shop".into(),
                pod: "cart-0".into(),
                container: "cart".into(),
                kind: ContainerKind::Regular,
                image: "ghcr.io/team/app:1".into(),
                owner: None,
            }],
        }
    }

    fn check(state: PullState, name: &str, texts: Value) {
        let json = event(&pull(state));
        let mut envelope = Vec::new();
        schema::envelope_from_json(json.to_string().as_bytes(), &mut envelope).expect("an event");
        let limits = Limits::default();
        let event = schema::inspect(&envelope, &limits).expect("a valid event");
        assert_eq!((event.app_id, event.device_id, event.event_type), ("tinyobs", "node-1", name));
        assert_eq!(event.timestamp_ms, 3_500);
        assert_eq!(event.idempotency_key, format!("{name}:0123456789abcdef0123456789abcdef"));
        assert_eq!(json["customEvent"]["stringParams"], texts);
        assert_eq!(json["customEvent"]["intParams"]["duration_ms"], "2500");
        assert_eq!(json["customEvent"]["intParams"]["transferred_bytes"], "20");
    }

    #[test]
    fn a_pull_that_ended_is_a_valid_event_that_says_why() {
        let mut texts = json!({
            "cluster": "west", "confidence": "certain", "container": "cart", "image": "ghcr.io/team/app:1",
            "namespace": "shop", "node": "node-1", "pod": "cart-0",
            "pull_id": "0123456789abcdef0123456789abcdef", "registry": "ghcr.io",
            "repository": "ghcr.io/team/app",
        });
        check(PullState::Completed, "pull.completed", texts.clone());
        texts["reason"] = "ErrImagePull".into();
        texts["error"] = "no such image".into();
        check(PullState::Failed, "pull.failed", texts);
    }
}
