//! The API of containerd, as far as it is asked: calls that change nothing, on its socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use platform::{Clock, Timestamp};
use prost_types::Timestamp as ProtoTimestamp;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::socket::{SocketError, SocketRules};
use connection::Connection;
use proto::content::content_client::ContentClient;
use proto::events::events_client::EventsClient;
use proto::images::images_client::ImagesClient;
use proto::leases::leases_client::LeasesClient;
use proto::snapshots::snapshots_client::SnapshotsClient;
use proto::version::version_client::VersionClient;

pub(crate) mod proto;

pub(crate) mod connection;

/// How long an answer may take.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The header that says whose images are meant.
const NAMESPACE_HEADER: &str = "containerd-namespace";

/// Where containerd is, and which of its namespaces is looked at.
#[derive(Clone, Debug)]
pub struct ContainerdSettings {
    /// Its socket; looked for anew with each connection.
    pub socket: SocketRules,
    /// The namespace; that of Kubernetes is `k8s.io`.
    pub namespace: String,
}

/// Why containerd did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerdError {
    /// There is no socket that may be taken.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Nobody listens.
    #[error("connect to '{}': {source}", socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody listens who is not to be trusted.
    #[error("'{}' is served by user {user}, not by root: check the path of the socket", socket.display())]
    NotRoot {
        /// Where.
        socket: PathBuf,
        /// Who.
        user: u32,
    },
    /// Somebody listens who does not speak HTTP/2.
    #[error("speak HTTP/2 on '{}': {source}", socket.display())]
    Handshake {
        /// Where.
        socket: PathBuf,
        /// Why.
        source: hyper::Error,
    },
    /// The namespace cannot be put into a header.
    #[error("the namespace of containerd is not in ASCII")]
    Namespace,
    /// It took too long.
    #[error("{call}: no answer within {} s", CALL_DEADLINE.as_secs())]
    TimedOut {
        /// What was asked.
        call: &'static str,
    },
    /// It refused.
    #[error("{call}: {} ({:?})", status.message(), status.code())]
    Refused {
        /// What was asked.
        call: &'static str,
        /// Why.
        status: Box<Status>,
    },
}

impl ContainerdError {
    /// Returns whether this containerd does not have what was asked.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::Unimplemented)
    }
}

/// A connection to containerd.
#[derive(Debug)]
pub(crate) struct Containerd {
    connection: Connection,
    namespace: MetadataValue<Ascii>,
    clock: Arc<dyn Clock>,
}

macro_rules! client {
    ($self:ident, $client:ident) => {
        $client::with_origin($self.connection.transport(), connection::origin())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    };
}

impl Containerd {
    /// Connects.
    pub(crate) async fn connect(
        settings: &ContainerdSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ContainerdError> {
        let namespace = MetadataValue::try_from(settings.namespace.as_str())
            .map_err(|_| ContainerdError::Namespace)?;
        let rules = settings.socket.clone();
        let finding = tokio::task::spawn_blocking(move || rules.find()).await;
        // Nobody aborts it, and a panic there is as good as one here.
        let socket =
            finding.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let connecting = Connection::open(&socket);
        let connection = within(&clock, "connect", connecting).await??;
        Ok(Self { connection, namespace, clock })
    }

    /// Returns whether the connection has ended, as it does when containerd ends.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Returns the version, such as `1.7.24`.
    pub(crate) async fn version(&self) -> Result<String, ContainerdError> {
        let mut client = client!(self, VersionClient);
        let answer = self.call("version", client.version(self.request(()))).await?;
        Ok(answer.version)
    }

    /// Returns what is being written to the content store.
    pub(crate) async fn statuses(&self) -> Result<Vec<proto::content::Status>, ContainerdError> {
        let mut client = client!(self, ContentClient);
        let request = self.request(proto::content::ListStatusesRequest::default());
        Ok(self.call("list ingests", client.list_statuses(request)).await?.statuses)
    }

    /// Returns what the content store says of a blob; `None` when it has none.
    pub(crate) async fn info(
        &self,
        digest: &str,
    ) -> Result<Option<proto::content::Info>, ContainerdError> {
        let mut client = client!(self, ContentClient);
        let request = self.request(proto::content::InfoRequest { digest: digest.to_owned() });
        let answer = found(self.call("look at a blob", client.info(request)).await)?;
        Ok(answer.and_then(|answer| answer.info))
    }

    /// Returns a blob; `None` when there is none or it is longer than `bytes_max`.
    pub(crate) async fn read(
        &self,
        digest: &str,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, ContainerdError> {
        let reading = async {
            let mut client = client!(self, ContentClient);
            let request = proto::content::ReadContentRequest {
                digest: digest.to_owned(),
                ..Default::default()
            };
            let mut parts = client.read(self.request(request)).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(part) = parts.message().await? {
                if bytes.len() + part.data.len() > bytes_max {
                    return Ok(Response::new(None));
                }
                bytes.extend_from_slice(&part.data);
            }
            Ok(Response::new(Some(bytes)))
        };
        Ok(found(self.call("read a blob", reading).await)?.flatten())
    }

    /// Returns the leases.
    pub(crate) async fn leases(&self) -> Result<Vec<proto::leases::Lease>, ContainerdError> {
        let mut client = client!(self, LeasesClient);
        let request = self.request(proto::leases::ListRequest::default());
        Ok(self.call("list leases", client.list(request)).await?.leases)
    }

    /// Returns what a lease holds; `None` when there is no such lease.
    pub(crate) async fn resources(
        &self,
        lease: &str,
    ) -> Result<Option<Vec<proto::leases::Resource>>, ContainerdError> {
        let mut client = client!(self, LeasesClient);
        let request = proto::leases::ListResourcesRequest { id: lease.to_owned() };
        let calling = client.list_resources(self.request(request));
        let answer = found(self.call("list the resources of a lease", calling).await)?;
        Ok(answer.map(|answer| answer.resources))
    }

    /// Returns the images that one of the filters matches.
    pub(crate) async fn images(
        &self,
        filters: Vec<String>,
    ) -> Result<Vec<proto::images::Image>, ContainerdError> {
        let mut client = client!(self, ImagesClient);
        let request = self.request(proto::images::ListImagesRequest { filters });
        Ok(self.call("list images", client.list(request)).await?.images)
    }

    /// Returns what a snapshotter says of a snapshot; `None` when it has none.
    pub(crate) async fn snapshot(
        &self,
        snapshotter: &str,
        key: &str,
    ) -> Result<Option<proto::snapshots::Info>, ContainerdError> {
        let mut client = client!(self, SnapshotsClient);
        let request = self.request(proto::snapshots::StatSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            key: key.to_owned(),
        });
        let answer = found(self.call("look at a snapshot", client.stat(request)).await)?;
        Ok(answer.and_then(|answer| answer.info))
    }

    /// Returns the events from now on that match a filter. They begin with the first event, so that this has no deadline.
    pub(crate) fn events(
        &self,
        filters: Vec<String>,
    ) -> impl Future<Output = Result<Streaming<proto::events::Envelope>, ContainerdError>> + use<>
    {
        let mut client = client!(self, EventsClient);
        let request = self.request(proto::events::SubscribeRequest { filters });
        async move {
            let refused = |status| ContainerdError::Refused {
                call: "listen to events",
                status: Box::new(status),
            };
            Ok(client.subscribe(request).await.map_err(refused)?.into_inner())
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(NAMESPACE_HEADER, self.namespace.clone());
        request
    }

    async fn call<T>(
        &self,
        call: &'static str,
        calling: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ContainerdError> {
        match within(&self.clock, call, calling).await? {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ContainerdError::Refused { call, status: Box::new(status) }),
        }
    }
}

/// Returns a time of containerd's clock; `None` when it was not said.
pub(crate) fn timestamp(time: Option<&ProtoTimestamp>) -> Option<Timestamp> {
    let time = time?;
    // The zero of Go's clock, the year 1, is what it says when it does not know.
    (time.seconds > 0).then(|| {
        let millis = i64::from(time.nanos) / 1_000_000;
        Timestamp::from_millis(time.seconds.saturating_mul(1_000).saturating_add(millis))
    })
}

/// Turns "there is none" into an answer.
fn found<T>(result: Result<T, ContainerdError>) -> Result<Option<T>, ContainerdError> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(ContainerdError::Refused { status, .. }) if status.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn within<T>(
    clock: &Arc<dyn Clock>,
    call: &'static str,
    calling: impl Future<Output = T>,
) -> Result<T, ContainerdError> {
    let late = clock.sleep_until(clock.monotonic() + CALL_DEADLINE);
    tokio::select! {
        biased;
        answer = calling => Ok(answer),
        () = late => Err(ContainerdError::TimedOut { call }),
    }
}
