//! The pulls of all tenants.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::TenantId;
use parking_lot::RwLock;
use platform::Clock;
use report::Report;
use state::Database;

use crate::cluster::ClusterPods;
use crate::error::{PullsError, ReportRefused, TooManySubscribers};
use crate::filter::{PodFilter, PullFilter, PullPage, PullQuery};
use crate::history::History;
use crate::hub::{Counted, Subscription};
use crate::lists::{ImageView, NodeView, PodsView, images_of, pods_of};
use crate::settings::{NAME_BYTES_MAX, PullsSettings};
use crate::sink::PullSink;
use crate::tenant::{Common, Tenant};
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
    clock: Arc<dyn Clock>,
    settings: PullsSettings,
    history: History,
    /// Tells this run of the server from others.
    run: u64,
    tenants: RwLock<BTreeMap<TenantId, Arc<Tenant>>>,
}

impl Pulls {
    /// Opens the pulls: what ran when the server stopped is known again, its state unknown until the agents report.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub async fn open(parts: PullsParts) -> Result<Arc<Self>, PullsError> {
        let PullsParts { clock, database, settings, sink } = parts;
        let history = History::new(Arc::clone(&clock), database, sink, &settings);
        let run = u64::try_from(clock.now().as_millis()).unwrap_or(0);
        let tenants = RwLock::default();
        let pulls = Self { clock, settings, history, run, tenants };
        let age = i64::try_from(settings.recent_age.as_millis()).unwrap_or(i64::MAX);
        let since = pulls.clock.now().saturating_add_millis(age.saturating_neg());
        let restore = |stored: crate::history::Stored| {
            let tenant = pulls.tenant(&stored.tenant);
            if stored.entry.view.ended_at.is_some() {
                tenant.restore_ended(&pulls.common(), stored.entry.view);
            } else {
                tenant.restore(&pulls.common(), &stored.entry);
            }
        };
        pulls.history.restore(since, restore).await?;
        Ok(Arc::new(pulls))
    }

    /// Takes a report. Costs what its pulls and layers cost; waits only for other reports of the same node.
    ///
    /// # Errors
    ///
    /// See [`ReportRefused`]. Nothing was changed then.
    pub fn report(&self, tenant: &TenantId, report: Report) -> Result<(), ReportRefused> {
        let is_name = |name: &str| name.len() <= NAME_BYTES_MAX && !name.contains('\0');
        if report.node_name.is_empty() || !is_name(&report.node_name) {
            return Err(ReportRefused::InvalidNode);
        }
        if !is_name(&report.cluster) {
            return Err(ReportRefused::InvalidCluster);
        }
        self.tenant(tenant).report(&self.common(), report)
    }

    /// Returns what is known of the pods of a cluster, to be fed by who follows it.
    pub fn cluster(&self, tenant: &TenantId, cluster: &str) -> Arc<ClusterPods> {
        self.tenant(tenant).pods(&self.common(), cluster)
    }

    /// Returns the pulls in memory, the newest first: those that run, and those that ended not long ago.
    #[must_use]
    pub fn live(&self, tenant: &TenantId, filter: &PullFilter) -> Vec<Arc<PullView>> {
        let mut views = self.in_memory(tenant);
        views.retain(|view| filter.matches(view));
        sort_newest_first(&mut views);
        views
    }

    /// Returns a page of the pulls in memory and in the state database, the newest first.
    ///
    /// Pages do not overlap, and what began before the first page was asked for is in one of them, whatever begins and
    /// ends meanwhile. A page may be short, or empty, although there are more: then so many do not fit that looking
    /// through them goes on with the next one.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub async fn search(
        &self,
        tenant: &TenantId,
        query: &PullQuery,
    ) -> Result<PullPage, PullsError> {
        let limit = query.limit.max(1);
        let mut pulls = self.in_memory(tenant);
        let known: HashSet<Arc<str>> = pulls.iter().map(|view| Arc::clone(&view.id)).collect();
        pulls.retain(|view| {
            query.since.is_none_or(|since| since <= view.started_at)
                && query.until.is_none_or(|until| view.started_at < until)
                && query.cursor.as_ref().is_none_or(|cursor| view.cursor() < *cursor)
                && query.filter.matches(view)
        });
        let states = &query.filter.states;
        let mut reached = None;
        if states.is_empty() || states.iter().any(|state| state.is_ended()) {
            let is_known = |id: &str| known.contains(id);
            let (stored, up_to) = self.history.search(tenant, query, limit, is_known).await?;
            pulls.extend(stored);
            reached = up_to;
        }
        if let Some(reached) = &reached {
            // What is older may have something between that was not read yet.
            pulls.retain(|view| *reached <= view.cursor());
        }
        sort_newest_first(&mut pulls);
        let is_cut = pulls.len() > limit;
        pulls.truncate(limit);
        let last = pulls.last().map(|view| view.cursor());
        let next =
            if is_cut || (reached.is_some() && pulls.len() == limit) { last } else { reached };
        Ok(PullPage { pulls, next })
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
        if let Some(view) = self.in_memory(tenant).into_iter().find(|view| &*view.id == id) {
            return Ok(Some(view));
        }
        // No other text is an id, and PostgreSQL takes no NUL.
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { self.history.get(tenant, id).await } else { Ok(None) }
    }

    /// Returns the nodes, by cluster and name.
    #[must_use]
    pub fn nodes(&self, tenant: &TenantId) -> Vec<NodeView> {
        self.known(tenant).map(|tenant| tenant.nodes(&self.common())).unwrap_or_default()
    }

    /// Returns the images of the pulls in memory that fit, by name.
    #[must_use]
    pub fn images(&self, tenant: &TenantId, filter: &PullFilter) -> Vec<ImageView> {
        images_of(&self.live(tenant, filter))
    }

    /// Returns the pods that wait for images, and the clusters that are known.
    #[must_use]
    pub fn pods(&self, tenant: &TenantId, filter: &PodFilter) -> PodsView {
        let Some(tenant) = self.known(tenant) else { return PodsView::default() };
        pods_of(&tenant.clusters(), &tenant.hub.running(), filter)
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
        let tenant = self.tenant(tenant);
        let counted = Counted::new(&tenant.subscribers, self.settings.subscribers_max)?;
        let hub = &tenant.hub;
        Ok(Subscription::new(hub, &self.clock, interest, &self.settings, counted))
    }

    /// Does what time brings: silence, stalls, decaying rates, expiry. To be called each second.
    pub fn tick(&self) {
        for (_, tenant) in self.each_tenant() {
            tenant.tick(&self.common());
        }
    }

    /// Writes what began and ended to the state database, and publishes what ended. To be called each second, and at
    /// the end. What fails is tried again by the next call.
    pub async fn flush(&self) {
        self.history.flush().await;
    }

    /// Returns figures of all pulls.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let tenants = self.each_tenant();
        let subscribers = tenants.iter().map(|(_, each)| each.subscribers.load(Ordering::Relaxed));
        Totals {
            subscribers: subscribers.sum::<usize>() as u64,
            tenants: tenants
                .into_iter()
                .map(|(name, each)| (name, each.totals(&self.common())))
                .collect(),
            history: self.history.totals(),
        }
    }

    fn in_memory(&self, tenant: &TenantId) -> Vec<Arc<PullView>> {
        let Some(tenant) = self.known(tenant) else { return Vec::new() };
        tenant.hub.all().into_iter().map(|update| Arc::clone(&update.pull)).collect()
    }

    fn common(&self) -> Common<'_> {
        Common { clock: &self.clock, settings: &self.settings, queue: &self.history.queue }
    }

    fn each_tenant(&self) -> Vec<(TenantId, Arc<Tenant>)> {
        let tenants = self.tenants.read();
        tenants.iter().map(|(name, tenant)| (name.clone(), Arc::clone(tenant))).collect()
    }

    fn known(&self, name: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.read().get(name).map(Arc::clone)
    }

    fn tenant(&self, name: &TenantId) -> Arc<Tenant> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let new = || Arc::new(Tenant::new(name.clone(), self.run, &self.settings));
        Arc::clone(self.tenants.write().entry(name.clone()).or_insert_with(new))
    }
}

fn sort_newest_first(views: &mut [Arc<PullView>]) {
    views.sort_unstable_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
}
