//! Checks of the project itself that no compiler makes: `cargo xtask tidy`; `generate` writes what it wants fresh.
//!
//! Run from the workspace root. Prints every finding and fails when there is one.
#![expect(clippy::disallowed_methods, reason = "a tool over the checkout, outside the program")]
#![expect(clippy::print_stdout, reason = "its findings are its output")]

mod chart;
mod configuration;
mod dependencies;
mod documents;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

fn main() -> ExitCode {
    match run() {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("tidy: {} findings", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<Vec<String>> {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {}
        Some("generate") => {
            configuration::write().context("write the page of the configuration")?;
            chart::write().context("write the plain manifests")?;
            return Ok(Vec::new());
        }
        _ => bail!("usage: cargo xtask tidy|generate"),
    }
    let mut findings = documents::check().context("check the documents")?;
    findings.extend(configuration::check().context("check the page of the configuration")?);
    findings.extend(chart::check().context("check the plain manifests")?);
    findings.extend(dependencies::check().context("check the dependencies")?);
    Ok(findings)
}
