//! Events from clients: as the original takes them, as CloudEvents, and as Segment's libraries send them.
//!
//! They all become binary envelopes of `causality.v1` and go the same way, through [`intake`].

mod causality;
mod cloud_events;
mod document;
mod failure;
mod intake;
mod mapping;
mod schemas;
mod segment;

use access::Permission;

use crate::endpoint::{Access, Class, Endpoint};
use crate::openapi::Description;

pub(crate) use failure::refuse;

/// Who may send events.
const SEND: (Access, Class) = (Access::Needs(Permission::EventsWrite), Class::Write);

/// Returns the endpoints that take events and describe them.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = causality::endpoints();
    endpoints.extend(cloud_events::endpoints());
    endpoints.extend(segment::endpoints());
    endpoints.extend(schemas::endpoints());
    endpoints
}

fn about(summary: &'static str) -> Description {
    Description::new("events", summary)
}
