//! A containerd in memory, which is as its test says: of another version, without a service, failing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use platform::{Tasks, Timestamp};
use prost::Message as _;
use prost_types::Timestamp as ProtoTimestamp;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use crate::containerd::proto::content::content_server::{Content, ContentServer};
use crate::containerd::proto::events::events_server::{Events, EventsServer};
use crate::containerd::proto::images::images_server::{Images, ImagesServer};
use crate::containerd::proto::leases::leases_server::{Leases, LeasesServer};
use crate::containerd::proto::snapshots::snapshots_server::{Snapshots, SnapshotsServer};
use crate::containerd::proto::version::version_server::{Version, VersionServer};
use crate::containerd::proto::{content, events, images, leases, snapshots, version};
use crate::{ContainerdSettings, SocketRules};

/// How many events wait for those who listen.
const EVENTS_MAX: usize = 64;

/// What a [`FakeContainerd`] has.
#[derive(Clone, Debug, Default)]
pub struct FakeState {
    /// The version that it says.
    pub version: String,
    /// The services that it does not have: `content`, `events`, `images`, `leases`, `snapshots`.
    pub missing: BTreeSet<&'static str>,
    /// Why calls of the content service fail; they do not when it is empty.
    pub failure: String,
    /// Leases by their names.
    pub leases: BTreeMap<String, FakeLease>,
    /// What is written, by reference.
    pub ingests: BTreeMap<String, FakeIngest>,
    /// Blobs by digest.
    pub blobs: BTreeMap<String, FakeBlob>,
    /// Names of images, the digests that they lead to, and when they were made to.
    pub images: BTreeMap<String, (String, Timestamp)>,
    /// Snapshots by snapshotter and key, with the time when they were made.
    pub snapshots: BTreeMap<(String, String), Timestamp>,
}

/// A lease.
#[derive(Clone, Debug, Default)]
pub struct FakeLease {
    /// When it was made.
    pub created_at: Timestamp,
    /// What it holds: kinds, such as `content`, and names.
    pub resources: Vec<(&'static str, String)>,
}

/// Something that is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeIngest {
    /// How much of it is there.
    pub offset: i64,
    /// How much it will be.
    pub total: i64,
    /// When it began.
    pub started_at: Timestamp,
}

/// A blob.
#[derive(Clone, Debug, Default)]
pub struct FakeBlob {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// When it was made and last changed.
    pub created_at: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A containerd in memory. Dropping it ends it.
#[derive(Debug)]
pub struct FakeContainerd {
    folder: TempDir,
    shared: Shared,
    _tasks: Tasks,
}

#[derive(Clone, Debug)]
struct Shared {
    state: Arc<Mutex<FakeState>>,
    events: broadcast::Sender<events::Envelope>,
}

impl FakeContainerd {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When there is no socket.
    #[must_use]
    pub fn start(state: FakeState) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("c.sock")).expect("a socket");
        let shared =
            Shared { state: Arc::new(Mutex::new(state)), events: broadcast::channel(EVENTS_MAX).0 };
        let mut tasks = Tasks::new();
        tasks.spawn("containerd", serve(listener, shared.clone()));
        Self { folder, shared, _tasks: tasks }
    }

    /// Returns what a watcher needs to find it.
    ///
    /// # Panics
    ///
    /// When its folder is gone.
    #[must_use]
    pub fn settings(&self) -> ContainerdSettings {
        let folder: PathBuf = std::fs::canonicalize(self.folder.path()).expect("a folder");
        let socket = SocketRules::new(Some(folder.join("c.sock")), vec![folder]);
        ContainerdSettings { socket, namespace: "k8s.io".to_owned() }
    }

    /// Changes what it has.
    pub fn change(&self, change: impl FnOnce(&mut FakeState)) {
        change(&mut self.shared.state.lock());
    }

    /// Tells those who listen that something happened to an image, or to what else the topic says.
    pub fn tell(&self, topic: &str, name: &str) {
        let value = images::ImageEvent { name: name.to_owned() }.encode_to_vec();
        let event = Some(events::Payload { type_url: String::new(), value });
        let (namespace, topic) = ("k8s.io".to_owned(), topic.to_owned());
        // Nobody listens: then nobody hears it.
        let _nobody = self.shared.events.send(events::Envelope { namespace, topic, event });
    }

    /// Returns how many listen to its events.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.shared.events.receiver_count()
    }
}

async fn serve(listener: UnixListener, shared: Shared) {
    let incoming = stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _peer)| stream);
        Some((accepted, listener))
    });
    let server = Server::builder()
        .add_service(ContentServer::new(shared.clone()))
        .add_service(EventsServer::new(shared.clone()))
        .add_service(ImagesServer::new(shared.clone()))
        .add_service(LeasesServer::new(shared.clone()))
        .add_service(SnapshotsServer::new(shared.clone()))
        .add_service(VersionServer::new(shared));
    if let Err(error) = server.serve_with_incoming(incoming).await {
        tracing::debug!(%error, "containerd in memory ended");
    }
}

impl Shared {
    /// Returns the state for a call; refuses when the service is missing or fails.
    fn of(&self, service: &'static str) -> Result<FakeState, Status> {
        let state = self.state.lock();
        if state.missing.contains(service) {
            return Err(Status::new(Code::Unimplemented, format!("unknown service {service}")));
        }
        if service == "content" && !state.failure.is_empty() {
            return Err(Status::new(Code::Unknown, state.failure.clone()));
        }
        Ok(state.clone())
    }
}

fn proto(time: Timestamp) -> Option<ProtoTimestamp> {
    let millis = time.as_millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    Some(ProtoTimestamp { seconds: millis.div_euclid(1_000), nanos })
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Content for Shared {
    type ReadStream = Answers<content::ReadContentResponse>;

    async fn info(
        &self,
        request: Request<content::InfoRequest>,
    ) -> Result<Response<content::InfoResponse>, Status> {
        let digest = request.into_inner().digest;
        let state = self.of("content")?;
        let blob = state.blobs.get(&digest).ok_or_else(|| Status::not_found("no such blob"))?;
        let info = content::Info {
            size: i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX),
            created_at: proto(blob.created_at),
            updated_at: proto(blob.created_at),
            labels: blob.labels.clone().into_iter().collect(),
            digest,
        };
        Ok(Response::new(content::InfoResponse { info: Some(info) }))
    }

    async fn read(
        &self,
        request: Request<content::ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let state = self.of("content")?;
        let blob = state.blobs.get(&request.into_inner().digest);
        let bytes = blob.ok_or_else(|| Status::not_found("no such blob"))?.bytes.clone();
        // Two parts, as a long one has.
        let middle = bytes.len() / 2;
        let parts = [(0, bytes[..middle].to_vec()), (middle, bytes[middle..].to_vec())];
        let answers = parts.map(|(offset, data)| {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            Ok(content::ReadContentResponse { offset, data })
        });
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn list_statuses(
        &self,
        _request: Request<content::ListStatusesRequest>,
    ) -> Result<Response<content::ListStatusesResponse>, Status> {
        let ingests = self.of("content")?.ingests.into_iter();
        let statuses = ingests.map(|(reference, ingest)| content::Status {
            started_at: proto(ingest.started_at),
            updated_at: proto(ingest.started_at),
            r#ref: reference,
            offset: ingest.offset,
            total: ingest.total,
        });
        Ok(Response::new(content::ListStatusesResponse { statuses: statuses.collect() }))
    }
}

#[tonic::async_trait]
impl Leases for Shared {
    async fn list(
        &self,
        _request: Request<leases::ListRequest>,
    ) -> Result<Response<leases::ListResponse>, Status> {
        let leases = self.of("leases")?.leases.into_iter();
        let leases = leases.map(|(id, lease)| leases::Lease {
            id,
            created_at: proto(lease.created_at),
            labels: Default::default(),
        });
        Ok(Response::new(leases::ListResponse { leases: leases.collect() }))
    }

    async fn list_resources(
        &self,
        request: Request<leases::ListResourcesRequest>,
    ) -> Result<Response<leases::ListResourcesResponse>, Status> {
        let state = self.of("leases")?;
        let lease = state.leases.get(&request.into_inner().id);
        let lease = lease.ok_or_else(|| Status::not_found("no such lease"))?;
        let resources = lease
            .resources
            .iter()
            .map(|(kind, name)| leases::Resource { id: name.clone(), r#type: (*kind).to_owned() });
        Ok(Response::new(leases::ListResourcesResponse { resources: resources.collect() }))
    }
}

#[tonic::async_trait]
impl Images for Shared {
    async fn list(
        &self,
        request: Request<images::ListImagesRequest>,
    ) -> Result<Response<images::ListImagesResponse>, Status> {
        let filters = request.into_inner().filters;
        let all = self.of("images")?.images.into_iter();
        let matching = all.filter(|(name, (digest, _updated_at))| {
            filters.contains(&format!("name==\"{name}\""))
                || filters.contains(&format!("target.digest==\"{digest}\""))
        });
        let images = matching.map(|(name, (digest, updated_at))| images::Image {
            name,
            target: Some(images::Descriptor { digest, ..Default::default() }),
            created_at: proto(updated_at),
            updated_at: proto(updated_at),
        });
        Ok(Response::new(images::ListImagesResponse { images: images.collect() }))
    }
}

#[tonic::async_trait]
impl Snapshots for Shared {
    async fn stat(
        &self,
        request: Request<snapshots::StatSnapshotRequest>,
    ) -> Result<Response<snapshots::StatSnapshotResponse>, Status> {
        let snapshots::StatSnapshotRequest { snapshotter, key } = request.into_inner();
        let state = self.of("snapshots")?;
        let made = state.snapshots.get(&(snapshotter, key.clone()));
        let made = made.ok_or_else(|| Status::not_found("no such snapshot"))?;
        let info = Some(snapshots::Info { name: key, created_at: proto(*made) });
        Ok(Response::new(snapshots::StatSnapshotResponse { info }))
    }
}

#[tonic::async_trait]
impl Events for Shared {
    type SubscribeStream = Answers<events::Envelope>;

    async fn subscribe(
        &self,
        _request: Request<events::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.of("events")?;
        let told = stream::unfold(self.events.subscribe(), |mut events| async move {
            let event = events.recv().await.ok()?;
            Some((Ok(event), events))
        });
        Ok(Response::new(Box::pin(told)))
    }
}

#[tonic::async_trait]
impl Version for Shared {
    async fn version(
        &self,
        _request: Request<()>,
    ) -> Result<Response<version::VersionResponse>, Status> {
        let version = self.state.lock().version.clone();
        Ok(Response::new(version::VersionResponse { version, revision: String::new() }))
    }
}
