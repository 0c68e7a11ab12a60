//! A proxy between a sender of remote write and TinyObs that remembers what was acknowledged.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use platform::{HttpClient as _, HttpRequest, SystemHttpClient, Tasks};

/// A recording proxy, on a runtime of its own.
pub(crate) struct Recorder {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _tasks: Tasks,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    client: SystemHttpClient,
    target: Mutex<String>,
    acknowledged: Mutex<Vec<Bytes>>,
}

impl Recorder {
    /// Forwards to the server at `target` from now on.
    pub(crate) fn start(target: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared = Arc::new(Shared {
            client: SystemHttpClient::new().expect("a client"),
            target: Mutex::new(target.to_owned()),
            acknowledged: Mutex::default(),
        });
        let router = Router::new()
            .route("/api/v1/write", axum::routing::post(forward))
            .with_state(Arc::clone(&shared));
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mut tasks = Tasks::new();
        {
            let _inside = runtime.enter();
            tasks.spawn("recorder", async move {
                axum::serve(listener, router).await.expect("serve");
            });
        }
        Self { url, shared, _tasks: tasks, _runtime: runtime }
    }

    /// Forwards to another server from now on.
    pub(crate) fn retarget(&self, target: &str) {
        target.clone_into(&mut self.shared.target.lock());
    }

    /// Returns the bodies that were answered with success.
    pub(crate) fn acknowledged(&self) -> Vec<Bytes> {
        self.shared.acknowledged.lock().clone()
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    mut headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    headers.remove(http::header::HOST);
    headers.remove(http::header::CONTENT_LENGTH);
    let url = format!("{}/api/v1/write", shared.target.lock());
    let request = HttpRequest {
        method: http::Method::POST,
        url,
        headers,
        body: body.clone(),
        timeout: Duration::from_secs(30),
        response_bytes_max: 1 << 20,
    };
    match shared.client.send(request).await {
        Ok(answer) => {
            if answer.status.is_success() {
                shared.acknowledged.lock().push(body);
            }
            (answer.status, answer.body)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, Bytes::from(error.to_string())),
    }
}
