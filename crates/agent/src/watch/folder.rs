//! Watches the folder of containerd's content store, read-only: no socket, and so no power over the machine.
//!
//! The folder knows neither leases nor names nor snapshots. A pull is then a manifest of which layers are missing and being
//! written; it is complete when none is missing any more, and failed when none has been written for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use platform::{Clock, Fs, FsError, FsErrorKind, Timestamp};
use report::{Source, parse_time};

use super::document::{DOCUMENT_BYTES_MAX, Descriptor, Document};
use super::observation::{Answers, Blob, Ingest, Lease, Observation, Question};
use super::reference::{is_digest, parse_reference};
use super::tracker::{CONTENT_LABEL, Tracker};
use super::{Look, Pace, Snapshot, Watcher};

/// How long a pull may write nothing between two layers before it counts as ended, in milliseconds.
const PAUSE_MS: i64 = 10_000;
/// How many blobs are followed.
const BLOBS_MAX: usize = 100_000;
/// How many documents are followed.
const DOCUMENTS_MAX: usize = 10_000;
/// How many ingests are looked at.
const INGESTS_MAX: usize = 1_000;
/// How long the small files beside an ingest may be, in bytes.
const FACT_BYTES_MAX: u64 = 4_096;
/// How long a document may be that is looked for among blobs, in bytes.
const SEARCHED_BYTES_MAX: u64 = 1 << 20;
/// How often it is asked again what follows from the answers.
const ROUNDS_MAX: usize = 8;
/// How long an error is, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

/// Watches the pulls of containerd through its files.
#[derive(Debug)]
pub struct FolderWatcher {
    pace: Pace,
    clock: Arc<dyn Clock>,
    due: Duration,
    state: Arc<Mutex<State>>,
}

impl FolderWatcher {
    /// Returns a watcher of a content store, the folder `io.containerd.content.v1.content`, for one namespace of containerd.
    #[must_use]
    pub fn new(
        folder: PathBuf,
        namespace: &str,
        pace: Pace,
        clock: Arc<dyn Clock>,
        fs: Arc<dyn Fs>,
    ) -> Self {
        let state = State {
            folder,
            namespace: namespace.to_owned(),
            fs,
            tracker: Tracker::new(pace.abandoned_after),
            blobs: BTreeMap::new(),
            documents: BTreeMap::new(),
            groups: BTreeMap::new(),
            has_looked: false,
        };
        let due = clock.monotonic();
        Self { pace, clock, due, state: Arc::new(Mutex::new(state)) }
    }
}

impl Watcher for FolderWatcher {
    fn next(&mut self) -> Look<'_> {
        Box::pin(async move {
            self.clock.sleep_until(self.due).await;
            let (state, now) = (Arc::clone(&self.state), self.clock.now());
            let looking = tokio::task::spawn_blocking(move || state.lock().look(now)).await;
            // Nobody aborts it, and a panic there is as good as one here.
            let snapshot =
                looking.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            let pause = if snapshot.active { self.pace.active } else { self.pace.idle };
            self.due = self.clock.monotonic() + pause;
            snapshot
        })
    }

    fn acknowledged(&mut self, ended: &[String]) {
        self.state.lock().tracker.acknowledged(ended);
    }
}

#[derive(Debug)]
struct State {
    folder: PathBuf,
    namespace: String,
    fs: Arc<dyn Fs>,
    tracker: Tracker,
    /// When each blob was first seen; [`Timestamp::MIN`] when it was there from the start.
    blobs: BTreeMap<String, Timestamp>,
    /// The indexes and manifests among them.
    documents: BTreeMap<String, Arc<Document>>,
    /// The manifests whose layers are written.
    groups: BTreeMap<String, Group>,
    has_looked: bool,
}

/// A pull, as far as files show it.
#[derive(Clone, Debug)]
struct Group {
    started_at: Timestamp,
    /// When something of it was last being written.
    written_at: Timestamp,
}

impl State {
    fn look(&mut self, now: Timestamp) -> Snapshot {
        let mut error = String::new();
        if let Err(failure) = self.try_look(now) {
            // Whoever asked logs when looking begins and ceases to fail.
            tracing::debug!(error = %failure, "cannot look at the content store");
            error = format!("{failure}: {}", failure.source);
            error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
        }
        Snapshot {
            pulls: self.tracker.reports(),
            runtime: String::new(),
            source: Source::ContentFolder,
            error,
            active: self.tracker.is_active(),
        }
    }

    fn try_look(&mut self, now: Timestamp) -> Result<(), FsError> {
        // The ingests first: what is committed meanwhile is then found among the blobs.
        let ingests = self.ingests()?;
        self.see_blobs(now)?;
        self.see_groups(now, &ingests);
        let leases = self.groups.iter().map(|(digest, group)| self.lease(digest, group, &ingests));
        let leases = leases.collect();
        let mut seen =
            Observation { ingests, leases, without_names: true, ..Observation::default() };
        for _round in 0..ROUNDS_MAX {
            let questions = self.tracker.questions(&seen);
            if questions.is_empty() {
                break;
            }
            for question in questions {
                self.answer(question, &mut seen.answers)?;
            }
        }
        self.tracker.step(now, &seen);
        self.has_looked = true;
        Ok(())
    }

    fn ingests(&self) -> Result<Vec<Ingest>, FsError> {
        let folder = self.folder.join("ingest");
        let mut ingests = Vec::new();
        for entry in self.fs.list(&folder)?.into_iter().take(INGESTS_MAX) {
            let at = folder.join(entry.name);
            // It may end, and its files go one by one.
            if let Some(ingest) = there(self.ingest(&at))?.flatten() {
                ingests.push(ingest);
            }
        }
        Ok(ingests)
    }

    /// Returns what is in the folder of an ingest; `None` when it is of another namespace.
    fn ingest(&self, at: &Path) -> Result<Option<Ingest>, FsError> {
        let text = |name: &str| {
            let bytes = self.fs.read(&at.join(name), FACT_BYTES_MAX)?;
            Ok::<_, FsError>(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        // `<namespace>/<number>/<reference>`
        let backend = text("ref")?;
        let own = backend.strip_prefix(&self.namespace).and_then(|rest| rest.strip_prefix('/'));
        let Some((_number, reference)) = own.and_then(|rest| rest.split_once('/')) else {
            return Ok(None);
        };
        let offset = self.fs.open(&at.join("data"))?.byte_len()?;
        let total = there(text("total"))?.and_then(|total| total.parse().ok());
        let time = |name: &str| Ok::<_, FsError>(there(text(name))?.and_then(|t| parse_time(&t)));
        Ok(Some(Ingest {
            reference: reference.to_owned(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            total: total.unwrap_or_default(),
            started_at: time("startedat")?,
            updated_at: time("updatedat")?,
        }))
    }

    fn see_blobs(&mut self, now: Timestamp) -> Result<(), FsError> {
        let folder = self.folder.join("blobs/sha256");
        let listed = match self.fs.list(&folder) {
            // Nothing was ever pulled.
            Err(error) if error.kind == FsErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let mut there_now = BTreeSet::new();
        for entry in listed.into_iter().take(BLOBS_MAX) {
            let digest = format!("sha256:{}", entry.name);
            if !is_digest(&digest) {
                continue;
            }
            if !self.blobs.contains_key(&digest) {
                let first_seen = if self.has_looked { now } else { Timestamp::MIN };
                if let Some(document) = there(self.find_document(&digest))?.flatten()
                    && self.documents.len() < DOCUMENTS_MAX
                {
                    self.documents.insert(digest.clone(), Arc::new(document));
                }
                self.blobs.insert(digest.clone(), first_seen);
            }
            there_now.insert(digest);
        }
        self.blobs.retain(|digest, _first_seen| there_now.contains(digest));
        self.documents.retain(|digest, _document| there_now.contains(digest));
        Ok(())
    }

    /// Returns the index or manifest that a blob is; `None` when it is something else.
    fn find_document(&self, digest: &str) -> Result<Option<Document>, FsError> {
        let Some(path) = self.path(digest) else { return Ok(None) };
        let file = self.fs.open(&path)?;
        let length = file.byte_len()?;
        let mut first = [0];
        if length == 0 || length > SEARCHED_BYTES_MAX {
            return Ok(None);
        }
        file.read_exact_at(&mut first, 0)?;
        if first != *b"{" {
            return Ok(None);
        }
        let document = Document::parse(&self.fs.read(&path, SEARCHED_BYTES_MAX)?);
        Ok(Some(document).filter(|d| matches!(d, Document::Index(_) | Document::Manifest { .. })))
    }

    fn see_groups(&mut self, now: Timestamp, ingests: &[Ingest]) {
        let written: BTreeMap<&str, &Ingest> = ingests
            .iter()
            .filter_map(|ingest| Some((parse_reference(&ingest.reference)?.1, ingest)))
            .collect();
        let mut candidates: Vec<(&String, Vec<&Ingest>)> = Vec::new();
        for (digest, document) in &self.documents {
            let Document::Manifest { config, layers } = &**document else { continue };
            let own = layers.iter().chain([config]).filter(|d| !self.blobs.contains_key(&d.digest));
            let own: Vec<&Ingest> =
                own.filter_map(|d| written.get(d.digest.as_str()).copied()).collect();
            if !own.is_empty() {
                candidates.push((digest, own));
            }
        }
        // A manifest that an earlier attempt left is not meant when another one that is new has the same layer.
        let is_new = |digest: &str| {
            self.groups.contains_key(digest)
                || self.blobs.get(digest).is_some_and(|seen| *seen != Timestamp::MIN)
        };
        let mut of_new = BTreeSet::new();
        for (digest, own) in &candidates {
            if is_new(digest) {
                of_new.extend(own.iter().map(|ingest| ingest.reference.as_str()));
            }
        }
        let mut groups = self.groups.clone();
        for (digest, own) in &candidates {
            let alone = own.iter().any(|ingest| !of_new.contains(ingest.reference.as_str()));
            if !is_new(digest) && !alone {
                continue;
            }
            let started = own.iter().filter_map(|ingest| ingest.started_at).min().unwrap_or(now);
            let group = groups.entry((*digest).clone());
            let group = group.or_insert(Group { started_at: started.min(now), written_at: now });
            group.written_at = now;
        }
        groups.retain(|digest, group| {
            !self.is_complete(digest) && now.millis_since(group.written_at) < PAUSE_MS
        });
        self.groups = groups;
    }

    fn is_complete(&self, manifest: &str) -> bool {
        match self.documents.get(manifest).map(|document| &**document) {
            Some(Document::Manifest { config, layers }) => {
                layers.iter().chain([config]).all(|d| self.blobs.contains_key(&d.digest))
            }
            _ => true,
        }
    }

    /// Returns a pull in the form of the lease that it would be.
    fn lease(&self, manifest: &str, group: &Group, ingests: &[Ingest]) -> Lease {
        let mut contents = vec![manifest.to_owned()];
        let lists = |document: &Document| matches!(document, Document::Index(all) if all.iter().any(|d| d.digest == manifest));
        let indexes = self.documents.iter().filter(|(_digest, document)| lists(document));
        let newest = indexes.max_by_key(|(digest, _document)| self.blobs.get(*digest));
        contents.extend(newest.map(|(digest, _document)| digest.clone()));
        let mut parts: Vec<&Descriptor> = Vec::new();
        if let Some(Document::Manifest { config, layers }) =
            self.documents.get(manifest).map(|document| &**document)
        {
            parts.push(config);
            parts.extend(layers);
        }
        let there = parts.iter().filter(|part| self.blobs.contains_key(&part.digest));
        contents.extend(there.map(|part| part.digest.clone()));
        let is_own = |ingest: &&Ingest| {
            parse_reference(&ingest.reference)
                .is_some_and(|(_kind, digest)| parts.iter().any(|part| part.digest == digest))
        };
        Lease {
            id: format!("{}-{manifest}", group.started_at.as_millis()),
            created_at: group.started_at,
            contents,
            ingests: ingests.iter().filter(is_own).map(|i| i.reference.clone()).collect(),
            snapshots: Vec::new(),
        }
    }

    fn answer(&self, question: Question, answers: &mut Answers) -> Result<(), FsError> {
        match question {
            Question::Blob(digest) => {
                let labels = self.documents.contains_key(&digest).then(|| CONTENT_LABEL.to_owned());
                let blob = self.blobs.get(&digest).map(|first_seen| Blob {
                    created_at: *first_seen,
                    updated_at: *first_seen,
                    labels: labels.into_iter().map(|label| (label, String::new())).collect(),
                });
                answers.blobs.insert(digest, blob);
            }
            Question::Document(digest) => {
                let document = match (self.documents.get(&digest), self.path(&digest)) {
                    (Some(document), _) => Some(Arc::clone(document)),
                    (None, Some(path)) => there(self.fs.read(&path, DOCUMENT_BYTES_MAX as u64))?
                        .map(|bytes| Arc::new(Document::parse(&bytes))),
                    (None, None) => None,
                };
                answers.documents.insert(digest, document);
            }
            Question::Snapshot { snapshotter, key } => {
                answers.snapshots.insert((snapshotter, key), None);
            }
            Question::NamesOf(digest) => {
                answers.names_of.insert(digest, None);
            }
            Question::Name(name) => {
                answers.names.insert(name, None);
            }
        }
        Ok(())
    }

    /// Returns where a blob is; `None` for other digests than those of SHA-256.
    fn path(&self, digest: &str) -> Option<PathBuf> {
        let digits = digest.strip_prefix("sha256:").filter(|_| is_digest(digest))?;
        Some(self.folder.join("blobs/sha256").join(digits))
    }
}

/// Turns "it is not there" into an answer.
fn there<T>(result: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind == FsErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
