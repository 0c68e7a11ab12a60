//! Runs scripts in the format of Prometheus' PromQL tests against the engine, over series in memory.
//!
//! `cargo run -p promql --example promqltest -- [-v] FILE…` prints the evaluations that differ and, per file,
//! how many agree. It fails only when a file cannot be read.

use std::path::Path;
use std::process::ExitCode;

use platform::{Fs, SystemFs};

mod check;
mod expectation;
mod points;
mod run;
mod script;
mod store;

/// Most bytes of a script.
const SCRIPT_BYTES_MAX: u64 = 16 << 20;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]
fn main() -> ExitCode {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let is_verbose = flags.iter().any(|flag| flag == "-v");
    let fs = SystemFs::new();
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let text = fs
            .read(Path::new(&file), SCRIPT_BYTES_MAX)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{file}: {error}");
                code = ExitCode::FAILURE;
                continue;
            }
        };
        let report = run::run(&text);
        for failure in &report.failures {
            let shown = if is_verbose { failure.message.as_str() } else { failure.brief() };
            println!("{file}:{}: {}: {shown}", failure.line, failure.query);
        }
        println!("{file}: passed {} of {}", report.passed, report.total);
    }
    code
}
