//! The log: to standard error, for people or as JSON lines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::Failure;
use crate::config::LogConfig;

/// Sends log lines to standard error from now on.
///
/// # Errors
///
/// The level is no filter.
pub(crate) fn init(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&config.level).map_err(|error| {
        Failure::Usage(anyhow::Error::new(error).context(format!("log.level '{}'", config.level)))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let installed = if config.json { builder.json().try_init() } else { builder.try_init() };
    installed.map_err(|error| Failure::Operation(anyhow::anyhow!("start logging: {error}")))
}
