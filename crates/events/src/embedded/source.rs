//! What consumers read: the log, with what cannot be decoded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use journal::{ReadEnd, Sequence};
use model::TenantId;
use tokio::sync::watch;

use super::consumers::{Found, Source};
use super::core::{Core, unavailable};
use super::reading::blocking;
use super::record::Record;
use crate::{Body, LogError, Offset, Page, ReadLimits};

/// The log as its consumers see it.
#[derive(Debug)]
pub(super) struct LogSource(pub(super) Arc<Core>);

impl Source for LogSource {
    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Found, LogError>> {
        Box::pin(async move {
            let page = Arc::clone(&self.0).read(from, limits).await?;
            let Page { entries, next, skipped } = page;
            let entries = entries.into_iter().map(|entry| (entry.offset, Body::Entry(entry)));
            let mut bodies: Vec<_> = entries.collect();
            if skipped == 0 {
                return Ok(Found { bodies, next, missing: 0 });
            }
            let core = Arc::clone(&self.0);
            let mut undecodable = blocking(move || core.undecodable(from, next)).await?;
            let missing = skipped.saturating_sub(undecodable.len() as u64);
            bodies.append(&mut undecodable);
            bodies.sort_by_key(|(offset, _)| *offset);
            Ok(Found { bodies, next, missing })
        })
    }

    fn first(&self) -> Offset {
        self.0.bounds().first
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.0.end.subscribe()
    }
}

impl Core {
    /// Returns the records from `from` on, and before `end`, that cannot be decoded. Blocks.
    fn undecodable(&self, from: Offset, end: Offset) -> Result<Vec<(Offset, Body)>, LogError> {
        let mut bodies = Vec::new();
        let mut from = Sequence(from.0);
        loop {
            let read = self.journal.read(from, &mut |sequence, bytes| {
                if sequence.0 >= end.0 {
                    return ControlFlow::Break(());
                }
                if let Some(error) = decode_error(bytes) {
                    let body = Body::Undecodable {
                        subject: String::new(),
                        headers: BTreeMap::new(),
                        bytes: Bytes::copy_from_slice(bytes),
                        error,
                    };
                    bodies.push((Offset(sequence.0), body));
                }
                ControlFlow::Continue(())
            });
            let ReadEnd { next, .. } = read.map_err(unavailable)?;
            if next.0 >= end.0 || next == from {
                return Ok(bodies);
            }
            from = next;
        }
    }
}

fn decode_error(bytes: &[u8]) -> Option<String> {
    match Record::decode(bytes) {
        Ok(record) => TenantId::new(record.tenant).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}
