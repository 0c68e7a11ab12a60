//! The log: to standard error, for people or as JSON lines; escaped, sampled, with a level that can change.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use platform::Clock;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::Failure;
use crate::config::LogConfig;

mod escape;
mod sampling;

pub(crate) use escape::escaped;
pub(crate) use sampling::{Sampler, Sampling, summarize};

use escape::EscapedLines;

/// The target of spans that belong to traces; they are not shown in the log.
pub(crate) const TRACE_TARGET: &str = "trace";

/// The log while it is written.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    level: reload::Handle<EnvFilter, Registry>,
    sampler: Arc<Sampler>,
}

impl Log {
    /// Shows what `level` says from now on.
    ///
    /// # Errors
    ///
    /// The level is no filter; nothing changes.
    pub(crate) fn set_level(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.level.reload(filter(level)?)?)
    }

    /// Returns what counts the lines.
    pub(crate) fn sampler(&self) -> Arc<Sampler> {
        Arc::clone(&self.sampler)
    }
}

/// Sends log lines to standard error from now on, and spans to `traces`.
///
/// # Errors
///
/// The level is no filter.
pub(crate) fn init(
    config: &LogConfig,
    clock: Arc<dyn Clock>,
    traces: Option<Box<dyn Layer<Registry> + Send + Sync>>,
) -> Result<Log, Failure> {
    let filter = filter(&config.level).map_err(Failure::Usage)?;
    let (level, handle) = reload::Layer::new(filter);
    let sampler = Arc::new(Sampler::new(config.sampling, clock));
    let shown = level.and(Arc::clone(&sampler).into_filter());
    let lines = if config.json { json(io::stderr) } else { human(io::stderr, is_colourful()) };
    // Traces come first: their box says which subscriber they stand on.
    let installed = tracing_subscriber::registry()
        .with(vec_of(traces, lines.with_filter(shown).boxed()))
        .try_init();
    installed.map_err(|error| Failure::Operation(anyhow::anyhow!("start logging: {error}")))?;
    Ok(Log { level: handle, sampler })
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn vec_of(traces: Option<BoxedLayer>, lines: BoxedLayer) -> Vec<BoxedLayer> {
    traces.into_iter().chain([lines]).collect()
}

/// The client of Kubernetes, which logs as errors what is expected: refusals and connections that end. What does not work is
/// told where it is handled. Whoever names it in the level sees it.
const SILENT: &str = "kube_client";

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let parse = |level: &str| {
        let parsed = EnvFilter::builder().parse(level);
        parsed.map_err(|error| anyhow::Error::new(error).context(format!("log.level '{level}'")))
    };
    let filter = parse(level)?;
    if level.contains(SILENT) { Ok(filter) } else { parse(&format!("{filter},{SILENT}=off")) }
}

fn is_colourful() -> bool {
    io::stderr().is_terminal()
}

fn human<W>(writer: W, colourful: bool) -> BoxedLayer
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let fields = fmt::format::debug_fn(escape::write_field);
    let fields = tracing_subscriber::field::MakeExt::delimited(fields, " ");
    fmt::layer().fmt_fields(fields).with_ansi(colourful).with_writer(writer).boxed()
}

fn json<W>(writer: W) -> BoxedLayer
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    fmt::layer().json().with_span_list(false).with_writer(EscapedLines::new(writer)).boxed()
}

#[cfg(test)]
mod tests;
