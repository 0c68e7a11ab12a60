//! What commands share that work on the state database, beside a running server or without one.

use std::future::Future;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use access::{Access, AccessError};
use anyhow::{Context as _, anyhow};
use platform::{Clock, Fs, Rng, SystemClock, SystemFs, SystemRng};
use secrecy::SecretString;

use crate::Failure;
use crate::cli::ConfigArgs;
use crate::config::Config;
use crate::identity::{self, STATE_FILE};

/// Longest file or input with a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Runs `work` on what the state database says about keys and people, and closes it again.
///
/// # Errors
///
/// The configuration has mistakes, no server ever ran over the data folder, the database fails, or `work` does.
pub(crate) fn with_access<T, F>(
    args: ConfigArgs,
    work: impl FnOnce(Arc<Access>, Arc<dyn Clock>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let fs: Arc<dyn Fs> = SystemFs::new();
    let config = Config::load(args.layers(fs.as_ref())?, fs.as_ref())
        .map_err(|error| Failure::Usage(error.into()))?;
    refuse_new_database(&config, fs.as_ref())?;
    let clock: Arc<dyn Clock> = SystemClock::new();
    let rng: Arc<dyn Rng> = SystemRng::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let database = identity::open_database(&config, fs.as_ref(), Arc::clone(&clock)).await?;
        let opened =
            identity::open_access(&config, database.clone(), Arc::clone(&clock), rng).await;
        let done = match opened {
            Ok(access) => work(access, clock).await,
            Err(error) => Err(error.into()),
        };
        database.close().await;
        done
    })
}

/// Refuses a data folder that no server has used: a mistyped path must not make an empty database.
fn refuse_new_database(config: &Config, fs: &dyn Fs) -> Result<(), Failure> {
    let file = config.data_dir.join(STATE_FILE);
    if config.state_url.is_some() || fs.exists(&file).context("look for the state database")? {
        return Ok(());
    }
    let folder = config.data_dir.display();
    Err(Failure::Usage(anyhow!(
        "'{folder}' has no state database: start the server once, or name its folder with --data-dir"
    )))
}

/// Returns what a refusal means for the exit code: wrong values are wrong usage.
pub(crate) fn failure(error: AccessError) -> Failure {
    let is_usage = match &error {
        AccessError::Invalid { .. } => true,
        AccessError::Password(error) => !error.is_retryable(),
        _ => false,
    };
    if is_usage { Failure::Usage(error.into()) } else { Failure::Operation(error.into()) }
}

/// Returns the first line of a file, or of standard input.
///
/// # Errors
///
/// It cannot be read, is not UTF-8, or is empty; standard input is a terminal, where a secret would be shown.
pub(crate) fn read_secret(what: &str, file: Option<&Path>) -> Result<SecretString, Failure> {
    let bytes = match file {
        Some(path) => {
            let fs = SystemFs::new();
            fs.read(path, SECRET_BYTES_MAX).map_err(|error| Failure::Usage(error.into()))?
        }
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::Usage(anyhow!(
                "standard input is a terminal, which would show the {what}: name a file, or send it through a pipe"
            )));
        }
        None => {
            let mut bytes = Vec::new();
            let mut input = std::io::stdin().lock().take(SECRET_BYTES_MAX);
            input.read_to_end(&mut bytes).context("read standard input")?;
            bytes
        }
    };
    first_line(bytes).ok_or_else(|| Failure::Usage(anyhow!("the {what} is empty or not UTF-8")))
}

fn first_line(bytes: Vec<u8>) -> Option<SecretString> {
    let text = SecretString::from(String::from_utf8(bytes).ok()?);
    let line = secrecy::ExposeSecret::expose_secret(&text).lines().next()?;
    (!line.is_empty()).then(|| line.into())
}

/// Prints a line of the command's result.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}").context("write the result")?)
}

/// Prints a line that is for people and not part of the result.
///
/// # Errors
///
/// Standard error is closed.
pub(crate) fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr(), "{line}").context("write to standard error")?)
}

/// Prints rows under their headings, in columns.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn print_table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
) -> Result<(), Failure> {
    for line in table(headings, rows) {
        print(line)?;
    }
    Ok(())
}

fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let headings = headings.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let mut widths = [0; N];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_is_the_first_line_without_its_end() {
        for (bytes, expected) in [
            (&b"correct horse\n"[..], Some("correct horse")),
            (b"one\r\ntwo", Some("one")),
            (b" kept ", Some(" kept ")),
            (b"\nsecond", None),
            (b"", None),
            (b"\xff", None),
        ] {
            let line = first_line(bytes.to_vec());
            assert_eq!(line.as_ref().map(|line| line.expose_secret()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["a".to_owned(), "é".to_owned()], ["long".to_owned(), String::new()]];
        assert_eq!(table(["x", "y"], &rows), ["x     y", "a     é", "long"]);
    }
}
