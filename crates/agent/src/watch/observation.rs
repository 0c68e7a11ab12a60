//! What is seen of containerd in one look.

use std::collections::BTreeMap;
use std::sync::Arc;

use platform::Timestamp;

use super::document::Document;

/// What is being written to the content store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ingest {
    pub(crate) reference: String,
    /// How much is there, in bytes, as it was said.
    pub(crate) offset: i64,
    /// How much it will be, in bytes; 0 when it is not known.
    pub(crate) total: i64,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) updated_at: Option<Timestamp>,
}

/// What a client holds while it works, such as a pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: String,
    pub(crate) created_at: Timestamp,
    /// Digests.
    pub(crate) contents: Vec<String>,
    /// References.
    pub(crate) ingests: Vec<String>,
    /// Snapshotters and keys.
    pub(crate) snapshots: Vec<(String, String)>,
}

/// What the content store says of a blob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A name that leads to a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) updated_at: Timestamp,
}

/// A name was made to lead somewhere since the last look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageChange {
    pub(crate) name: String,
    /// Whether the name is new.
    pub(crate) is_new: bool,
}

/// Something that has to be asked to understand what is seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    /// What does the content store say of this digest?
    Blob(String),
    /// What is in this blob?
    Document(String),
    /// When was this snapshot made?
    Snapshot {
        /// Who is asked.
        snapshotter: String,
        /// What for.
        key: String,
    },
    /// Which names lead to this digest?
    NamesOf(String),
    /// Where does this name lead?
    Name(String),
}

/// Answers; that there is nothing is an answer, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) blobs: BTreeMap<String, Option<Blob>>,
    pub(crate) documents: BTreeMap<String, Option<Arc<Document>>>,
    pub(crate) snapshots: BTreeMap<(String, String), Option<Timestamp>>,
    /// `None` when this containerd cannot say.
    pub(crate) names_of: BTreeMap<String, Option<Vec<ImageRecord>>>,
    pub(crate) names: BTreeMap<String, Option<ImageRecord>>,
}

/// What is seen in one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub(crate) ingests: Vec<Ingest>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) changes: Vec<ImageChange>,
    /// Whether containerd ended since the last look: nothing that ran before goes on.
    pub(crate) restarted: bool,
    /// Whether neither names nor labels can be seen: then an image is there when its layers are.
    pub(crate) without_names: bool,
    pub(crate) answers: Answers,
}
