//! Opens the store of each tenant and drives it: commits, maintenance, close.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, Fs, Rng, TaskFailure, Threads};
use tokio::sync::mpsc;
use tsdb::{Store, StoreConfig, Stores};

use crate::threads;

/// The folder of all tenants within the data folder.
const TENANTS_FOLDER: &str = "tenants";
/// The store's folder within a tenant's folder.
const METRICS_FOLDER: &str = "metrics";

/// The stores of all tenants, with the threads that commit them.
#[derive(Debug)]
pub(crate) struct TenantStores {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    data_dir: PathBuf,
    config: StoreConfig,
    stores: Stores,
    /// Held while a store is opened, so that it is opened once. Never held across an await.
    committing: Mutex<Threads>,
    fatal: mpsc::Sender<String>,
}

impl TenantStores {
    /// Returns the stores below a data folder; none is open yet.
    pub(crate) fn new(
        (fs, clock, rng): (Arc<dyn Fs>, Arc<dyn Clock>, Arc<dyn Rng>),
        data_dir: PathBuf,
        config: StoreConfig,
        fatal: mpsc::Sender<String>,
    ) -> Self {
        let committing = Mutex::new(Threads::new());
        Self { fs, clock, rng, data_dir, config, stores: Stores::new(), committing, fatal }
    }

    /// Returns the open stores.
    pub(crate) const fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Opens a tenant's store and begins to commit it, unless it is open. Blocking: it reads the journal.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or there is no thread to give.
    pub(crate) fn open(&self, tenant: &TenantId) -> anyhow::Result<Arc<Store>> {
        let mut committing = self.committing.lock();
        if let Some(store) = self.stores.get(tenant) {
            return Ok(store);
        }
        let folder = folder(&self.data_dir, tenant);
        let began = self.clock.monotonic();
        let (store, report) = Store::open(
            Arc::clone(&self.fs),
            Arc::clone(&self.clock),
            Arc::clone(&self.rng),
            &folder,
            self.config.clone(),
        )
        .with_context(|| format!("open the metrics in '{}'", folder.display()))?;
        let took = self.clock.monotonic().saturating_sub(began);
        tracing::info!(
            tenant = tenant.as_str(),
            blocks = report.blocks,
            records = report.records,
            samples = report.samples,
            series = report.series,
            torn_bytes = report.torn_bytes,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "metrics opened"
        );
        for damaged in &report.quarantined {
            tracing::error!(damaged, "damaged file was set aside, the rest is served");
        }
        threads::commit(&mut committing, &store, &self.fatal)?;
        self.stores.add(tenant.clone(), Arc::clone(&store));
        Ok(store)
    }

    /// Commits what waits in every store and closes it. Blocking.
    ///
    /// # Errors
    ///
    /// The threads that panicked.
    pub(crate) fn close(&self) -> Result<(), Vec<TaskFailure>> {
        for (_, store) in self.stores.all() {
            store.close();
        }
        std::mem::take(&mut *self.committing.lock()).join()
    }
}

/// Returns the folder of a tenant's metrics.
fn folder(data_dir: &Path, tenant: &TenantId) -> PathBuf {
    data_dir.join(TENANTS_FOLDER).join(tenant.as_str()).join(METRICS_FOLDER)
}

/// Returns the tenants that have a folder, ascending, each with the folder of its metrics.
///
/// # Errors
///
/// The data folder cannot be read.
pub(crate) fn folders(fs: &dyn Fs, data_dir: &Path) -> anyhow::Result<Vec<(TenantId, PathBuf)>> {
    let tenants = data_dir.join(TENANTS_FOLDER);
    if !fs.exists(&tenants).context("look for the data folder")? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs.list(&tenants).context("list the tenants")? {
        if let Ok(tenant) = TenantId::new(&entry.name) {
            let folder = folder(data_dir, &tenant);
            if fs.exists(&folder).context("look for the tenant's metrics")? {
                found.push((tenant, folder));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Moves the metrics of a data folder that knows no tenants yet to the default tenant. One rename: it happens, or not.
///
/// # Errors
///
/// The folder cannot be moved.
pub(crate) fn adopt(fs: &dyn Fs, data_dir: &Path) -> anyhow::Result<()> {
    let old = data_dir.join(METRICS_FOLDER);
    let new = folder(data_dir, &TenantId::default_tenant());
    if !fs.exists(&old).context("look for metrics without a tenant")?
        || fs.exists(&new).context("look for the default tenant's metrics")?
    {
        return Ok(());
    }
    let parent = new.parent().context("a tenant's folder has a parent")?;
    fs.create_dir_all(parent).context("create the default tenant's folder")?;
    fs.rename(&old, &new).context("move the metrics to the default tenant")?;
    fs.sync_dir(parent).context("keep the move")?;
    fs.sync_dir(data_dir).context("keep the move")?;
    tracing::info!("metrics moved to the default tenant's folder");
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::{AppendMode, Labels, SampleSink as _, SeriesKey, Timestamp, WriteBatch};
    use platform::{SimClock, SimFs, SimRng};

    use super::*;

    fn tenants(fs: &Arc<SimFs>, stop: &mpsc::Sender<String>) -> TenantStores {
        let clock = SimClock::new(Timestamp::from_millis(1_700_000_000_000));
        let doors: (Arc<dyn Fs>, Arc<dyn Clock>, Arc<dyn Rng>) =
            (Arc::clone(fs) as _, Arc::new(clock), SimRng::new(1));
        TenantStores::new(doors, PathBuf::from("data"), StoreConfig::default(), stop.clone())
    }

    #[test]
    fn tenants_do_not_share_a_store_and_are_found_again() {
        let (fs, (stop, _stopped)) = (SimFs::new(), mpsc::channel(1));
        let tenants = tenants(&fs, &stop);
        let (one, two) = (TenantId::new("one").expect("a name"), TenantId::default_tenant());
        let store = tenants.open(&one).expect("opened");
        assert!(Arc::ptr_eq(&store, &tenants.open(&one).expect("open already")));
        let labels = Labels::from_pairs([("__name__", "up")]).expect("labels");
        let mut batch = WriteBatch::new();
        let sample = model::Sample::new(Timestamp::from_millis(1_700_000_000_000), 1.0);
        batch.push(SeriesKey::canonical(&labels), sample);
        store.append(&batch, AppendMode::AllOrNothing).expect("stored");
        assert_eq!(tenants.open(&two).expect("opened").stats().samples, 0);
        assert_eq!(store.stats().samples, 1);
        tenants.close().expect("no panic");
        let names = folders(fs.as_ref(), Path::new("data")).expect("a folder");
        let names: Vec<String> = names.into_iter().map(|(tenant, _)| tenant.to_string()).collect();
        assert_eq!(names, ["default", "one"]);
    }

    #[test]
    fn metrics_without_a_tenant_go_to_the_default_tenant_once() {
        let fs = SimFs::new();
        let data = Path::new("data");
        fs.create_dir_all(&data.join("metrics/blocks")).expect("a folder");
        adopt(fs.as_ref(), data).expect("moved");
        assert!(fs.exists(&data.join("tenants/default/metrics/blocks")).expect("a disk"));
        assert!(!fs.exists(&data.join("metrics")).expect("a disk"));
        adopt(fs.as_ref(), data).expect("nothing to do");
    }
}
