//! Turns what is seen of containerd into pulls. It neither looks nor knows the time: it says what has to be asked, and takes
//! what was seen and answered.
//!
//! A pull is a lease that holds manifests, configurations or layers, or writes them. It begins when the lease was made and ends
//! when the lease is gone: with an image when a name leads to it that was made or renewed meanwhile, without one otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use platform::Timestamp;
use report::PullReport;

use super::document::Documents;
use super::observation::{Blob, ImageChange, ImageRecord, Ingest, Lease, Observation, Question};
use super::reference::{IngestKind, parse_reference};
pub(super) use image::CONTENT_LABEL;
use image::{Image, Reader};
use layer::{Layer, LayerSight};
use pull::{Failure, Pull, Sight};

mod image;
mod layer;
mod name;
mod pull;
#[cfg(test)]
mod tests;

/// How many pulls that ended are kept until they are acknowledged.
const ENDED_MAX: usize = 1_000;
/// How long they are kept, in milliseconds.
const ENDED_MS: i64 = 600_000;
/// How long after its end a name belongs to a pull, in milliseconds: a runtime gives several names, one after the other.
const NAMES_LATE_MS: i64 = 2_000;
/// How long a lease that holds nothing may be about to become a pull, in milliseconds.
const BARE_MS: i64 = 60_000;
/// How many times longer nothing may change while a layer is unpacked or made durable: large ones take long.
const WORK_PATIENCE: i64 = 6;
/// How many names that were given to pulls are remembered.
const USED_NAMES_MAX: usize = 256;
/// The snapshotter that is asked when none was seen yet: the default of the runtime.
const SNAPSHOTTER: &str = "overlayfs";
/// The label by which a configuration shows that its image was unpacked.
const UNPACKED_LABEL: &str = "containerd.io/gc.ref.snapshot.";

/// The pulls of a node.
#[derive(Debug)]
pub(crate) struct Tracker {
    abandoned_after_ms: i64,
    running: BTreeMap<String, Pull>,
    ended: VecDeque<Pull>,
    documents: Documents,
    snapshotters: BTreeSet<String>,
    /// The leases of the last look that held nothing, with the time when they were made.
    bare: BTreeMap<String, Timestamp>,
    /// Leases whose pull is over although they are still there.
    over: BTreeSet<String>,
    /// What was there of each ingest in the last look.
    offsets: BTreeMap<String, i64>,
    used_names: VecDeque<ImageRecord>,
    looked_at: Option<Timestamp>,
}

impl Tracker {
    /// Returns a tracker that has seen nothing. A pull of which nothing changes for `abandoned_after` is over.
    pub(crate) fn new(abandoned_after: Duration) -> Self {
        Self {
            abandoned_after_ms: i64::try_from(abandoned_after.as_millis()).unwrap_or(i64::MAX),
            running: BTreeMap::new(),
            ended: VecDeque::new(),
            documents: Documents::default(),
            snapshotters: BTreeSet::new(),
            bare: BTreeMap::new(),
            over: BTreeSet::new(),
            offsets: BTreeMap::new(),
            used_names: VecDeque::new(),
            looked_at: None,
        }
    }

    /// Returns what has to be asked to understand an observation; what was answered is not asked again.
    pub(crate) fn questions(&self, seen: &Observation) -> Vec<Question> {
        let mut reader = Reader::new(&self.documents, &seen.answers);
        let ingests = by_digest(&seen.ingests);
        for lease in seen.leases.iter().filter(|lease| !self.over.contains(&lease.id)) {
            if let Some(image) = reader.image_of_lease(lease) {
                self.ask_of_lease(&mut reader, seen, lease, &image, &ingests);
            }
        }
        for pull in self.gone(seen) {
            for layer in pull.layers.iter().filter(|layer| layer.blob.is_none()) {
                reader.blob(&layer.digest);
            }
            for config in &pull.image.configs {
                reader.blob(config);
            }
            ask_names(&mut reader, seen, &pull.targets());
        }
        for change in &seen.changes {
            match seen.answers.names.get(&change.name) {
                None => {
                    reader.questions.insert(Question::Name(change.name.clone()));
                }
                Some(Some(record)) => {
                    let image = reader.image_of_digest(&record.digest);
                    for layer in image.layers.iter().flatten() {
                        reader.blob(&layer.descriptor.digest);
                    }
                }
                Some(None) => {}
            }
        }
        reader.questions.into_iter().collect()
    }

    /// Takes what was seen at `now`, which is also containerd's clock.
    pub(crate) fn step(&mut self, now: Timestamp, seen: &Observation) -> Vec<PullReport> {
        for (digest, document) in &seen.answers.documents {
            if let Some(document) = document {
                self.documents.keep(digest, document);
            }
        }
        if seen.restarted {
            self.over.extend(self.running.keys().cloned());
        }
        self.over.retain(|id| seen.leases.iter().any(|lease| lease.id == *id));
        let gone: Vec<String> = self.gone(seen).map(|pull| pull.id.clone()).collect();
        for id in gone {
            if let Some(pull) = self.running.remove(&id) {
                self.end(pull, now, seen);
            }
        }
        let bare = self.see_leases(now, seen);
        self.see_names(seen);
        self.see_short_pulls(now, seen, &bare);
        self.give_up(now);
        self.bare = bare;
        self.offsets =
            seen.ingests.iter().map(|ingest| (ingest.reference.clone(), ingest.offset)).collect();
        self.looked_at = Some(now);
        self.forget(now);
        self.reports()
    }

    /// Returns the pulls: those that run, the oldest first, then those that ended.
    pub(crate) fn reports(&self) -> Vec<PullReport> {
        let mut running: Vec<&Pull> = self.running.values().collect();
        running.sort_by_key(|pull| (pull.started_at, &pull.id));
        let is_news = |pull: &&Pull| pull.ended.as_ref().is_none_or(|ended| !ended.is_acknowledged);
        let ended = self.ended.iter().filter(is_news);
        running.into_iter().chain(ended).map(Pull::report).collect()
    }

    /// Returns whether a pull runs, or may be about to.
    pub(crate) fn is_active(&self) -> bool {
        !self.running.is_empty() || !self.bare.is_empty()
    }

    /// Forgets pulls that ended.
    pub(crate) fn acknowledged(&mut self, ids: &[String]) {
        for pull in &mut self.ended {
            if let Some(ended) = &mut pull.ended {
                ended.is_acknowledged |= ids.contains(&pull.id);
            }
        }
    }

    fn ask_of_lease(
        &self,
        reader: &mut Reader<'_>,
        seen: &Observation,
        lease: &Lease,
        image: &Image,
        ingests: &BTreeMap<&str, &Ingest>,
    ) {
        let pull = self.running.get(&lease.id);
        for known in image.layers.iter().flatten() {
            let digest = &known.descriptor.digest;
            let layer = pull.and_then(|pull| pull.layers.iter().find(|l| l.digest == *digest));
            let is_written = ingests.contains_key(digest.as_str());
            let may_be_there = lease.contents.contains(digest)
                || layer.is_none_or(|layer| layer.ever_written && !is_written);
            if may_be_there && layer.is_none_or(|layer| layer.blob.is_none()) {
                reader.blob(digest);
            }
            let Some(chain) = &known.chain else { continue };
            if layer.is_none_or(|layer| layer.chain.is_none()) {
                for snapshotter in self.snapshotters_of(lease) {
                    let key = (snapshotter, chain.clone());
                    if !seen.answers.snapshots.contains_key(&key) {
                        let (snapshotter, key) = key;
                        reader.questions.insert(Question::Snapshot { snapshotter, key });
                    }
                }
            }
        }
        let Some(root) = &image.root else { return };
        if pull.is_none_or(|pull| pull.image.root.as_ref() != Some(root)) {
            ask_names(reader, seen, &BTreeSet::from([root.clone()]));
        }
        if lease.contents.contains(root) && pull.is_none_or(|pull| !pull.names.has_source()) {
            reader.blob(root);
        }
    }

    /// Returns the pulls that run no more.
    fn gone<'a>(&'a self, seen: &'a Observation) -> impl Iterator<Item = &'a Pull> {
        let leases: BTreeSet<&str> = seen.leases.iter().map(|lease| lease.id.as_str()).collect();
        let is_gone = move |pull: &&Pull| seen.restarted || !leases.contains(pull.id.as_str());
        self.running.values().filter(is_gone)
    }

    /// Returns the snapshotters that may have layers of a lease's image.
    fn snapshotters_of(&self, lease: &Lease) -> BTreeSet<String> {
        let own: BTreeSet<String> =
            lease.snapshots.iter().map(|(name, _key)| name.clone()).collect();
        if !own.is_empty() {
            own
        } else if self.snapshotters.is_empty() {
            BTreeSet::from([SNAPSHOTTER.to_owned()])
        } else {
            self.snapshotters.clone()
        }
    }

    fn end(&mut self, mut pull: Pull, now: Timestamp, seen: &Observation) {
        let started_at = pull.started_at;
        // What an aborted pull leaves stays for a while, and shows how far it came.
        let ingests = by_digest(&seen.ingests);
        for layer in &mut pull.layers {
            let blob = seen.answers.blobs.get(&layer.digest).and_then(Option::as_ref);
            let ingest = ingests.get(layer.digest.as_str()).copied();
            let sight = LayerSight {
                blob: blob.map(|blob| blob.created_at),
                ..self.sight_of(layer, started_at, ingest, None)
            };
            layer.see(sight);
        }
        for digest in pull.targets() {
            for record in seen.answers.names_of.get(&digest).into_iter().flatten().flatten() {
                pull.names.record(record);
            }
        }
        let is_named = pull.names.made_since(started_at, |_record| false).is_some();
        let is_unpacked = pull.image.configs.iter().any(|config| {
            let blob = seen.answers.blobs.get(config).and_then(Option::as_ref);
            blob.is_some_and(|blob| was_unpacked_since(blob, started_at))
        });
        let is_downloaded = seen.without_names
            && !pull.layers.is_empty()
            && pull.layers.iter().all(|layer| layer.blob.is_some());
        let failure = match (is_named || is_unpacked || is_downloaded, seen.restarted) {
            (true, _) => None,
            (false, true) => Some(Failure::RuntimeRestarted),
            (false, false) => Some(Failure::Aborted),
        };
        if failure.is_none() {
            self.name(&mut pull);
        }
        pull.end(now, failure);
        self.keep_ended(pull);
    }

    /// Follows the leases; returns those that hold nothing.
    fn see_leases(&mut self, now: Timestamp, seen: &Observation) -> BTreeMap<String, Timestamp> {
        let mut bare = BTreeMap::new();
        let ingests = by_digest(&seen.ingests);
        for lease in seen.leases.iter().filter(|lease| !self.over.contains(&lease.id)) {
            for (snapshotter, _key) in &lease.snapshots {
                self.snapshotters.insert(snapshotter.clone());
            }
        }
        for lease in &seen.leases {
            if self.over.contains(&lease.id) {
                continue;
            }
            let image = Reader::new(&self.documents, &seen.answers).image_of_lease(lease);
            let Some(image) = image else {
                if lease.contents.is_empty() && lease.snapshots.is_empty() {
                    bare.insert(lease.id.clone(), lease.created_at);
                }
                continue;
            };
            let pull = self.running.remove(&lease.id);
            let mut pull = pull.unwrap_or_else(|| Pull::new(lease.id.clone(), lease.created_at));
            self.see_lease(now, &mut pull, seen, lease, image, &ingests);
            if self.is_abandoned(&pull, now) && self.looked_at.is_none() {
                // It was over before anybody looked.
                self.over.insert(lease.id.clone());
            } else {
                self.running.insert(lease.id.clone(), pull);
            }
        }
        // A lease that others have held for long is not about to become a pull.
        bare.retain(|_id, made| now.millis_since(*made) < BARE_MS);
        bare
    }

    fn see_lease(
        &self,
        now: Timestamp,
        pull: &mut Pull,
        seen: &Observation,
        lease: &Lease,
        image: Image,
        ingests: &BTreeMap<&str, &Ingest>,
    ) {
        let is_new = pull.sight == Sight::default();
        pull.learn(image);
        let started_at = pull.started_at;
        let snapshotters = self.snapshotters_of(lease);
        for layer in &mut pull.layers {
            let ingest = ingests.get(layer.digest.as_str()).copied();
            let blob = seen.answers.blobs.get(&layer.digest).and_then(Option::as_ref);
            let snapshot = layer.chain.as_ref().and_then(|chain| {
                let made =
                    |name: &String| seen.answers.snapshots.get(&(name.clone(), chain.clone()));
                snapshotters.iter().find_map(|name| made(name).copied().flatten())
            });
            let sight = LayerSight {
                blob: blob.map(|blob| blob.created_at),
                snapshot,
                ..self.sight_of(layer, started_at, ingest, Some((lease, &pull.sight)))
            };
            layer.see(sight);
        }
        if let Some(root) = &pull.image.root {
            for record in seen.answers.names_of.get(root).into_iter().flatten().flatten() {
                pull.names.record(record);
            }
            if let Some(Some(blob)) = seen.answers.blobs.get(root) {
                pull.names.source(&blob.labels);
            }
        }
        let sight = Sight {
            contents: lease.contents.len(),
            ingests: lease.ingests.clone(),
            snapshots: lease.snapshots.clone(),
            bytes: pull.layers.iter().map(Layer::offset).fold(0, i64::saturating_add),
        };
        if sight != pull.sight {
            pull.sight = sight;
            // What was there at the first look may be old.
            pull.changed_at = if is_new && self.looked_at.is_none() {
                let own = seen.ingests.iter().filter(|i| lease.ingests.contains(&i.reference));
                own.filter_map(|ingest| ingest.updated_at).fold(started_at, Timestamp::max)
            } else {
                now
            };
        }
    }

    fn sight_of<'a>(
        &self,
        layer: &Layer,
        pull_started: Timestamp,
        ingest: Option<&'a Ingest>,
        lease: Option<(&Lease, &Sight)>,
    ) -> LayerSight<'a> {
        let reference = ingest.map(|ingest| ingest.reference.as_str()).unwrap_or_default();
        let writes = |ingests: &[String]| ingests.iter().any(|written| written == reference);
        let snapshots = lease.map(|(lease, _)| lease.snapshots.as_slice()).unwrap_or_default();
        let chain = layer.chain.as_deref();
        let is_key_of = |key: &str| {
            // `extract-<time>-<random> <chain id>`
            chain.is_some_and(|chain| key.rsplit_once(' ').is_some_and(|(_, of)| of == chain))
        };
        LayerSight {
            pull_started,
            ingest,
            is_own: lease.is_some_and(|(lease, _)| writes(&lease.ingests)),
            was_own: lease.is_some_and(|(_, before)| writes(&before.ingests)),
            offset_before: self.offsets.get(reference).copied(),
            blob: None,
            snapshot: None,
            is_unpacking: snapshots.iter().any(|(_snapshotter, key)| is_key_of(key)),
            is_unpacked: snapshots.iter().any(|(_snapshotter, key)| Some(key.as_str()) == chain),
        }
    }

    /// Gives names that were made or renewed to the pulls that they belong to.
    fn see_names(&mut self, seen: &Observation) {
        for change in &seen.changes {
            let Some(Some(record)) = seen.answers.names.get(&change.name) else { continue };
            let ended = self.ended.iter_mut().filter(|pull| pull.is_completed());
            for pull in self.running.values_mut().chain(ended) {
                if pull.targets().contains(&record.digest) {
                    pull.names.record(record);
                }
            }
        }
        // While several pulls of one image run, a name may be that of any of them.
        let targets: Vec<BTreeSet<String>> = self.running.values().map(Pull::targets).collect();
        let is_alone = |own: &BTreeSet<String>| {
            targets.iter().filter(|other| !other.is_disjoint(own)).count() == 1
        };
        for pull in self.running.values_mut().filter(|pull| is_alone(&pull.targets())) {
            let used = &self.used_names;
            let record = pull.names.made_since(pull.started_at, |record| used.contains(record));
            if let Some(name) =
                record.filter(|record| !used.contains(record)).map(|r| r.name.clone())
            {
                pull.sure_name = Some(name);
            }
        }
    }

    /// Takes note of pulls that began and ended between two looks: only their names are seen.
    fn see_short_pulls(
        &mut self,
        now: Timestamp,
        seen: &Observation,
        bare: &BTreeMap<String, Timestamp>,
    ) {
        let Some(looked_at) = self.looked_at else { return };
        let mut changes: Vec<(&ImageRecord, &ImageChange)> = Vec::new();
        for change in &seen.changes {
            if let Some(Some(record)) = seen.answers.names.get(&change.name) {
                changes.push((record, change));
            }
        }
        changes.sort_by_key(|(record, _change)| record.updated_at);
        for (record, change) in changes {
            let vanished = self.bare.iter().filter(|(id, made)| {
                !bare.contains_key(*id)
                    && !self.running.contains_key(*id)
                    && **made <= record.updated_at
            });
            let lease = vanished.max_by_key(|(_id, made)| **made);
            let lease = lease.map(|(id, made)| (id.clone(), *made));
            let since = lease.as_ref().map(|(_id, made)| *made);
            if self.is_of_known_pull(record, since) {
                continue;
            }
            let mut reader = Reader::new(&self.documents, &seen.answers);
            let image = reader.image_of_digest(&record.digest);
            if image.layers.is_none() {
                continue;
            }
            let began = since.unwrap_or(looked_at);
            let made: Vec<Timestamp> = image
                .layers
                .iter()
                .flatten()
                .filter_map(|layer| seen.answers.blobs.get(&layer.descriptor.digest)?.as_ref())
                .map(|blob| blob.created_at)
                .collect();
            let first_made = made.iter().filter(|made| **made >= began).min().copied();
            if lease.is_none() && first_made.is_none() && change.is_new {
                // An image that was there got one more name.
                continue;
            }
            let started_at = since.or(first_made);
            let started_at = started_at.unwrap_or(record.updated_at).min(record.updated_at);
            if let Some((id, _made)) = &lease {
                self.bare.remove(id);
            }
            let id = lease.map_or_else(|| short_id(record), |(id, _made)| id);
            let mut pull = Pull::new(id, started_at);
            pull.learn(image);
            for layer in &mut pull.layers {
                let blob = seen.answers.blobs.get(&layer.digest).and_then(Option::as_ref);
                let sight = LayerSight {
                    blob: blob.map(|blob| blob.created_at),
                    ..self.sight_of(layer, started_at, None, None)
                };
                layer.see(sight);
            }
            let mut ended_at = record.updated_at;
            for other in seen.answers.names.values().flatten() {
                if other.digest == record.digest {
                    pull.names.record(other);
                    ended_at = ended_at.max(other.updated_at);
                }
            }
            self.name(&mut pull);
            pull.end(ended_at.min(now), None);
            self.keep_ended(pull);
        }
    }

    /// Returns whether a name was made by a pull that runs or that ended, but not before `since`.
    fn is_of_known_pull(&self, record: &ImageRecord, since: Option<Timestamp>) -> bool {
        let ended = self.ended.iter().filter(|pull| pull.is_completed());
        self.running.values().chain(ended).any(|pull| {
            let until = pull.ended.as_ref().map_or(Timestamp::MAX, |ended| {
                if since.is_some_and(|since| since >= ended.at) {
                    ended.at
                } else {
                    ended.at.saturating_add_millis(NAMES_LATE_MS)
                }
            });
            let is_during = pull.started_at <= record.updated_at && record.updated_at <= until;
            is_during && pull.targets().contains(&record.digest)
        })
    }

    fn name(&mut self, pull: &mut Pull) {
        let used = &self.used_names;
        if let Some(record) = pull.take_name(|record| used.contains(record)) {
            self.used_names.push_back(record);
            if self.used_names.len() > USED_NAMES_MAX {
                self.used_names.pop_front();
            }
        }
    }

    fn is_abandoned(&self, pull: &Pull, now: Timestamp) -> bool {
        let is_worked_on = pull.layers.iter().any(Layer::is_worked_on);
        let patience = if is_worked_on { WORK_PATIENCE } else { 1 };
        now.millis_since(pull.changed_at) >= self.abandoned_after_ms.saturating_mul(patience)
    }

    /// Ends the pulls of clients that seem to have gone: a lease lives for a day when nobody ends it.
    fn give_up(&mut self, now: Timestamp) {
        let is_abandoned = |pull: &&Pull| self.is_abandoned(pull, now);
        let abandoned: Vec<String> =
            self.running.values().filter(is_abandoned).map(|pull| pull.id.clone()).collect();
        for id in abandoned {
            let Some(mut pull) = self.running.remove(&id) else { continue };
            let is_named = pull.names.made_since(pull.started_at, |_record| false).is_some();
            if is_named {
                self.name(&mut pull);
            }
            pull.end(now, (!is_named).then_some(Failure::Abandoned));
            self.over.insert(id);
            self.keep_ended(pull);
        }
    }

    fn keep_ended(&mut self, pull: Pull) {
        self.ended.push_back(pull);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.ended.retain(|pull| {
            pull.ended.as_ref().is_some_and(|ended| {
                let kept = if ended.is_acknowledged { NAMES_LATE_MS } else { ENDED_MS };
                now.millis_since(ended.at) < kept
            })
        });
    }
}

/// Returns what is written of each digest. Manifests and such are left out.
fn by_digest(ingests: &[Ingest]) -> BTreeMap<&str, &Ingest> {
    let of_layer = |ingest: &'_ Ingest| {
        let (kind, _digest) = parse_reference(&ingest.reference)?;
        matches!(kind, IngestKind::Layer | IngestKind::Other).then_some(())
    };
    ingests
        .iter()
        .filter(|ingest| of_layer(ingest).is_some())
        .filter_map(|ingest| Some((parse_reference(&ingest.reference)?.1, ingest)))
        .collect()
}

fn ask_names(reader: &mut Reader<'_>, seen: &Observation, digests: &BTreeSet<String>) {
    for digest in digests.iter().filter(|digest| !seen.answers.names_of.contains_key(*digest)) {
        reader.questions.insert(Question::NamesOf(digest.clone()));
    }
}

fn was_unpacked_since(config: &Blob, since: Timestamp) -> bool {
    config.updated_at >= since
        && config.labels.keys().any(|label| label.starts_with(UNPACKED_LABEL))
}

/// Returns an identifier for a pull whose lease was never seen.
fn short_id(record: &ImageRecord) -> String {
    format!("{}-{}", record.updated_at.as_millis(), record.digest)
}
