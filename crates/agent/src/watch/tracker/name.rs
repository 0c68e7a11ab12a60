//! The name of an image, as far as containerd alone knows it.

use std::collections::{BTreeMap, BTreeSet};

use platform::Timestamp;
use report::Confidence;

use crate::watch::observation::ImageRecord;

/// The label that says from where a blob came: the host without its port, then the repositories.
const SOURCE_LABEL: &str = "containerd.io/distribution.source.";
/// How many names are kept of one image.
const NAMES_MAX: usize = 64;
/// How long a name may be, in bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// A name with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) image: String,
    pub(super) confidence: Confidence,
    pub(super) candidates: Vec<String>,
}

/// What is known of the names of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    records: BTreeMap<String, ImageRecord>,
    repositories: BTreeSet<String>,
}

impl Names {
    /// Takes note of a name that leads to the image.
    pub(super) fn record(&mut self, record: &ImageRecord) {
        // The runtime's own names for configurations say nothing.
        let says_something =
            !record.name.starts_with("sha256:") && record.name.len() <= NAME_BYTES_MAX;
        if says_something
            && (self.records.len() < NAMES_MAX || self.records.contains_key(&record.name))
        {
            self.records.insert(record.name.clone(), record.clone());
        }
    }

    /// Takes note of from where a blob came.
    pub(super) fn source(&mut self, labels: &BTreeMap<String, String>) {
        for (label, value) in labels {
            let Some(host) = label.strip_prefix(SOURCE_LABEL) else { continue };
            for repository in value.split(',').filter(|repository| !repository.is_empty()) {
                let name = format!("{host}/{repository}");
                if self.repositories.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX {
                    self.repositories.insert(name);
                }
            }
        }
    }

    pub(super) fn has_source(&self) -> bool {
        !self.repositories.is_empty()
    }

    /// Returns the name that was made to lead to the image since a time, those that are not used up first, then those with a
    /// tag, then the oldest.
    pub(super) fn made_since(
        &self,
        since: Timestamp,
        is_used: impl Fn(&ImageRecord) -> bool,
    ) -> Option<&ImageRecord> {
        let made = self.records.values().filter(|record| record.updated_at >= since);
        made.min_by_key(|record| (is_used(record), !has_tag(&record.name), record.updated_at))
    }

    /// Returns the best name; `sure` is one that the runtime gave to this pull.
    pub(super) fn best(&self, sure: Option<&str>, root: Option<&str>) -> Name {
        let others = |chosen: &str| {
            let others = self.records.keys().filter(|name| *name != chosen);
            others.take(report::CANDIDATES_MAX).cloned().collect()
        };
        if let Some(sure) = sure {
            let candidates = Vec::new();
            return Name { image: sure.to_owned(), confidence: Confidence::Certain, candidates };
        }
        let tagged: Vec<&String> = self.records.keys().filter(|name| has_tag(name)).collect();
        if let [only] = tagged.as_slice() {
            let confidence = Confidence::Likely;
            return Name { image: (*only).clone(), confidence, candidates: others(only) };
        }
        let of_records = self.records.keys().map(|name| repository(name).to_owned());
        let repositories: BTreeSet<String> =
            if self.records.is_empty() { self.repositories.clone() } else { of_records.collect() };
        if repositories.len() == 1
            && let Some(only) = repositories.first()
        {
            let confidence = Confidence::Repository;
            return Name { image: only.clone(), confidence, candidates: others(only) };
        }
        let names = self.records.keys().cloned().chain(repositories);
        Name {
            image: root.unwrap_or_default().to_owned(),
            confidence: Confidence::Unknown,
            candidates: names.take(report::CANDIDATES_MAX).collect(),
        }
    }
}

fn has_tag(name: &str) -> bool {
    !name.contains('@')
}

/// Returns a name without tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(before, _digest)| before);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(records: &[&str], sources: &[(&str, &str)]) -> Names {
        let mut names = Names::default();
        for name in records {
            names.record(&ImageRecord { name: (*name).to_owned(), ..ImageRecord::default() });
        }
        let labels = sources
            .iter()
            .map(|(host, path)| (format!("{SOURCE_LABEL}{host}"), (*path).to_owned()));
        names.source(&labels.collect());
        names
    }

    fn check(names: &Names, expected: (&str, Confidence, &[&str])) {
        let name = names.best(None, Some("sha256:root"));
        let candidates: Vec<&str> = name.candidates.iter().map(String::as_str).collect();
        assert_eq!((name.image.as_str(), name.confidence, candidates.as_slice()), expected);
    }

    #[test]
    fn the_best_name_is_the_surest_one() {
        check(&names(&[], &[]), ("sha256:root", Confidence::Unknown, &[]));
        let source = [("docker.io", "library/nginx")];
        check(&names(&[], &source), ("docker.io/library/nginx", Confidence::Repository, &[]));
        let two = [("docker.io", "library/nginx,me/nginx")];
        let both = ["docker.io/library/nginx", "docker.io/me/nginx"];
        check(&names(&[], &two), ("sha256:root", Confidence::Unknown, &both));
        check(&names(&["r:5000/a:1"], &two), ("r:5000/a:1", Confidence::Likely, &[]));
        let tags = ["r:5000/a:1", "r:5000/a:2"];
        check(&names(&tags, &[]), ("r:5000/a", Confidence::Repository, &tags));
        check(&names(&["r/a@sha256:0"], &[]), ("r/a", Confidence::Repository, &["r/a@sha256:0"]));
        check(
            &names(&["sha256:0"], &source),
            ("docker.io/library/nginx", Confidence::Repository, &[]),
        );
    }

    #[test]
    fn no_more_names_are_kept_than_the_limit() {
        let many: Vec<String> = (0..=NAMES_MAX).map(|number| format!("r/a:{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(names(&many, &[]).records.len(), NAMES_MAX);
    }
}
