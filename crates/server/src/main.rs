//! The program `tinyobs`: configuration, wiring, shutdown, command line.
//!
//! Exit codes: 0 done, 1 the operation failed, 2 wrong usage or configuration, 3 `verify` found damage.

mod certificates;
mod check;
mod cli;
mod client;
mod config;
mod dead_letters;
mod disk;
mod event_log;
mod event_series;
mod event_stream;
mod identity;
mod keys;
mod logging;
mod observe;
mod profiles;
mod pull_events;
mod pull_parts;
mod pull_series;
mod pulls_command;
mod query;
mod reload;
mod serve;
mod shutdown;
mod state_command;
mod tail;
mod telemetry;
mod tenant_series;
mod tenants;
mod threads;
mod traces;
mod users;
mod verify;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

// The system's allocator keeps what many short-lived request buffers leave behind; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a command did not succeed, by exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1.
    Operation(anyhow::Error),
    /// Exit code 2.
    Usage(anyhow::Error),
    /// Exit code 3; the report has been printed.
    Damage,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Operation(error) | Self::Usage(error) => write!(f, "{error:#}"),
            Self::Damage => f.write_str("damage was found"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Operation(error)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(pulls_command::as_plugin(std::env::args_os()));
    let done = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Query(args) => query::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Pulls(args) => pulls_command::run(args),
        Command::DeadLetters { command } => dead_letters::run(command),
        Command::Keys { command } => keys::run(command),
        Command::Users { command } => users::run(command),
        Command::Check { what } => check::run(what),
        Command::Verify(args) => verify::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Operation(error)) => complain(&error, 1),
        Err(Failure::Usage(error)) => complain(&error, 2),
        Err(Failure::Damage) => ExitCode::from(3),
    }
}

#[expect(clippy::print_stderr, reason = "the command line's error output")]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}
