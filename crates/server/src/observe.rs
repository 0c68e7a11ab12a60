//! What the program says about its own store, every second, as series of the job `tinyobs`.

use std::sync::Arc;

use ingest::{Metric, Observable, Page};
use tsdb::Store;

const APPENDED: Metric =
    Metric::counter("tinyobs_samples_appended_total", "Samples that the store took.");
const REJECTED: Metric =
    Metric::counter("tinyobs_samples_rejected_total", "Samples that the store refused, by reason.");
const OUT_OF_ORDER: Metric = Metric::counter(
    "tinyobs_samples_out_of_order_total",
    "Samples that were older than the newest one of their series.",
);
const REPLACED: Metric = Metric::counter(
    "tinyobs_samples_replaced_total",
    "Samples that replaced another value at the same time.",
);
const SAMPLES: Metric = Metric::gauge("tinyobs_samples", "Samples in the store.");
const HEAD_SERIES: Metric = Metric::gauge("tinyobs_head_series", "Series in memory.");
const HEAD_SAMPLES: Metric = Metric::gauge("tinyobs_head_samples", "Samples in memory.");
const HEAD_BYTES: Metric = Metric::gauge("tinyobs_head_bytes", "Memory that the head takes up.");
const BLOCKS: Metric = Metric::gauge("tinyobs_blocks", "Blocks on disk.");
const STORAGE_BYTES: Metric =
    Metric::gauge("tinyobs_storage_bytes", "Disk space that the metrics take up.");
const READ_ONLY: Metric =
    Metric::gauge("tinyobs_storage_read_only", "Whether the store refuses writes.");

/// Observes a store.
#[derive(Debug)]
pub(crate) struct StoreObserver {
    store: Arc<Store>,
}

impl StoreObserver {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl Observable for StoreObserver {
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact")]
    fn observe(&self, page: &mut Page) {
        let stats = self.store.stats();
        page.say(APPENDED, stats.samples_appended_total as f64);
        for (reason, samples) in &stats.samples_rejected_total {
            page.say_with(REJECTED, &[("reason", reason)], *samples as f64);
        }
        page.say(OUT_OF_ORDER, stats.samples_out_of_order_total as f64);
        page.say(REPLACED, stats.samples_replaced_total as f64);
        page.say(SAMPLES, stats.samples as f64);
        page.say(HEAD_SERIES, stats.head_series as f64);
        page.say(HEAD_SAMPLES, stats.head_samples as f64);
        page.say(HEAD_BYTES, stats.head_bytes as f64);
        page.say(BLOCKS, stats.blocks as f64);
        page.say(STORAGE_BYTES, stats.bytes_on_disk as f64);
        let read_only = self.store.health().read_only.is_some();
        page.say(READ_ONLY, f64::from(u8::from(read_only)));
    }
}
