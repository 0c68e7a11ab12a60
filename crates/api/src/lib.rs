//! The HTTP API: routes, wire formats, limits, live updates and the embedded page.
//!
//! [`router`] turns the parts of the program into routes, [`serve`] puts them on a socket. What is read or evaluated
//! runs on threads that may block, behind a [gate](ApiLimits::queries_concurrent_max); what arrives is bounded.
//! Only this crate knows how anything is spelt in JSON.

mod admin;
mod body;
mod breaker;
mod caller;
mod configuration;
mod cookie;
mod cors;
mod dead_letters;
mod endpoint;
mod enforce;
mod events;
mod exposition;
mod expression;
mod failure;
mod gate;
mod guard;
mod identity;
mod json;
mod legacy;
mod limits;
mod live;
mod observe;
mod openapi;
mod otlp;
mod page;
mod params;
mod parts;
mod profiles;
mod prometheus;
mod pulls;
mod reference;
mod remote_write;
mod routes;
mod serve;
mod session;
mod socket;
mod stale;
mod stats;
mod status;
mod tail;
mod time;
mod tls;
mod write;

pub use configuration::{Configuration, Reloaded, SettingInForce};
pub use cors::{CrossOrigin, CrossOriginError, ORIGINS_MAX, Origin, OriginError};
pub use failure::error_codes;
pub use identity::{Identity, Ways};
pub use limits::{ClassLimit, ClassLimits, LimitsInForce, RequestLimits};
pub use observe::{Exposition, Observability, TraceContext};
pub use parts::{ApiLimits, ApiParts, Events};
pub use profiles::{CpuProfile, MemoryReport, ProfileError, Profiler, StoreMemory, ThreadReport};
pub use routes::{openapi_json, router};
pub use serve::{
    ClientCertificate, ConnectionInfo, ServeCounts, ServeError, ServeLimits, ServeStats, Transport,
    serve,
};
pub use stats::{ApiStats, IngestCount, Protocol, QueryCount, RequestCount, RouteCount};
pub use status::HealthCheck;
pub use time::{format_rfc3339, parse_rfc3339};
pub use tls::{ClientAuth, Reload, Tls, TlsError, TlsSettings, TlsStatus, TlsVersion};

#[cfg(test)]
mod tests;
