//! Image pulls from the report of an agent to everybody who looks.

mod follow;
mod lists;
mod reports;

use access::{
    Actor, CreatedKey, KeyLimits, NewKey, NewTenant, Permission, PermissionSet, TenantLimits,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::Ways;

const REPORT: &str = "/api/v1/report";
const LIVE: &str = "/api/v1/pulls";
const FOLLOW: &str = "/api/v1/events";

/// How far a pull of an image of two layers is, as our own agents tell it.
#[derive(Clone, Copy)]
struct Pull<'a> {
    id: &'a str,
    image: &'a str,
    phase: &'a str,
    /// Bytes of each layer that are there, of 1,000.
    layers: [u64; 2],
}

impl<'a> Pull<'a> {
    const fn of(id: &'a str, image: &'a str) -> Self {
        Self { id, image, phase: "downloading", layers: [0, 0] }
    }

    const fn at(self, layers: [u64; 2]) -> Self {
        Self { layers, ..self }
    }

    const fn phase(self, phase: &'a str) -> Self {
        Self { phase, ..self }
    }

    fn report(&self) -> Value {
        let layers = self.layers.iter().enumerate().map(|(index, bytes)| {
            let phase = if *bytes < 1_000 { "downloading" } else { "done" };
            json!({
                "digest": digest(index),
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "totalBytes": 1_000,
                "downloadedBytes": bytes,
                "totalKnown": true,
                "phase": phase,
            })
        });
        let mut report = json!({
            "imageRef": self.image,
            "layers": layers.collect::<Vec<_>>(),
            "startedAt": "2024-11-19T07:06:30Z",
            "totalKnown": true,
            "id": self.id,
            "phase": self.phase,
            "confidence": "certain",
        });
        if ["completed", "failed"].contains(&self.phase) {
            report["endedAt"] = "2024-11-19T07:06:40Z".into();
        }
        if self.phase == "failed" {
            report["error"] = "the registry went away".into();
        }
        report
    }
}

/// Returns a digest that is none of a real layer.
fn digest(index: usize) -> String {
    format!("sha256:{index:064x}")
}

/// Returns the report of a node, by an agent of ours.
fn report_of(node: &str, pulls: &[Pull<'_>]) -> String {
    let pulls: Vec<_> = pulls.iter().map(Pull::report).collect();
    json!({
        "nodeName": node,
        "timestamp": "2024-11-19T07:06:40Z",
        "pulls": pulls,
        "schemaVersion": 2,
        "agentVersion": "0.1.0",
        "agentStarted": "2024-11-19T07:00:00Z",
        "intervalMs": 1_000,
        "runtime": "containerd 1.7.24",
        "source": "containerd",
    })
    .to_string()
}

/// Lets a node report; a second passes before, so that it may.
async fn report(server: &Server, node: &str, pulls: &[Pull<'_>]) {
    report_as(server, node, pulls, None).await;
}

async fn report_as(server: &Server, node: &str, pulls: &[Pull<'_>], key: Option<&CreatedKey>) {
    server.clock.advance(Duration::from_secs(1));
    let mut request = post(REPORT, &report_of(node, pulls));
    if let Some(key) = key {
        let value = key.secret.expose_secret().parse().expect("a value");
        request.headers_mut().insert("x-api-key", value);
    }
    server.check(request, 200, "").await;
}

/// Asks for JSON.
async fn ask(server: &Server, uri: &str) -> Value {
    ask_as(server, uri, None).await
}

async fn ask_as(server: &Server, uri: &str, key: Option<&CreatedKey>) -> Value {
    let mut request = get(uri);
    if let Some(key) = key {
        let value = key.secret.expose_secret().parse().expect("a value");
        request.headers_mut().insert("x-api-key", value);
    }
    let (status, _, body) = server.send(request).await;
    assert_eq!(status, StatusCode::OK, "{uri}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

/// Returns one field of each pull, node or image of a list, in order.
fn field(answer: &Value, list: &str, name: &str) -> Vec<String> {
    let items = answer[list].as_array().expect("a list");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    items.iter().map(|item| text(&item[name])).collect()
}

/// Returns a server that asks for keys, and keys of all pulls for two tenants.
async fn guarded(limits: ApiLimits) -> (Server, [CreatedKey; 2]) {
    let server = Server::known_by(limits, StoreConfig::default(), |access, _| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    })
    .await;
    server.open_tenant("blue");
    let new = NewTenant {
        id: TenantId::new("blue").expect("a name"),
        name: "Blue".to_owned(),
        limits: TenantLimits::default(),
        metrics_retention: None,
    };
    server.access.create_tenant(&Actor::command_line(), new).await.expect("a tenant");
    let all = [Permission::PullsRead, Permission::PullsWrite];
    let keys = [key(&server, "default", &all).await, key(&server, "blue", &all).await];
    (server, keys)
}

async fn key(server: &Server, tenant: &str, permissions: &[Permission]) -> CreatedKey {
    let new = NewKey {
        tenant: TenantId::new(tenant).expect("a name"),
        app: None,
        name: "agent".to_owned(),
        permissions: PermissionSet::of(permissions),
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: None,
    };
    server.access.create_key(&Actor::command_line(), new).await.expect("a key")
}

/// Returns the schema of events, of lists or of reports, as it is published.
fn schema(name: &str) -> jsonschema::Validator {
    let event = include_str!("../../../../docs/schemas/pull-event-v1.json");
    let list = include_str!("../../../../docs/schemas/pull-list-v1.json");
    let report = include_str!("../../../../docs/schemas/agent-report-v1.json");
    let text = match name {
        "event" => event,
        "list" => list,
        _ => report,
    };
    // Nothing is fetched: what one file says of another is in this one, too.
    let text = text.replace("pull-event-v1.json#", "#");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    if name == "list" {
        let event: Value = serde_json::from_str(event).expect("JSON");
        schema["definitions"] = event["definitions"].clone();
    }
    jsonschema::draft7::options().should_validate_formats(true).build(&schema).expect("a schema")
}

/// Checks that a message fits its schema.
fn check_schema(name: &str, message: &Value) {
    let schema = schema(name);
    let faults: Vec<_> = schema
        .iter_errors(message)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{name}: {faults:?}\n{message:#}");
}
