//! What becomes of events.

use std::fmt;
use std::sync::Arc;

use events::{DeadLetters, EventLog, Gateway};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

// Received is the sum of the three below it: nothing is lost in between.
const RECEIVED: Metric = Metric::new("events_received", "Events of requests that were answered.");
const STORED: Metric = Metric::new("events_stored", "Events that were stored, durably.");
const DUPLICATES: Metric =
    Metric::new("events_duplicates", "Events that had been stored before, under the same key.");
const REJECTED: Metric = Metric::new("events_rejected", "Events that were refused, by reason.");
const WARNED: Metric = Metric::new(
    "events_schema_warnings",
    "Events that were stored although they do not fit the schema of their name.",
);
const UNANSWERED: Metric = Metric::new(
    "events_unanswered",
    "Events whose senders were told to come again, or went away before the answer.",
);
const BYTES: Metric = Metric::new("event_log_bytes", "Bytes of the event log on disk.");
const FIRST: Metric = Metric::new("event_log_first_offset", "Offset of the oldest event.");
const END: Metric = Metric::new("event_log_end_offset", "Offset behind the newest event.");
const IN_FLIGHT: Metric =
    Metric::new("event_log_in_flight", "Events whose durability is waited for.");
const KEYS: Metric =
    Metric::new("event_log_idempotency_keys", "Idempotency keys that are remembered.");
const KEY_BYTES: Metric = Metric::new(
    "event_log_idempotency_memory_bytes",
    "Bytes of memory that remembered idempotency keys take.",
);
const REFUSING: Metric = Metric::new("event_log_refusing", "Whether events are refused.");
const CONNECTED: Metric = Metric::new(
    "event_log_connected",
    "Whether the server of the event log is connected; 1 where there is none.",
);
const LAG: Metric =
    Metric::new("event_consumer_lag", "Events that a consumer has not settled yet.");
const REDELIVERED: Metric =
    Metric::new("event_consumer_redelivered", "Events that a consumer was given again.");
const DEAD_LETTERS: Metric = Metric::new(
    "dead_letters",
    "Events that could not be processed and wait for a decision, by who gave them up.",
);

/// Reads what becomes of events.
#[derive(Debug)]
pub(crate) struct EventsCollector {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
}

impl Collector for EventsCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        self.write_gateway(&mut writer)?;
        self.write_log(&mut writer)?;
        let depths = self.dead_letters.depths();
        let depths = depths.iter().map(|depth| {
            let labels = [("consumer", &*depth.consumer), ("tenant", depth.tenant.as_str())];
            (labels, depth.count)
        });
        writer.gauges(DEAD_LETTERS, depths)
    }
}

impl EventsCollector {
    fn write_gateway(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let stats = self.gateway.stats();
        writer.counter(RECEIVED, stats.received)?;
        writer.counter(STORED, stats.stored)?;
        writer.counter(DUPLICATES, stats.duplicates)?;
        let rejected = stats.rejected.iter();
        let rejected = rejected.map(|(reason, count)| ([("reason", &**reason)], *count));
        writer.counters(REJECTED, rejected)?;
        writer.counter(UNANSWERED, stats.unanswered)?;
        writer.counter(WARNED, stats.schema_warnings)
    }

    fn write_log(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let stats = self.log.stats();
        writer.gauge(BYTES, stats.bytes)?;
        writer.gauge(FIRST, stats.bounds.first.0)?;
        writer.gauge(END, stats.bounds.end.0)?;
        writer.gauge(IN_FLIGHT, stats.in_flight)?;
        writer.gauge(KEYS, stats.keys)?;
        writer.gauge(KEY_BYTES, stats.keys_memory_bytes)?;
        writer.gauge(REFUSING, u64::from(self.log.refusal().is_some()))?;
        writer.gauge(CONNECTED, u64::from(stats.connected))?;
        let lag = stats.consumer_lag.iter();
        writer.gauges(LAG, lag.map(|(name, count)| ([("consumer", &**name)], *count)))?;
        let again = stats.redelivered.iter();
        writer.counters(REDELIVERED, again.map(|(name, count)| ([("consumer", &**name)], *count)))
    }
}
