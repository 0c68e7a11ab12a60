//! Turns what is pushed, scraped or sampled from the host into batches of samples.
//!
//! The decoders take a body that is in memory already, borrow from it what they can, and hand over a
//! [`model::WriteBatch`].
//! They trust nothing: a malformed body is an error that says where, a length that is claimed is compared with
//! what is there before anything is allocated, and nothing outlives a request.
//!
//! - [`decompress`] undoes the compression of a body, within a limit.
//! - [`decode_remote_write_v1`] and [`decode_remote_write_v2`] read Prometheus remote write.
//! - [`decode_otlp`] reads OTLP metrics, and [`encode_otlp_response`] answers.
//! - [`parse_exposition`] reads the text formats, and a [`Scraper`] fetches them from targets.
//! - A [`HostCollector`] samples this machine, and [`ProcessStats`] are this process'.
//! - An [`OwnScrape`] stores what this program exposes about itself.

mod arena;
mod compression;
mod host;
mod otlp;
mod page;
mod pairs;
mod process;
mod protobuf;
mod relabel;
mod remote_write;
mod scrape;
#[cfg(test)]
mod testing;
mod text;

pub use arena::LabelArena;
pub use compression::{Compression, DecompressError, decompress};
pub use host::{HostCollector, HostCollectorConfig, host_name};
pub use otlp::{
    OtlpError, OtlpFormat, OtlpMetrics, decode_otlp, encode_otlp_response, encode_otlp_status,
};
pub use process::{ProcessError, ProcessStats};
pub use relabel::{Relabel, RelabelAction, RelabelConfig, RelabelError};
pub use remote_write::{
    RemoteWriteError, RemoteWriteRequest, RequestCounts, decode_remote_write_v1,
    decode_remote_write_v2,
};
pub use scrape::{
    Authorization, BasicAuth, FileDiscovery, OwnScrape, ScrapeConfig, ScrapeConfigError,
    ScrapeDefaults, Scraper, TargetGroup,
};
pub use text::{
    Entry, Exposition, ExpositionError, ExpositionFormat, TextSample, TextSeries, parse_exposition,
};
