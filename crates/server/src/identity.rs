//! The state database with what it says about keys, people and tenants.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::{Access, AccessSettings, Tenant};
use anyhow::Context as _;
use api::HealthCheck;
use model::TenantId;
use platform::{Clock, Fs, Rng};
use state::{Database, StateUrl};
use tokio::sync::watch;

use crate::config::Config;
use crate::tenants::TenantStores;

/// The database's file within the data folder.
pub(crate) const STATE_FILE: &str = "state.sqlite";
/// How often stores are compared with the tenants that there are.
const TENANTS_INTERVAL: Duration = Duration::from_millis(500);

/// Opens the state database.
///
/// # Errors
///
/// It cannot be opened, or is newer than the program.
pub(crate) async fn open_database(
    config: &Config,
    fs: &dyn Fs,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Database> {
    Database::open(state_url(config), fs, clock).await.context("open the state database")
}

/// Reads who may come in.
///
/// # Errors
///
/// The database fails, or a key of the configuration is known to everybody or not of the form.
pub(crate) async fn open_access(
    config: &Config,
    database: Database,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
) -> anyhow::Result<Arc<Access>> {
    let settings = AccessSettings {
        bootstrap_key: config.auth.bootstrap_admin_key.clone(),
        agent_tokens: config.pulls.agent_tokens.clone(),
        certificates: config.auth.certificates.clone(),
        session_max: Duration::from_millis(config.auth.session_max_ms),
        session_idle_max: Duration::from_millis(config.auth.session_idle_ms),
        password_chars_min: config.auth.password_length_min,
        audit_retention: Duration::from_millis(config.auth.audit_retention_ms),
        ..AccessSettings::default()
    };
    Access::open(database, clock, rng, settings).await.context("read who may come in")
}

fn state_url(config: &Config) -> StateUrl {
    match &config.state_url {
        Some(url) => StateUrl::Postgres { url: url.clone() },
        None => StateUrl::Sqlite { path: Path::new(&config.data_dir).join(STATE_FILE) },
    }
}

/// Says whether what is known about keys, people and tenants is up to date.
#[derive(Debug)]
pub(crate) struct StateCheck(pub(crate) Arc<Access>);

impl HealthCheck for StateCheck {
    fn name(&self) -> &'static str {
        "state"
    }

    fn problem(&self) -> Option<String> {
        self.0.problem()
    }
}

/// Opens the stores of the tenants that there are. Blocking.
///
/// A tenant whose store cannot be opened does not keep the others from being served: it is tried again, and health
/// names it.
pub(crate) fn open_stores(access: &Access, stores: &TenantStores) {
    for tenant in access.directory().tenants() {
        if let Err(error) = open_store(&tenant, stores) {
            let error = format!("{error:#}");
            tracing::error!(tenant = tenant.id.as_str(), error, "tenant cannot be served");
        }
    }
}

fn open_store(tenant: &Tenant, stores: &TenantStores) -> anyhow::Result<()> {
    let store = stores.open(&tenant.id)?;
    store.set_series_max(tenant.limits.series_max);
    store.set_retention(tenant.metrics_retention);
    Ok(())
}

/// Opens the stores of new tenants and applies their limits as they change, until the program stops.
pub(crate) async fn follow_tenants(
    access: Arc<Access>,
    stores: Arc<TenantStores>,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut applied: Vec<Arc<Tenant>> = Vec::new();
    // Why tenants cannot be served: said when it changes.
    let mut failing: BTreeMap<TenantId, String> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = clock.sleep_until(clock.monotonic() + TENANTS_INTERVAL) => {}
        }
        let tenants = access.directory().tenants();
        if tenants == applied {
            continue;
        }
        let stores = Arc::clone(&stores);
        let opened = tenants.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let failed = opened.iter().filter_map(|tenant| {
                let error = open_store(tenant, &stores).err()?;
                Some((tenant.id.clone(), format!("{error:#}")))
            });
            failed.collect::<BTreeMap<_, _>>()
        });
        let Ok(failed) = opened.await else { continue };
        for (tenant, error) in &failed {
            if failing.get(tenant) != Some(error) {
                tracing::error!(tenant = tenant.as_str(), error, "tenant cannot be served");
            }
        }
        failing = failed;
        // What failed is tried again.
        if failing.is_empty() {
            applied = tenants;
        }
    }
}
