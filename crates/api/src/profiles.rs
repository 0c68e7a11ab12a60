//! `/debug/pprof/…`: where the program spends time and memory, for administrators of the whole server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::json_of;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::failure::{Failure, Kind, NativeFailure};
use crate::openapi::{Description, Kind as Parameter};
use crate::params::Params;
use crate::parts::App;

/// How long the processors are watched unless a request says otherwise, and at most, in seconds.
const SECONDS_DEFAULT: u64 = 10;
const SECONDS_MAX: u64 = 60;

/// Looks into the running program. What it does may block.
pub trait Profiler: Send + Sync + fmt::Debug {
    /// Begins to watch the processors until the result is finished or dropped.
    ///
    /// # Errors
    ///
    /// They are being watched already, or the machine does not allow it.
    fn watch(&self) -> Result<Box<dyn CpuProfile>, ProfileError>;

    /// Returns what memory is used for.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    fn memory(&self) -> Result<MemoryReport, ProfileError>;

    /// Returns what the threads do, ascending by identifier.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    fn threads(&self) -> Result<Vec<ThreadReport>, ProfileError>;
}

/// A profile while it is taken.
pub trait CpuProfile: Send {
    /// Ends watching, and returns the profile as `profile.proto`, compressed with gzip.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, ProfileError>;
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Another one is being taken.
    #[error("a profile is being taken already; try again later")]
    Busy,
    /// Something is missing.
    #[error("{reason}")]
    Unavailable {
        /// What.
        reason: String,
    },
}

impl From<ProfileError> for NativeFailure {
    fn from(error: ProfileError) -> Self {
        Failure::new(Kind::Unavailable, error.to_string()).into()
    }
}

/// What memory is used for, in bytes. No list of allocations: the allocator does not record who allocates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemoryReport {
    /// Memory that the process occupies.
    pub resident_bytes: u64,
    /// Of it, what belongs to no file: heap and stacks.
    pub anonymous_bytes: u64,
    /// Of it, what is in a file's cache: the program's code, mapped files.
    pub file_bytes: u64,
    /// What was moved to swap space.
    pub swapped_bytes: u64,
    /// What each tenant's store keeps in memory, ascending by tenant.
    pub stores: Vec<StoreMemory>,
}

/// What a store keeps in memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct StoreMemory {
    /// Whose store.
    pub tenant: String,
    /// Samples that are in no block yet, and the index of their series.
    pub head_bytes: u64,
    /// Records that wait to be made durable.
    pub journal_pending_bytes: u64,
}

/// What a thread does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ThreadReport {
    /// The kernel's identifier.
    pub id: u64,
    /// The name, at most 15 bytes.
    pub name: String,
    /// The kernel's letter for the state: `R` runs, `S` sleeps, `D` waits for a disk.
    pub state: String,
    /// Seconds of processor time in the program.
    pub user_seconds: f64,
    /// Seconds of processor time in the kernel.
    pub system_seconds: f64,
}

/// All threads.
#[derive(Serialize, ToSchema)]
struct ThreadsAnswer {
    threads: Vec<ThreadReport>,
}

/// Returns the endpoints of profiles.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let admin = (Access::Server, Class::Admin);
    vec![
        // The class of queries gives it the time that watching takes.
        Endpoint::new(Verb::Get, "/debug/pprof/profile", (Access::Server, Class::Query), cpu)
            .describe(
                Description::new("observability", "Profile the processors")
                    .details("One at a time. `go tool pprof` and others read the answer.")
                    .query("seconds", Parameter::Integer, "How long, 1 to 60; 10 by default.")
                    .answers_media(200, "application/octet-stream", "profile.proto, with gzip.")
                    .refuses(400),
            ),
        Endpoint::new(Verb::Get, "/debug/pprof/heap", admin, memory).describe(
            Description::new("observability", "Tell what memory is used for")
                .details("A report, no profile: the allocator does not record who allocates.")
                .answers::<MemoryReport>("The sizes."),
        ),
        Endpoint::new(Verb::Get, "/debug/pprof/threads", admin, threads).describe(
            Description::new("observability", "Tell what the threads do")
                .answers::<ThreadsAnswer>("Every thread."),
        ),
    ]
}

async fn cpu(State(app): State<Arc<App>>, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&app, request).await?;
    let seconds = match params.get("seconds") {
        None => SECONDS_DEFAULT,
        Some(text) => {
            let seconds = text.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
            seconds.ok_or_else(|| {
                Failure::parameter("seconds", format_args!("must be from 1 to {SECONDS_MAX}"))
            })?
        }
    };
    let watched = app.observability.profiler.watch()?;
    let end = app.clock.monotonic().saturating_add(Duration::from_secs(seconds));
    // Whoever goes away meanwhile ends it.
    app.clock.sleep_until(end).await;
    let profile = blocking(move || watched.finish()).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"profile.pb.gz\""),
    ];
    Ok((headers, profile).into_response())
}

async fn memory(State(app): State<Arc<App>>) -> Result<Response, NativeFailure> {
    let profiler = Arc::clone(&app.observability.profiler);
    let report = blocking(move || profiler.memory()).await?;
    Ok(json_of(StatusCode::OK, &report))
}

async fn threads(State(app): State<Arc<App>>) -> Result<Response, NativeFailure> {
    let profiler = Arc::clone(&app.observability.profiler);
    let threads = blocking(move || profiler.threads()).await?;
    Ok(json_of(StatusCode::OK, &ThreadsAnswer { threads }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProfileError> + Send + 'static,
) -> Result<T, NativeFailure> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(error = %error, "profile panicked");
        Failure::new(Kind::Internal, "the profile could not be made; the log says more")
    })?;
    Ok(done?)
}
