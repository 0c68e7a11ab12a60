//! What tenants use, and how much of it they may.

use std::fmt;
use std::sync::Arc;

use access::{Meters, Now, TenantLimits, UsageKind, UsageReport};
use api::LimitsInForce;
use model::TenantId;
use platform::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

const USED: Metric = Metric::new("tenant_usage", "What tenants used since the start, by kind.");
const TODAY: Metric =
    Metric::new("tenant_usage_today", "What tenants used on this day of UTC, by kind.");
const QUOTA: Metric = Metric::new(
    "tenant_quota",
    "What tenants may use on one day of UTC, by kind, where it is limited.",
);
const REFUSED: Metric =
    Metric::new("tenant_requests_refused", "Requests that a limit refused, by reason.");
const RUNNING: Metric =
    Metric::new("tenant_queries_running", "Queries of tenants that run or wait.");

/// Reads what tenants use.
#[derive(Debug)]
pub(crate) struct UsageCollector {
    meters: Arc<Meters>,
    limits: LimitsInForce,
    clock: Arc<dyn Clock>,
}

impl UsageCollector {
    pub(crate) const fn new(
        meters: Arc<Meters>,
        limits: LimitsInForce,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { meters, limits, clock }
    }

    fn reports(&self) -> Vec<(TenantId, UsageReport, Arc<TenantLimits>)> {
        let wall = Now::of(self.clock.as_ref()).wall;
        let defaults = self.limits.tenants();
        let tenants = self.meters.tenants().into_iter();
        let report = |(id, usage): (TenantId, Arc<access::TenantUsage>)| {
            (id, usage.report(wall), usage.limits(&defaults))
        };
        tenants.map(report).collect()
    }
}

impl Collector for UsageCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let reports = self.reports();
        let mut writer = Writer::new(encoder);
        let by_kind = |of: fn(&UsageReport) -> &Vec<(UsageKind, u64)>| {
            reports.iter().flat_map(move |(tenant, report, _)| {
                let counts = of(report).iter();
                counts.map(|(kind, count)| {
                    ([("kind", kind.as_str()), ("tenant", tenant.as_str())], *count)
                })
            })
        };
        writer.counters(USED, by_kind(|report| &report.total))?;
        writer.gauges(TODAY, by_kind(|report| &report.today))?;
        let quotas = reports.iter().flat_map(|(tenant, _, limits)| {
            let quotas = [
                (UsageKind::Samples, limits.samples_per_day_max),
                (UsageKind::Events, limits.events_per_day_max),
                (UsageKind::BytesIn, limits.bytes_per_day_max),
            ];
            quotas.into_iter().filter_map(|(kind, quota)| {
                Some(([("kind", kind.as_str()), ("tenant", tenant.as_str())], quota?))
            })
        });
        writer.gauges(QUOTA, quotas)?;
        let refused = reports.iter().flat_map(|(tenant, report, _)| {
            let refused = report.refused.iter();
            refused.map(|(reason, count)| {
                ([("reason", reason.as_str()), ("tenant", tenant.as_str())], *count)
            })
        });
        writer.counters(REFUSED, refused)?;
        let running = reports
            .iter()
            .map(|(tenant, report, _)| ([("tenant", tenant.as_str())], report.queries_running));
        writer.gauges(RUNNING, running)
    }
}
