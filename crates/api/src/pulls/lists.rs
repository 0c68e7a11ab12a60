//! Pulls, nodes, images and pods as they are when somebody asks.

use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::response::Response;
use http::StatusCode;
use pulls::{
    ClusterView, Connection, ContainerView, ImageView, NodeView, PodView, PullView, PullsError,
};
use serde::Serialize;
use serde::ser::Serializer;
use utoipa::ToSchema;

use super::filter;
use super::wire::{Naming, PodOwner, PullStatus, Time, bytes, container_kind, finite};
use crate::body::json_of;
use crate::caller::Caller;
use crate::failure::{Failure, Kind, NativeFailure, PulltraceFailure};
use crate::gate;
use crate::params::Params;

/// All pulls in memory.
#[derive(Serialize, ToSchema)]
pub(super) struct PullList<'a> {
    /// The newest first.
    #[schema(value_type = Vec<PullStatus<'_>>)]
    pulls: Statuses<'a>,
}

/// Some pulls.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullPage<'a> {
    /// The newest first.
    #[schema(value_type = Vec<PullStatus<'_>>)]
    pulls: Statuses<'a>,
    /// The `cursor` of the next page; left out at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// The images of the pulls in memory.
#[derive(Serialize, ToSchema)]
pub(super) struct ImageList<'a> {
    /// By name.
    images: Vec<ImageStatus<'a>>,
}

/// An image on all nodes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageStatus<'a> {
    /// Its name, or its digest where it has none.
    image: &'a str,
    /// Left out unless all pulls agree on one.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    digest: &'a str,
    /// On how many nodes it was or is pulled.
    nodes: u32,
    /// On how many of them its newest pull was completed.
    nodes_done: u32,
    /// Pulls that run.
    active: u32,
    completed: u32,
    failed: u32,
    /// Bytes of the pulls that run, as far as they are known.
    total_bytes: u64,
    /// Bytes of them that are there.
    downloaded_bytes: u64,
    bytes_per_sec: f64,
    /// 0 to 100, over all pulls that did not fail.
    percent: f64,
}

/// The nodes whose agents report.
#[derive(Serialize, ToSchema)]
pub(super) struct NodeList<'a> {
    /// By cluster and name.
    nodes: Vec<NodeStatus<'a>>,
}

/// A node and its agent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeStatus<'a> {
    node: &'a str,
    /// Empty where there is only one.
    cluster: &'a str,
    /// Empty for Pulltrace's agents.
    agent_version: &'a str,
    /// Such as `containerd 1.7.24`; empty where it is not known.
    runtime: &'a str,
    /// Where the agent looks: `containerd`, `content-folder`, or empty where it does not say.
    source: &'static str,
    /// Whether its agent reports.
    connected: bool,
    /// RFC 3339; left out when it has not reported since the server started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    last_seen: Option<Time>,
    /// Why its agent cannot look; empty when it can.
    error: &'a str,
    /// Pulls that run.
    active: u32,
    bytes_per_sec: f64,
    /// How far its clock is ahead of the server's; left out where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    clock_skew_seconds: Option<f64>,
}

/// The pods that wait for images.
#[derive(Serialize, ToSchema)]
pub(super) struct PodList<'a> {
    /// By cluster, namespace and name.
    pods: Vec<PodStatus<'a>>,
    /// Whether the clusters are followed, by name.
    clusters: Vec<ClusterStatus<'a>>,
}

/// A pod that waits for images.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus<'a> {
    /// Empty where there is only one.
    cluster: &'a str,
    namespace: &'a str,
    pod_name: &'a str,
    /// Empty until it has one.
    node: &'a str,
    /// Such as `Pending`.
    phase: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    owner: Option<PodOwner<'a>>,
    /// RFC 3339, by the cluster's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, nullable = false, required = false)]
    created_at: Option<Time>,
    containers: Vec<ContainerStatus<'a>>,
}

/// A container of a pod, or a volume that is an image.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerStatus<'a> {
    container: &'a str,
    /// `init`, `regular`, `ephemeral` or `volume`.
    kind: &'static str,
    /// As the pod asks for it.
    image: &'a str,
    /// Why it waits, in the kubelet's word; empty where it does not, or that is not said.
    reason: &'a str,
    /// What the kubelet says; may be empty.
    message: &'a str,
    /// How far its image is, in the words of a pull's `state`; left out where nobody asked for it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    state: Option<&'static str>,
    /// The `id` of the pull, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pull_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    percent: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    eta_seconds: Option<f64>,
    /// How many other pulls run on the node while this one is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    queued_behind: Option<u32>,
}

/// A cluster.
#[derive(Serialize, ToSchema)]
pub(super) struct ClusterStatus<'a> {
    /// Empty where there is only one.
    cluster: &'a str,
    /// `off`, `degraded` or `live`.
    connection: &'static str,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'a str>,
}

/// Answers with all pulls in memory, as Pulltrace does.
pub(super) async fn live(caller: Caller, request: Request) -> Result<Response, PulltraceFailure> {
    let params = Params::of(&caller.app, request).await?;
    let filter = filter::of(&params)?;
    let answer = work(&caller, move |caller| {
        let pulls = caller.app.pulls.live(&caller.tenant.id, &filter);
        let pulls = Statuses { pulls: &pulls, naming: Naming::Original };
        json_of(StatusCode::OK, &PullList { pulls })
    });
    Ok(answer.await?)
}

/// Answers with a page of pulls, those of the history included.
pub(super) async fn page(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let query = filter::page(&params)?;
    let page = caller.app.pulls.search(&caller.tenant.id, &query).await?;
    let answer = work(&caller, move |_| {
        let pulls = Statuses { pulls: &page.pulls, naming: Naming::Native };
        let next_cursor = page.next.map(|cursor| cursor.to_string());
        json_of(StatusCode::OK, &PullPage { pulls, next_cursor })
    });
    Ok(answer.await?)
}

/// Answers with one pull.
pub(super) async fn one(caller: Caller, Path(id): Path<String>) -> Result<Response, NativeFailure> {
    let pull = caller.app.pulls.get(&caller.tenant.id, &id).await?;
    let pull =
        pull.ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no pull {id:?}")))?;
    Ok(json_of(StatusCode::OK, &PullStatus::of(&pull, Naming::Native)))
}

/// Answers with the images of the pulls in memory.
pub(super) async fn images(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let filter = filter::of(&params)?;
    let answer = work(&caller, move |caller| {
        let images = caller.app.pulls.images(&caller.tenant.id, &filter);
        let images = images.iter().map(ImageStatus::of).collect();
        json_of(StatusCode::OK, &ImageList { images })
    });
    Ok(answer.await?)
}

/// Answers with the nodes.
pub(super) async fn nodes(caller: Caller) -> Result<Response, NativeFailure> {
    let answer = work(&caller, |caller| {
        let nodes = caller.app.pulls.nodes(&caller.tenant.id);
        let nodes = nodes.iter().map(NodeStatus::of).collect();
        json_of(StatusCode::OK, &NodeList { nodes })
    });
    Ok(answer.await?)
}

/// Answers with the pods that wait.
pub(super) async fn pods(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let filter = filter::pods(&params);
    let answer = work(&caller, move |caller| {
        let view = caller.app.pulls.pods(&caller.tenant.id, &filter);
        let pods = view.pods.iter().map(PodStatus::of).collect();
        let clusters = view.clusters.iter().map(ClusterStatus::of).collect();
        json_of(StatusCode::OK, &PodList { pods, clusters })
    });
    Ok(answer.await?)
}

/// Writes an answer on a thread that may block: thousands of pulls are tens of megabytes.
async fn work(
    caller: &Caller,
    work: impl FnOnce(&Caller) -> Response + Send + 'static,
) -> Result<Response, Failure> {
    let timeout = caller.app.limits.query_timeout;
    gate::run(caller, timeout, |caller, _| Ok(work(caller))).await
}

impl From<PullsError> for Failure {
    fn from(error: PullsError) -> Self {
        Self::new(Kind::StorageFailed, error.to_string())
    }
}

/// Pulls, written without being gathered first.
struct Statuses<'a> {
    pulls: &'a [Arc<PullView>],
    naming: Naming,
}

impl Serialize for Statuses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.pulls.iter().map(|pull| PullStatus::of(pull, self.naming)))
    }
}

impl<'a> ImageStatus<'a> {
    fn of(image: &'a ImageView) -> Self {
        Self {
            image: &image.image,
            digest: &image.digest,
            nodes: image.nodes,
            nodes_done: image.nodes_done,
            active: image.active,
            completed: image.completed,
            failed: image.failed,
            total_bytes: bytes(image.total_bytes),
            downloaded_bytes: bytes(image.downloaded_bytes),
            bytes_per_sec: finite(image.bytes_per_second),
            percent: finite(image.percent),
        }
    }
}

impl<'a> NodeStatus<'a> {
    fn of(node: &'a NodeView) -> Self {
        Self {
            node: &node.node,
            cluster: &node.cluster,
            agent_version: &node.agent_version,
            runtime: &node.runtime,
            source: node.source.as_str(),
            connected: node.connected,
            last_seen: node.last_seen.map(Time),
            error: &node.error,
            active: node.active,
            bytes_per_sec: finite(node.bytes_per_second),
            clock_skew_seconds: node.clock_skew_seconds.filter(|skew| skew.is_finite()),
        }
    }
}

impl<'a> PodStatus<'a> {
    fn of(pod: &'a PodView) -> Self {
        Self {
            cluster: &pod.cluster,
            namespace: &pod.namespace,
            pod_name: &pod.pod,
            node: &pod.node,
            phase: &pod.phase,
            owner: pod.owner.as_ref().map(PodOwner::of),
            created_at: pod.created_at.map(Time),
            containers: pod.containers.iter().map(ContainerStatus::of).collect(),
        }
    }
}

impl<'a> ContainerStatus<'a> {
    fn of(container: &'a ContainerView) -> Self {
        Self {
            container: &container.container,
            kind: container_kind(container.kind),
            image: &container.image,
            reason: &container.reason,
            message: &container.message,
            state: container.state.map(|state| state.as_str()),
            pull_id: container.pull.as_deref(),
            percent: container.percent.filter(|percent| percent.is_finite()),
            eta_seconds: container.eta_seconds.filter(|eta| eta.is_finite()),
            queued_behind: container.queued_behind,
        }
    }
}

impl<'a> ClusterStatus<'a> {
    fn of(view: &'a ClusterView) -> Self {
        let (connection, reason) = match &view.connection {
            Connection::Off => ("off", None),
            Connection::Degraded { reason } => ("degraded", Some(&**reason)),
            Connection::Live => ("live", None),
        };
        Self { cluster: &view.cluster, connection, reason }
    }
}
