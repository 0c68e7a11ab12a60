//! The only door to the outside: clock, files, randomness, outgoing HTTP and the ownership of tasks.
//!
//! Every seam is a small trait with a real implementation and a simulated twin.
//! The traits have no default methods: an implementation that forgets an operation does not compile,
//! instead of quietly reaching for the real machine.
//! Everything that a component needs from here is passed to its constructor; nothing is global.

mod clock;
mod facts;
mod fs;
mod histogram;
mod http;
mod rng;
mod tasks;

pub use clock::{Clock, SimClock, SystemClock, Timestamp};
pub use facts::{FileFacts, FileKind, effective_user};
pub use fs::{
    DirEntry, DiskSpace, File, Fs, FsError, FsErrorKind, FsOperation, FsStats, MeteredFs, SimCrash,
    SimFs, SystemFs,
};
pub use histogram::{DURATION_BOUNDS, Histogram, HistogramSnapshot};
pub use http::{HttpClient, HttpError, HttpRequest, HttpResponse};
#[cfg(feature = "http-client")]
pub use http::{HttpStream, SystemHttpClient, TlsTrust};
pub use rng::{Rng, SimRng, SystemRng};
pub use tasks::{TaskFailure, Tasks, Threads, panic_message};
