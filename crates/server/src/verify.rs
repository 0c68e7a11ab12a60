//! `tinyobs verify`: reads everything below a data folder and reports damage.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use platform::{Fs, SystemFs};

use crate::Failure;
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::event_log::EVENTS_FOLDER;
use crate::serve::LOCK_FILE;
use crate::tenants;

/// Runs `tinyobs verify …`.
pub(crate) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let fs: Arc<dyn Fs> = SystemFs::new();
    let json = args.json;
    let config = Config::load(args.config.layers(fs.as_ref())?, fs.as_ref())
        .map_err(|error| Failure::Usage(error.into()))?;
    let data = &config.data_dir;
    let folders = tenants::folders(fs.as_ref(), data)?;
    if folders.is_empty() {
        let missing = anyhow::anyhow!("'{}' holds no data of TinyObs", data.display());
        return Err(Failure::Usage(missing));
    }
    let _owner = fs
        .lock(&data.join(LOCK_FILE))
        .with_context(|| format!("take the data folder '{}' for ourselves", data.display()))?;
    let mut whole = Report::default();
    for (tenant, folder) in folders {
        let report = tsdb::verify(&fs, &folder)
            .with_context(|| format!("verify the metrics of tenant '{tenant}'"))?;
        whole.journal_records += report.journal_records;
        whole.blocks += report.blocks;
        whole.samples += report.samples;
        whole.problems.extend(report.problems);
    }
    let events = data.join(EVENTS_FOLDER);
    if fs.exists(&events).context("look for events")? {
        let report = events::verify(&fs, &events).context("verify the event log")?;
        whole.events = report.entries;
        whole.problems.extend(report.problems);
    }
    print(&whole, data, json).context("write the report")?;
    if whole.problems.is_empty() { Ok(()) } else { Err(Failure::Damage) }
}

/// What was read, of all parts together.
#[derive(Debug, Default)]
struct Report {
    journal_records: u64,
    blocks: u64,
    samples: u64,
    events: u64,
    problems: Vec<String>,
}

fn print(report: &Report, folder: &Path, json: bool) -> std::io::Result<()> {
    let Report { journal_records, blocks, samples, events, problems } = report;
    let mut out = std::io::stdout().lock();
    if json {
        let report = serde_json::json!({
            "journal_records": journal_records, "blocks": blocks, "samples": samples,
            "events": events, "problems": problems,
        });
        return writeln!(out, "{report}");
    }
    for problem in problems {
        writeln!(out, "damaged: {problem}")?;
    }
    let folder = folder.display();
    writeln!(
        out,
        "{folder}: {journal_records} journal records, {blocks} blocks with {samples} samples, {events} events, {} problems",
        problems.len()
    )
}
