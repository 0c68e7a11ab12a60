//! `tinyobs verify`: reads everything below a data folder and reports damage.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use platform::{Fs, SystemFs};

use crate::Failure;
use crate::cli::VerifyArgs;
use crate::config::Config;
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
    let mut whole = tsdb::VerifyReport::default();
    for (tenant, folder) in folders {
        let report = tsdb::verify(&fs, &folder)
            .with_context(|| format!("verify the metrics of tenant '{tenant}'"))?;
        whole.journal_records += report.journal_records;
        whole.blocks += report.blocks;
        whole.samples += report.samples;
        whole.problems.extend(report.problems);
    }
    print(&whole, data, json).context("write the report")?;
    if whole.problems.is_empty() { Ok(()) } else { Err(Failure::Damage) }
}

fn print(report: &tsdb::VerifyReport, folder: &Path, json: bool) -> std::io::Result<()> {
    let tsdb::VerifyReport { journal_records, blocks, samples, problems } = report;
    let mut out = std::io::stdout().lock();
    if json {
        let report = serde_json::json!({
            "journal_records": journal_records, "blocks": blocks, "samples": samples,
            "problems": problems,
        });
        return writeln!(out, "{report}");
    }
    for problem in problems {
        writeln!(out, "damaged: {problem}")?;
    }
    let folder = folder.display();
    writeln!(
        out,
        "{folder}: {journal_records} journal records, {blocks} blocks with {samples} samples, {} problems",
        problems.len()
    )
}
