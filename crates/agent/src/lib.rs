//! The agent on a node: what containerd pulls, reported to a server.
//!
//! A [`Watcher`] looks, the reporter sends the newest [`Snapshot`], and [`run`] joins both and answers about them.

mod containerd;
mod health;
mod reporter;
mod run;
mod settings;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod watch;

pub use containerd::ContainerdSettings;
pub use reporter::CredentialsError;
pub use run::{AgentError, run, run_with};
pub use settings::{
    AddressError, Flags, LogSettings, LookAt, Mistakes, ServerAddress, Settings, TlsFiles, Token,
    TokenError,
};
pub use socket::{KNOWN_FOLDERS, KNOWN_SOCKETS, SocketError, SocketRules};
pub use watch::{ContainerdWatcher, FolderWatcher, Look, Pace, Snapshot, Watcher};
#[cfg(any(test, feature = "testing"))]
pub use watch::{Script, ScriptedWatcher};
