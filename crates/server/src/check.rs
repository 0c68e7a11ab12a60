//! `tinyobs check`: says what is wrong with a file before anything depends on it.

use std::io::Write as _;

use anyhow::Context as _;
use platform::SystemFs;

use crate::Failure;
use crate::cli::{CheckConfigArgs, CheckTarget, environment, read_config};
use crate::config::{Config, Layers};

/// Runs `tinyobs check …`.
pub(crate) fn run(what: CheckTarget) -> Result<(), Failure> {
    match what {
        CheckTarget::Config(args) => check_config(&args),
    }
}

fn check_config(args: &CheckConfigArgs) -> Result<(), Failure> {
    let fs = SystemFs::new();
    let name = args.file.display().to_string();
    let text = read_config(fs.as_ref(), &args.file)?;
    let layers = Layers {
        file: Some((name.clone(), text)),
        environment: environment(),
        ..Layers::default()
    };
    let checked = Config::load(layers, fs.as_ref());
    if args.json {
        let mistakes = checked.as_ref().err().map_or(&[][..], |error| &error.0);
        let report: Vec<_> = mistakes
            .iter()
            .map(|mistake| {
                serde_json::json!({
                    "path": mistake.path, "origin": mistake.origin, "message": mistake.message,
                })
            })
            .collect();
        writeln!(std::io::stdout(), "{}", serde_json::json!({ "mistakes": report }))
            .context("write the report")?;
    }
    checked.map_err(|error| Failure::Usage(error.into()))?;
    if !args.json {
        writeln!(std::io::stdout(), "{name}: no mistakes").context("write the report")?;
    }
    Ok(())
}
