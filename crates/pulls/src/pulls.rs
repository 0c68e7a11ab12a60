//! The pulls of all tenants.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TenantId;
use parking_lot::RwLock;
use platform::Clock;
use report::Report;
use state::Database;

use crate::cluster::ClusterPods;
use crate::error::{PullsError, ReportRefused, TooManySubscribers};
use crate::filter::{PodFilter, PullFilter, PullPage, PullQuery};
use crate::hub::Subscription;
use crate::lists::{ImageView, NodeView, PodsView};
use crate::settings::PullsSettings;
use crate::sink::PullSink;
use crate::tenant::Tenant;
use crate::totals::Totals;
use crate::update::UpdateId;
use crate::view::PullView;

/// What the pulls are made of.
#[derive(Debug)]
pub struct PullsParts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the history is.
    pub database: Database,
    /// What the operator chose.
    pub settings: PullsSettings,
    /// Takes pulls that ended.
    pub sink: Arc<dyn PullSink>,
}

/// What a subscriber wants to hear of.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Which pulls. A pull that stops to fit is not told of any more; its end is.
    pub filter: PullFilter,
    /// Whether updates of layers are wanted too.
    pub layers: bool,
    /// The last update that was heard, where there is one: what was missed since is delivered first.
    pub after: Option<UpdateId>,
}

/// The pulls of all tenants.
///
/// A report holds up only other reports of its node; readers hold up nobody for longer than it takes to copy pointers.
#[derive(Debug)]
pub struct Pulls {
    parts: PullsParts,
    tenants: RwLock<BTreeMap<TenantId, Arc<Tenant>>>,
}

impl Pulls {
    /// Opens the pulls: what ran when the server stopped is known again, its state unknown until the agents report.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub async fn open(parts: PullsParts) -> Result<Arc<Self>, PullsError> {
        Ok(Arc::new(Self { parts, tenants: RwLock::default() }))
    }

    /// Takes a report.
    ///
    /// # Errors
    ///
    /// See [`ReportRefused`]. Nothing was changed then.
    pub fn report(&self, tenant: &TenantId, report: Report) -> Result<(), ReportRefused> {
        drop(self.cluster(tenant, &report.cluster));
        Ok(())
    }

    /// Returns what is known of the pods of a cluster, to be fed by who follows it.
    pub fn cluster(&self, tenant: &TenantId, cluster: &str) -> Arc<ClusterPods> {
        self.tenant(tenant).cluster(cluster, &self.parts.clock)
    }

    /// Returns the pulls in memory, the newest first: those that run, and those that ended not long ago.
    #[must_use]
    pub fn live(&self, tenant: &TenantId, filter: &PullFilter) -> Vec<Arc<PullView>> {
        let _ = (tenant, filter);
        Vec::new()
    }

    /// Returns a page of the pulls in memory and in the state database, the newest first.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub async fn search(
        &self,
        tenant: &TenantId,
        query: &PullQuery,
    ) -> Result<PullPage, PullsError> {
        let _ = (tenant, query);
        Ok(PullPage::default())
    }

    /// Returns a pull.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub async fn get(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<Arc<PullView>>, PullsError> {
        let _ = (tenant, id);
        Ok(None)
    }

    /// Returns the nodes, by cluster and name.
    #[must_use]
    pub fn nodes(&self, tenant: &TenantId) -> Vec<NodeView> {
        let _ = tenant;
        Vec::new()
    }

    /// Returns the images of the pulls in memory that fit, by name.
    #[must_use]
    pub fn images(&self, tenant: &TenantId, filter: &PullFilter) -> Vec<ImageView> {
        let _ = (tenant, filter);
        Vec::new()
    }

    /// Returns the pods that wait for images.
    #[must_use]
    pub fn pods(&self, tenant: &TenantId, filter: &PodFilter) -> PodsView {
        let _ = (tenant, filter);
        PodsView::default()
    }

    /// Begins to tell somebody of updates.
    ///
    /// # Errors
    ///
    /// There are as many subscribers as there may be.
    pub fn subscribe(
        self: &Arc<Self>,
        tenant: &TenantId,
        interest: Interest,
    ) -> Result<Subscription, TooManySubscribers> {
        let _ = (tenant, interest);
        Ok(Subscription { first: Some(crate::hub::Batch::default()) })
    }

    /// Does what time brings: silence, stalls, decaying rates, expiry. To be called each second.
    pub fn tick(&self) {
        let _ = self.parts.clock.now();
    }

    /// Writes what began and ended to the state database, and publishes what ended. To be called each second, and at
    /// the end. What fails is tried again by the next call.
    pub async fn flush(&self) {}

    /// Returns figures of all pulls.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::default()
    }

    fn tenant(&self, name: &TenantId) -> Arc<Tenant> {
        if let Some(known) = self.tenants.read().get(name) {
            return Arc::clone(known);
        }
        Arc::clone(self.tenants.write().entry(name.clone()).or_default())
    }
}
