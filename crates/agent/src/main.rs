//! The program `tinyobs-agent`.
//!
//! Exit codes: 0 stopped, 1 cannot work, 2 wrong settings.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use agent::{Flags, LogSettings, Settings};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;

/// Most threads for what blocks: names of hosts and files.
const BLOCKING_THREADS_MAX: usize = 4;

fn main() -> ExitCode {
    let settings = match Settings::resolve(&Flags::parse(), &environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            mistakes.as_slice().iter().for_each(|mistake| complain(mistake));
            return ExitCode::from(2);
        }
    };
    log(settings.log);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, stopped) = watch::channel(false);
        let running = agent::run(settings, stopped);
        tokio::pin!(running);
        tokio::select! {
            biased;
            result = &mut running => return Ok(result?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(stop);
        Ok(running.await?)
    })
}

fn log(settings: LogSettings) {
    let level = LevelFilter::from_level(settings.level);
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    if settings.json {
        lines.json().with_span_list(false).init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program reads its own environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::print_stderr, reason = "the command line's error output")]
fn complain(mistake: &str) {
    eprintln!("error: {mistake}");
}
