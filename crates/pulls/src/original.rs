//! What Pulltrace's agents mean.
//!
//! They see containerd's ingests, whose references tell a kind and a digest, and make a pull of each. Which of them belong
//! to one image they do not tell, so all of a node are one pull, as on the original server. But manifests and
//! configurations are no layers, and digests are told without their kind.

use report::{LayerReport, PullReport};

use crate::identity::Key;
use crate::settings::IMAGE_BYTES_MAX;
use crate::text::clip;

/// What a reference of an ingest begins with, and whether it is a layer.
const KINDS: [(&str, bool); 6] = [
    ("layer-", true),
    ("config-", false),
    ("manifest-", false),
    ("index-", false),
    ("attestation-", false),
    ("unknown-", false),
];

/// Algorithms of digests.
const ALGORITHMS: [&str; 3] = ["sha256", "sha384", "sha512"];

/// A pull that an original agent sees.
#[derive(Debug)]
pub(crate) struct OriginalPull {
    pub(crate) key: Key,
    pub(crate) pull: PullReport,
    /// Whether all manifests and configurations are there; `None` where none were seen.
    pub(crate) metadata_there: Option<bool>,
}

/// Returns the pulls that an original agent means: those with a name first, then the one of all digests.
pub(crate) fn pulls_of(pulls: Vec<PullReport>) -> Vec<OriginalPull> {
    let mut found = Vec::new();
    let mut digests = PullReport { total_known: true, ..PullReport::default() };
    let mut metadata_there = None;
    for pull in pulls {
        if !is_digests_only(&pull) {
            let key = Key::Named(clip(&pull.image_ref, IMAGE_BYTES_MAX));
            found.push(OriginalPull { key, pull: with_bare_digests(pull), metadata_there: None });
            continue;
        }
        digests.started_at = earlier(digests.started_at, pull.started_at);
        for layer in pull.layers {
            let (is_layer, digest) = match ingest(&layer.digest) {
                Some((is_layer, digest)) => (is_layer, digest.to_owned()),
                None => (true, layer.digest.clone()),
            };
            if is_layer {
                digests.total_known &= layer.total_known;
                let started_at = layer.started_at.or(pull.started_at);
                digests.layers.push(LayerReport { digest, started_at, ..layer });
            } else {
                let is_there = layer.total_known && layer.total_bytes <= layer.downloaded_bytes;
                metadata_there = Some(metadata_there.unwrap_or(true) && is_there);
            }
        }
    }
    if !digests.layers.is_empty() || metadata_there.is_some() {
        // The agent's order is that of a hash table.
        digests.layers.sort_by(|a, b| (a.started_at, &a.digest).cmp(&(b.started_at, &b.digest)));
        digests.layers.dedup_by(|a, b| a.digest == b.digest);
        found.push(OriginalPull { key: Key::Digests, pull: digests, metadata_there });
    }
    found
}

fn with_bare_digests(mut pull: PullReport) -> PullReport {
    for layer in &mut pull.layers {
        if let Some((_, digest)) = ingest(&layer.digest) {
            layer.digest = digest.to_owned();
        }
    }
    pull
}

/// Returns whether all that is known of a pull are references of ingests. An agent tells the part before the `@` as name.
fn is_digests_only(pull: &PullReport) -> bool {
    if ingest(&pull.image_ref).is_some() {
        return true;
    }
    let has_kind = KINDS.iter().any(|(prefix, _)| pull.image_ref.starts_with(prefix));
    let is_part = |layer: &LayerReport| {
        let rest = layer.digest.strip_prefix(&pull.image_ref);
        rest.is_some_and(|rest| rest.strip_prefix('@').is_some_and(is_digest))
    };
    has_kind && !pull.layers.is_empty() && pull.layers.iter().all(is_part)
}

/// Reads `<kind>-<digest>`, `<kind>-<name>@<digest>` or a digest, and returns whether it is of a layer, and the digest.
fn ingest(reference: &str) -> Option<(bool, &str)> {
    let kind = KINDS
        .into_iter()
        .find_map(|(prefix, is_layer)| Some((is_layer, reference.strip_prefix(prefix)?)));
    let (is_layer, rest) = kind.unwrap_or((true, reference));
    let digest = match rest.rsplit_once('@') {
        Some((_, digest)) if kind.is_some() => digest,
        _ => rest,
    };
    is_digest(digest).then_some((is_layer, digest))
}

/// Returns whether a text is a digest.
pub(crate) fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        ALGORITHMS.contains(&algorithm)
            && !hash.is_empty()
            && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn earlier<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(digest: &str, downloaded: i64, total: i64) -> LayerReport {
        LayerReport {
            digest: digest.to_owned(),
            total_bytes: total,
            downloaded_bytes: downloaded,
            total_known: total > 0,
            ..LayerReport::default()
        }
    }

    fn pull(reference: &str, layers: &[&str]) -> PullReport {
        PullReport {
            image_ref: reference.to_owned(),
            layers: layers.iter().map(|digest| layer(digest, 5, 10)).collect(),
            total_known: true,
            ..PullReport::default()
        }
    }

    /// Checks what pulls are found: their key's name, empty for that of digests, and the digests of their layers.
    fn check(pulls: Vec<PullReport>, expected: &[(&str, &[&str])]) {
        let found = pulls_of(pulls);
        let found: Vec<(String, Vec<String>)> = found
            .into_iter()
            .map(|found| {
                let name = match found.key {
                    Key::Named(name) => name.to_string(),
                    Key::Digests => String::new(),
                    Key::Identified(id) => panic!("{id}"),
                };
                (name, found.pull.layers.into_iter().map(|layer| layer.digest).collect())
            })
            .collect();
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(name, layers)| {
                ((*name).to_owned(), layers.iter().map(|&layer| layer.to_owned()).collect())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn references_of_ingests_are_read() {
        for (reference, expected) in [
            ("layer-sha256:ab", Some((true, "sha256:ab"))),
            ("sha256:ab", Some((true, "sha256:ab"))),
            ("config-sha256:ab", Some((false, "sha256:ab"))),
            ("manifest-sha512:ab", Some((false, "sha512:ab"))),
            ("index-latest@sha256:ab", Some((false, "sha256:ab"))),
            ("unknown-sha256:ab", Some((false, "sha256:ab"))),
            ("attestation-sha256:ab", Some((false, "sha256:ab"))),
            ("layer-a@b@sha256:ab", Some((true, "sha256:ab"))),
            ("layer-", None),
            ("layer-nginx", None),
            ("sha256:", None),
            ("md5:ab", None),
            ("docker.io/library/nginx@sha256:ab", None),
            ("docker.io/library/nginx:1.27", None),
            ("", None),
        ] {
            assert_eq!(ingest(reference), expected, "{reference}");
        }
    }

    #[test]
    fn digests_are_one_pull_without_its_manifests() {
        let pulls = vec![
            pull("layer-sha256:cc", &["layer-sha256:cc"]),
            pull("config-sha256:bb", &["config-sha256:bb"]),
            pull("layer-sha256:aa", &["layer-sha256:aa"]),
            pull("manifest-1.27", &["manifest-1.27@sha256:dd"]),
        ];
        check(pulls, &[("", &["sha256:aa", "sha256:cc"])]);
    }

    #[test]
    fn names_have_pulls_of_their_own_whatever_they_look_like() {
        let names = ["nginx:1.27", "x:__merged__", "__pulling__", "layer-cache:latest"];
        let pulls: Vec<PullReport> =
            names.iter().map(|name| pull(name, &["layer-sha256:aa"])).collect();
        let expected: Vec<(&str, &[&str])> =
            names.iter().map(|name| (*name, &["sha256:aa"] as &[&str])).collect();
        check(pulls, &expected);
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        check(vec![], &[]);
        check(vec![pull("sha256:ab", &[])], &[]);
        check(vec![pull("config-sha256:ab", &["config-sha256:ab"])], &[("", &[])]);
    }
}
