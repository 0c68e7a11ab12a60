//! One connection on the socket. It ends when containerd ends, and is not renewed by itself.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::Tasks;
use tokio::net::UnixStream;
use tonic::body::Body;
use tower::Service;

use super::ContainerdError;

/// What requests are addressed to; it says nothing, but HTTP/2 wants it.
pub(crate) fn origin() -> Uri {
    Uri::from_static("http://containerd")
}

#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    /// Moves the bytes; aborted when the connection is dropped.
    _driver: Tasks,
}

impl Connection {
    /// Connects to a socket that root serves, or this process' own user.
    pub(crate) async fn open(socket: &Path) -> Result<Self, ContainerdError> {
        let failed = |source| ContainerdError::Connect { socket: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).await.map_err(failed)?;
        let user = stream.peer_cred().map_err(failed)?.uid();
        if user != 0 && user != platform::effective_user() {
            return Err(ContainerdError::NotRoot { socket: socket.to_owned(), user });
        }
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ContainerdError::Handshake { socket: socket.to_owned(), source })?;
        let mut driver = Tasks::new();
        driver.spawn("containerd", async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to containerd ended");
            }
        });
        Ok(Self { transport: Transport(sender), _driver: driver })
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.transport.0.is_closed()
    }
}

/// What tonic sends requests with.
#[derive(Clone, Debug)]
pub(crate) struct Transport(SendRequest<Body>);

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
