//! Runs work that blocks: a bounded number at a time, a bounded number waiting, cancelled when nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use model::Cancellation;
use tokio::sync::Semaphore;

use crate::caller::Caller;
use crate::failure::{Failure, Kind};

/// Bounds how much work runs and waits.
#[derive(Debug)]
pub(crate) struct Gate {
    /// What runs and waits. Taken before `running`.
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(concurrent_max: usize, waiting_max: usize) -> Self {
        Self {
            admitted: Arc::new(Semaphore::new(concurrent_max + waiting_max)),
            running: Arc::new(Semaphore::new(concurrent_max)),
        }
    }
}

/// Cancels the work when the request goes away.
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work`, which answers the question that `key` stands for. When the storage fails, the last good answer is
/// given, marked as old.
pub(crate) async fn answer(
    caller: &Caller,
    key: String,
    timeout: Duration,
    work: impl FnOnce(&Caller, &Cancellation) -> Result<Response, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let last = &caller.tenant.last_answers;
    match run(caller, timeout, work).await {
        Ok(response) => Ok(last.remember(key, caller.app.clock.now(), response).await),
        Err(failure) if failure.kind == Kind::StorageFailed => {
            last.recall(&key, caller.app.clock.now()).ok_or(failure)
        }
        Err(failure) => Err(failure),
    }
}

/// Runs `work` on a thread that may block, within `timeout`. Dropping the future cancels it. While the storage fails,
/// it is not asked.
pub(crate) async fn run<T: Send + 'static>(
    caller: &Caller,
    timeout: Duration,
    work: impl FnOnce(&Caller, &Cancellation) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let app = &caller.app;
    let begun = app.clock.monotonic();
    let result = admit(caller, begun.saturating_add(timeout), work).await;
    let failure = result.as_ref().err().map(|failure| failure.kind.code());
    let took = app.clock.monotonic().saturating_sub(begun);
    app.observability.stats.queries.finished(took, failure);
    result
}

async fn admit<T: Send + 'static>(
    caller: &Caller,
    deadline: Duration,
    work: impl FnOnce(&Caller, &Cancellation) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let app = &caller.app;
    let breaker = &caller.tenant.breaker;
    if let Some(wait) = breaker.open_for(app.clock.monotonic()) {
        let message = "the storage failed several times in a row; it is not asked for a while";
        return Err(Failure::new(Kind::StorageFailed, message).retry_after(wait));
    }
    let waiting = app.observability.stats.queries.waiting.enter();
    let admitted = Arc::clone(&app.queries.admitted)
        .try_acquire_owned()
        .map_err(|_| Failure::overloaded("too many queries are waiting; try again later"))?;
    let running = tokio::select! {
        biased;
        permit = Arc::clone(&app.queries.running).acquire_owned() => {
            permit.map_err(|_| Failure::overloaded("the server is stopping"))?
        }
        () = app.clock.sleep_until(deadline) => {
            return Err(Failure::new(Kind::Timeout, "query timed out in queue"));
        }
    };
    drop(waiting);
    let cancellation = Cancellation::at(Arc::clone(&app.clock), deadline);
    let guard = CancelOnDrop(cancellation.clone());
    let worker = caller.clone();
    let span = tracing::info_span!(target: "trace", "query");
    let result = tokio::task::spawn_blocking(move || {
        let _permits = (admitted, running);
        let _entered = span.enter();
        let _running = worker.app.observability.stats.queries.running.enter();
        work(&worker, &cancellation)
    })
    .await;
    drop(guard);
    let now = app.clock.monotonic();
    if let Ok(worked) = &result {
        breaker.learn(worked.as_ref().err().map(|failure| failure.kind), now);
    }
    app.observability.stats.breaker(&caller.tenant.id, breaker.is_open(now));
    result.unwrap_or_else(|error| {
        tracing::error!(error = %error, "query panicked");
        Err(Failure::new(Kind::Internal, "the query made the server fail; the log says more"))
    })
}
