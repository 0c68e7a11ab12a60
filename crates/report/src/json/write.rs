//! Writes what an agent sends: the fields of Pulltrace's agents always, ours where they say something.

use platform::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{SCHEMA_VERSION, time};
use crate::{LayerReport, PullReport, Report, Source};

impl Report {
    /// Returns the JSON of the report, as `docs/formats/pull-report.md` describes it.
    ///
    /// Nothing is cut: a sender that exceeds a limit of [`Report::from_json`] is refused or cut there.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Wire(self)).unwrap_or_else(|error| {
            unreachable!("maps with keys that are strings, written to memory: {error}")
        })
    }
}

/// Something in its form on the wire.
struct Wire<'a, T: ?Sized>(&'a T);

impl Serialize for Wire<'_, Report> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("nodeName", &report.node_name)?;
        map.serialize_entry("timestamp", &Wire(&report.timestamp))?;
        map.serialize_entry("pulls", &Wire(report.pulls.as_slice()))?;
        map.serialize_entry("schemaVersion", &SCHEMA_VERSION)?;
        if !report.cluster.is_empty() {
            map.serialize_entry("cluster", &report.cluster)?;
        }
        if !report.agent_version.is_empty() {
            map.serialize_entry("agentVersion", &report.agent_version)?;
        }
        if report.agent_started.is_some() {
            map.serialize_entry("agentStarted", &Wire(&report.agent_started))?;
        }
        if report.sequence != 0 {
            map.serialize_entry("sequence", &report.sequence)?;
        }
        if report.interval_ms != 0 {
            map.serialize_entry("intervalMs", &report.interval_ms)?;
        }
        if !report.runtime.is_empty() {
            map.serialize_entry("runtime", &report.runtime)?;
        }
        if report.source != Source::Unstated {
            map.serialize_entry("source", report.source.as_str())?;
        }
        if !report.error.is_empty() {
            map.serialize_entry("error", &report.error)?;
        }
        map.end()
    }
}

impl Serialize for Wire<'_, PullReport> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pull = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("imageRef", &pull.image_ref)?;
        map.serialize_entry("layers", &Wire(pull.layers.as_slice()))?;
        map.serialize_entry("startedAt", &Wire(&pull.started_at))?;
        map.serialize_entry("totalKnown", &pull.total_known)?;
        if !pull.id.is_empty() {
            map.serialize_entry("id", &pull.id)?;
        }
        if let Some(phase) = pull.phase {
            map.serialize_entry("phase", phase.as_str())?;
        }
        if !pull.error.is_empty() {
            map.serialize_entry("error", &pull.error)?;
        }
        if pull.ended_at.is_some() {
            map.serialize_entry("endedAt", &Wire(&pull.ended_at))?;
        }
        if !pull.digest.is_empty() {
            map.serialize_entry("digest", &pull.digest)?;
        }
        if !pull.manifest_digest.is_empty() {
            map.serialize_entry("manifestDigest", &pull.manifest_digest)?;
        }
        if let Some(confidence) = pull.confidence {
            map.serialize_entry("confidence", confidence.as_str())?;
        }
        if !pull.candidates.is_empty() {
            map.serialize_entry("candidates", &pull.candidates)?;
        }
        if pull.indirect {
            map.serialize_entry("indirect", &true)?;
        }
        map.end()
    }
}

impl Serialize for Wire<'_, LayerReport> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let layer = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("digest", &layer.digest)?;
        if !layer.media_type.is_empty() {
            map.serialize_entry("mediaType", &layer.media_type)?;
        }
        map.serialize_entry("totalBytes", &layer.total_bytes)?;
        map.serialize_entry("downloadedBytes", &layer.downloaded_bytes)?;
        map.serialize_entry("totalKnown", &layer.total_known)?;
        if let Some(phase) = layer.phase {
            map.serialize_entry("phase", phase.as_str())?;
        }
        if layer.resumed_bytes != 0 {
            map.serialize_entry("resumedBytes", &layer.resumed_bytes)?;
        }
        if layer.started_at.is_some() {
            map.serialize_entry("startedAt", &Wire(&layer.started_at))?;
        }
        if layer.completed_at.is_some() {
            map.serialize_entry("completedAt", &Wire(&layer.completed_at))?;
        }
        map.end()
    }
}

impl Serialize for Wire<'_, Option<Timestamp>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::write(*self.0))
    }
}

impl<'a, T> Serialize for Wire<'a, [T]>
where
    Wire<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Wire))
    }
}
