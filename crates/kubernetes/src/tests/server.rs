//! A server of the API, as far as lists and watches of pods and events go.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use platform::Tasks;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What goes wrong, once, with a request that fits.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It is refused.
    Status(u16),
    /// It is never answered.
    Silence,
    /// The watch begins, and says this.
    Says(String),
    /// The watch begins and ends.
    Ends,
}

/// What running watches are told.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// Go on.
    Run,
    /// Say this, if it is anything, and end; with the end of the connection if it must be rough.
    End { says: String, rough: bool },
}

pub(super) struct Server {
    address: SocketAddr,
    state: Mutex<Cluster>,
    /// Counts changes, for watches to wait for.
    changes: watch::Sender<u64>,
    orders: watch::Sender<Order>,
    _tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Cluster {
    version: u64,
    /// By resource, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// Everything that happened: its version, resource, type and object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Versions up to this are forgotten.
    forgotten: u64,
    /// Lists that are read page by page, with their versions.
    lists: Vec<(u64, Vec<Value>)>,
    /// What goes wrong, by `verb resource`; the verb of pages after the first is `page`.
    faults: BTreeMap<String, VecDeque<Fault>>,
    /// `verb resource namespace version-or-token`, and the parameters.
    requests: Vec<(String, BTreeMap<String, String>)>,
    /// Whether every request is refused.
    refuses: Option<u16>,
}

impl Server {
    pub(super) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self::start_on(address, |router| async move {
            axum::serve(listener, router).await.expect("it serves");
        })
    }

    /// Starts with a way to serve.
    pub(super) fn start_on<F>(address: SocketAddr, serve: impl FnOnce(Router) -> F) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let server = Arc::new(Self {
            address,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            orders: watch::Sender::new(Order::Run),
            _tasks: Mutex::default(),
        });
        let router = Router::new()
            .route("/api/v1/{resource}", get(whole))
            .route("/api/v1/namespaces/{namespace}/{resource}", get(namespaced))
            .with_state(Arc::clone(&server));
        server._tasks.lock().spawn("server", serve(router));
        server
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes or changes an object.
    pub(super) fn put(&self, mut object: Value) {
        let mut state = self.state.lock();
        let key = key(&object);
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let kind = if state.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let entry = (state.version, key.0.clone(), kind, object.clone());
        state.log.push(entry);
        state.objects.insert(key, object);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Deletes an object.
    pub(super) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut state = self.state.lock();
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = state.objects.remove(&key).expect("it is there");
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        let entry = (state.version, resource.to_owned(), "DELETED", object);
        state.log.push(entry);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Says to watches of a resource how far they are, without an object.
    pub(super) fn bookmark(&self, resource: &str) {
        let mut state = self.state.lock();
        state.version += 1;
        let version = state.version.to_string();
        let bookmark = json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"resourceVersion": version}});
        let entry = (state.version, resource.to_owned(), "BOOKMARK", bookmark);
        state.log.push(entry);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Forgets what happened up to now: watches from before are gone.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock();
        state.forgotten = state.version;
        state.log.clear();
        state.lists.clear();
        // Something happens elsewhere, so that every version from before is one too old.
        state.version += 1;
        state.forgotten += 1;
    }

    /// Lets the next requests of a verb on a resource go wrong, one after the other.
    pub(super) fn fail(&self, verb_and_resource: &str, faults: &[Fault]) {
        let mut state = self.state.lock();
        state
            .faults
            .entry(verb_and_resource.to_owned())
            .or_default()
            .extend(faults.iter().cloned());
    }

    /// Lets nothing go wrong any more.
    pub(super) fn mend(&self) {
        self.state.lock().faults.clear();
    }

    /// Refuses every request, or none.
    pub(super) fn refuse(&self, status: Option<u16>) {
        self.state.lock().refuses = status;
    }

    /// Ends the running watches.
    pub(super) fn end_watches(&self, says: &str, rough: bool) {
        self.orders.send_replace(Order::End { says: says.to_owned(), rough });
    }

    /// Returns whether all that was to go wrong has.
    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().faults.values().all(VecDeque::is_empty)
    }

    /// Returns `namespace/name` of the pods that wait.
    pub(super) fn waiting(&self) -> Vec<String> {
        let state = self.state.lock();
        let waits =
            |pod: &Value| pod.pointer("/status/containerStatuses/0/state/waiting").is_some();
        let waiting = state
            .objects
            .iter()
            .filter(|((resource, ..), object)| resource == "pods" && waits(object));
        waiting.map(|((_, namespace, name), _)| format!("{namespace}/{name}")).collect()
    }

    /// Returns the requests that begin so, without what they were made with.
    pub(super) fn requests(&self, beginning: &str) -> Vec<String> {
        let state = self.state.lock();
        let requests = state.requests.iter().map(|(request, _)| request.clone());
        requests.filter(|request| request.starts_with(beginning)).collect()
    }

    /// Returns a parameter of the first request that begins so.
    pub(super) fn parameter(&self, beginning: &str, name: &str) -> Option<String> {
        let state = self.state.lock();
        let found = state.requests.iter().find(|(request, _)| request.starts_with(beginning))?;
        found.1.get(name).cloned()
    }
}

fn key(object: &Value) -> (String, String, String) {
    let resource = match object["kind"].as_str() {
        Some("Pod") => "pods",
        _ => "events",
    };
    let of = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (resource.to_owned(), of("namespace"), of("name"))
}

type Parameters = Query<BTreeMap<String, String>>;

async fn whole(
    State(server): State<Arc<Server>>,
    Path(resource): Path<String>,
    Query(parameters): Parameters,
) -> Response {
    answer(server, None, resource, parameters).await
}

async fn namespaced(
    State(server): State<Arc<Server>>,
    Path((namespace, resource)): Path<(String, String)>,
    Query(parameters): Parameters,
) -> Response {
    answer(server, Some(namespace), resource, parameters).await
}

async fn answer(
    server: Arc<Server>,
    namespace: Option<String>,
    resource: String,
    parameters: BTreeMap<String, String>,
) -> Response {
    let of = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let is_watch = matches!(&*of("watch"), "true" | "1");
    let verb = if is_watch { "watch" } else { "list" };
    let from = if is_watch { of("resourceVersion") } else { of("continue") };
    let place = namespace.as_deref().unwrap_or("*");
    let fault = {
        let mut state = server.state.lock();
        let request = format!("{verb} {resource} {place} {from}");
        state.requests.push((request, parameters.clone()));
        if let Some(code) = state.refuses {
            return refusal(code);
        }
        let verb = if is_watch || from.is_empty() { verb } else { "page" };
        state.faults.get_mut(&format!("{verb} {resource}")).and_then(VecDeque::pop_front)
    };
    match fault {
        Some(Fault::Status(code)) => return refusal(code),
        Some(Fault::Silence) => std::future::pending::<()>().await,
        Some(Fault::Ends) => return Body::empty().into_response(),
        Some(Fault::Says(line)) => {
            let line = Ok::<_, Infallible>(Bytes::from(format!("{line}\n")));
            return Body::from_stream(stream::iter([line])).into_response();
        }
        None => {}
    }
    if is_watch {
        follow(server, namespace, resource, from)
    } else {
        list(&server, namespace.as_deref(), &resource, &from, &of("limit"))
    }
}

fn refusal(code: u16) -> Response {
    let status = StatusCode::from_u16(code).expect("a status");
    (status, status_object(code).to_string()).into_response()
}

/// What the API says when something is wrong.
pub(super) fn status_object(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the test wants it", "reason": "Test", "code": code})
}

fn list(
    server: &Server,
    namespace: Option<&str>,
    resource: &str,
    token: &str,
    limit: &str,
) -> Response {
    let mut state = server.state.lock();
    let (index, offset) = match token.split_once(':') {
        Some((index, offset)) => {
            (index.parse().expect("an index"), offset.parse::<usize>().expect("an offset"))
        }
        None => {
            let objects = state.objects.iter().filter(|((of, within, _), _)| {
                of == resource && namespace.is_none_or(|wanted| wanted == within)
            });
            let objects: Vec<Value> = objects.map(|(_, object)| object.clone()).collect();
            let version = state.version;
            state.lists.push((version, objects));
            (state.lists.len() - 1, 0)
        }
    };
    let Some((version, objects)) = state.lists.get(index) else { return refusal(410) };
    let limit: usize = limit.parse().expect("a limit");
    let rest = objects.get(offset..).unwrap_or_default();
    let page = rest.get(..limit.min(rest.len())).unwrap_or_default();
    let next = offset + page.len();
    let token = if next < objects.len() { format!("{index}:{next}") } else { String::new() };
    let kind = if resource == "pods" { "PodList" } else { "EventList" };
    let page = json!({"kind": kind, "apiVersion": "v1", "items": page,
        "metadata": {"resourceVersion": version.to_string(), "continue": token}});
    page.to_string().into_response()
}

/// A watch that runs.
struct Following {
    server: Arc<Server>,
    namespace: Option<String>,
    resource: String,
    version: u64,
    changes: watch::Receiver<u64>,
    orders: watch::Receiver<Order>,
    has_ended: bool,
}

fn follow(
    server: Arc<Server>,
    namespace: Option<String>,
    resource: String,
    from: String,
) -> Response {
    let version = from.parse().expect("a version");
    if version < server.state.lock().forgotten {
        // So does the real one: the request is accepted, and the error the first thing that is said.
        let line = format!("{}\n", json!({"type": "ERROR", "object": status_object(410)}));
        return Body::from(line).into_response();
    }
    let mut orders = server.orders.subscribe();
    orders.mark_unchanged();
    let changes = server.changes.subscribe();
    let following =
        Following { server, namespace, resource, version, changes, orders, has_ended: false };
    Body::from_stream(stream::unfold(following, |mut following| async move {
        let said = following.next().await?;
        Some((said, following))
    }))
    .into_response()
}

impl Following {
    async fn next(&mut self) -> Option<Result<Bytes, &'static str>> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Some(line) = self.news() {
                return Some(Ok(line));
            }
            tokio::select! {
                biased;
                changed = self.changes.changed() => changed.ok()?,
                changed = self.orders.changed() => {
                    changed.ok()?;
                    let Order::End { says, rough } = self.orders.borrow_and_update().clone() else {
                        continue;
                    };
                    if rough && says.is_empty() {
                        return Some(Err("the connection breaks"));
                    }
                    self.has_ended = !rough;
                    if says.is_empty() {
                        return None;
                    }
                    return Some(Ok(says.into()));
                }
            }
        }
    }

    fn news(&mut self) -> Option<Bytes> {
        let state = self.server.state.lock();
        let next = state.log.iter().find(|(version, resource, _, object)| {
            let within = object["metadata"]["namespace"].as_str();
            let fits =
                self.namespace.is_none() || within.is_none() || within == self.namespace.as_deref();
            self.version < *version && *resource == self.resource && fits
        });
        let (version, _, kind, object) = next?;
        self.version = *version;
        Some(format!("{}\n", json!({"type": kind, "object": object})).into())
    }
}
