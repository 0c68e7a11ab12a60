//! What all writes share: they wait for their turn with their body in hand, and a bounded number is worked on.

use std::sync::Arc;

use access::Unit;
use axum::body::Body;
use bytes::Bytes;

use crate::body::{self, Received};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;

/// Reads the body of a write of `unit`, of at most `bytes_max` bytes, and runs `work` on it on a thread that may block.
///
/// The body is not read when the tenant or the key may not send anything now, whatever it says.
/// The place is taken only once the body is there: slow senders hold up nobody.
pub(crate) async fn run<T, E>(
    caller: &Caller,
    unit: Unit,
    body: Body,
    bytes_max: usize,
    work: impl FnOnce(&Caller, Bytes) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Failure> + Send + 'static,
{
    let app = &caller.app;
    if let Err(failure) = caller.may_write(unit, http_body::Body::size_hint(&body).lower()) {
        limits::discard(app, body).await;
        return Err(failure.into());
    }
    let Received { bytes, room } = body::read(app, body, bytes_max).await?;
    let deadline = app.clock.monotonic().saturating_add(app.limits.body_timeout);
    let place = tokio::select! {
        biased;
        place = Arc::clone(&app.writes).acquire_owned() => {
            place.map_err(|_| Failure::overloaded("the server is stopping"))?
        }
        () = app.clock.sleep_until(deadline) => {
            return Err(Failure::overloaded("too many writes are going on; try again later").into());
        }
    };
    let caller = caller.clone();
    let span = tracing::info_span!(target: "trace", "store", bytes = bytes.len());
    let worked = tokio::task::spawn_blocking(move || {
        let _held = (room, place);
        let _entered = span.enter();
        work(&caller, bytes)
    });
    worked.await.unwrap_or_else(|error| {
        tracing::error!(error = %error, "write panicked");
        let message = "the request made the server fail; the log says more";
        Err(Failure::new(Kind::Internal, message).into())
    })
}
