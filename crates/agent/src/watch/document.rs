//! The documents of an image: indexes, manifests and configurations, in the forms of OCI and of Docker.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reference::is_digest;

/// How many layers of a manifest, or manifests of an index, are looked at.
pub(crate) const DESCRIPTORS_MAX: usize = 1_000;
/// How long a document may be, in bytes: what registries accept.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// How long a media type may be, in bytes.
const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// The annotation that tells attestations from images in an index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Something that a document leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    /// In bytes; 0 when it is not known.
    pub(crate) size: i64,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// Manifests for several platforms, without attestations.
    Index(Vec<Descriptor>),
    /// What an image consists of; the layers in order, each once.
    Manifest {
        /// The configuration.
        config: Descriptor,
        /// The layers.
        layers: Vec<Descriptor>,
    },
    /// The chain ids of the layers, in the order of the manifest, repetitions included.
    Config(Vec<String>),
    /// Something else.
    Other,
}

#[derive(Deserialize)]
struct RawDocument<'a> {
    #[serde(borrow, default)]
    manifests: Option<Vec<RawDescriptor<'a>>>,
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    layers: Option<Vec<RawDescriptor<'a>>>,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
}

#[derive(Deserialize)]
struct RawDescriptor<'a> {
    #[serde(default)]
    digest: String,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default)]
    size: i64,
    #[serde(borrow, default)]
    annotations: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl Document {
    /// Reads a document. What is not one is [`Document::Other`].
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Ok(raw) = serde_json::from_slice::<RawDocument<'_>>(bytes) else { return Self::Other };
        if let Some(manifests) = raw.manifests {
            let images = manifests.into_iter().filter(|manifest| !manifest.is_attestation());
            return Self::Index(descriptors(images));
        }
        if let Some(rootfs) = raw.rootfs {
            return Self::Config(chain_ids(&rootfs.diff_ids));
        }
        let config = raw.config.and_then(|config| serde_json::from_str(config.get()).ok());
        match (config.and_then(RawDescriptor::checked), raw.layers) {
            (Some(config), Some(layers)) => {
                Self::Manifest { config, layers: descriptors(layers.into_iter()) }
            }
            _ => Self::Other,
        }
    }
}

impl RawDescriptor<'_> {
    fn is_attestation(&self) -> bool {
        self.annotations.as_ref().is_some_and(|annotations| {
            annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind.get().contains("attestation"))
        })
    }

    fn checked(self) -> Option<Descriptor> {
        let media_type = if self.media_type.len() <= MEDIA_TYPE_BYTES_MAX {
            self.media_type
        } else {
            String::new()
        };
        let size = self.size.max(0);
        is_digest(&self.digest).then_some(Descriptor { digest: self.digest, media_type, size })
    }
}

fn descriptors<'a>(raw: impl Iterator<Item = RawDescriptor<'a>>) -> Vec<Descriptor> {
    let mut seen = std::collections::BTreeSet::new();
    raw.filter_map(RawDescriptor::checked)
        .filter(|descriptor| seen.insert(descriptor.digest.clone()))
        .take(DESCRIPTORS_MAX)
        .collect()
}

/// Returns the names under which snapshots of layers are kept: each tells a layer with all those below it.
fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for diff_id in diff_ids.iter().take(DESCRIPTORS_MAX) {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => {
                let hash = digest(&SHA256, format!("{below} {diff_id}").as_bytes());
                let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
                format!("sha256:{}", hex.collect::<String>())
            }
        };
        chain.push(next);
    }
    chain
}

/// Documents that were read, the least recently used forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    by_digest: BTreeMap<String, (u64, Arc<Document>)>,
    uses: u64,
}

impl Documents {
    /// How many are kept.
    pub(crate) const COUNT_MAX: usize = 256;

    /// Returns a document.
    pub(crate) fn get(&self, digest: &str) -> Option<&Arc<Document>> {
        self.by_digest.get(digest).map(|(_used, document)| document)
    }

    /// Keeps a document, or marks it as used.
    pub(crate) fn keep(&mut self, digest: &str, document: &Arc<Document>) {
        self.uses += 1;
        self.by_digest.insert(digest.to_owned(), (self.uses, Arc::clone(document)));
        if self.by_digest.len() > Self::COUNT_MAX {
            let oldest = self.by_digest.iter().min_by_key(|(_digest, (used, _document))| *used);
            if let Some(oldest) = oldest.map(|(digest, _)| digest.clone()) {
                self.by_digest.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    fn descriptor(letter: char, size: i64) -> Descriptor {
        Descriptor { digest: digest_of(letter), media_type: "m".into(), size }
    }

    fn json(letter: char, size: i64) -> String {
        format!(r#"{{"mediaType":"m","digest":"{}","size":{size}}}"#, digest_of(letter))
    }

    fn check(text: &str, expected: &Document) {
        assert_eq!(&Document::parse(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn a_manifest_has_its_layers_in_order_and_each_once() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{},{}],"annotations":{{"a":[1]}}}}"#,
            json('c', 3),
            json('b', 2),
            json('a', -1),
            json('b', 2),
        );
        let layers = vec![descriptor('b', 2), descriptor('a', 0)];
        check(&text, &Document::Manifest { config: descriptor('c', 3), layers });
    }

    #[test]
    fn an_index_leaves_attestations_out() {
        let attestation = format!(
            r#"{{"mediaType":"m","digest":"{}","size":1,
                "annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}}"#,
            digest_of('b')
        );
        let text = format!(r#"{{"manifests":[{},{attestation}]}}"#, json('a', 1));
        check(&text, &Document::Index(vec![descriptor('a', 1)]));
    }

    #[test]
    fn chain_ids_are_those_of_the_image_specification() {
        let (a, b) = (digest_of('a'), digest_of('b'));
        let text = format!(r#"{{"config":{{"Env":null}},"rootfs":{{"diff_ids":["{a}","{b}"]}}}}"#);
        let hash = digest(&SHA256, format!("{a} {b}").as_bytes());
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        check(&text, &Document::Config(vec![a, format!("sha256:{hex}")]));
    }

    #[test]
    fn what_is_not_a_document_is_something_else() {
        for text in
            ["", "null", "[]", "{}", r#"{"layers":[]}"#, r#"{"manifests":7}"#, "\u{1f}\u{8b}"]
        {
            check(text, &Document::Other);
        }
        check(r#"{"config":{"digest":"no"},"layers":[]}"#, &Document::Other);
        check(&"[".repeat(100_000), &Document::Other);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_reading_fail(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            text in r#"\{("(layers|config|manifests|rootfs|diff_ids|digest)":([0-9]|"a"|\{|\[|null),?){0,6}\}?"#,
        ) {
            let _whatever = Document::parse(&bytes);
            let _whatever = Document::parse(text.as_bytes());
            let _whatever = crate::watch::reference::parse_reference(&text);
        }
    }

    #[test]
    fn layers_beyond_the_limit_are_left_out() {
        let layers: Vec<String> = (0..=DESCRIPTORS_MAX)
            .map(|number| format!(r#"{{"digest":"sha256:{number:064x}","size":1}}"#))
            .collect();
        let text = format!(r#"{{"config":{},"layers":[{}]}}"#, json('c', 3), layers.join(","));
        let Document::Manifest { layers, .. } = Document::parse(text.as_bytes()) else {
            panic!("no manifest")
        };
        assert_eq!(layers.len(), DESCRIPTORS_MAX);
    }

    #[test]
    fn the_least_recently_used_document_is_forgotten_at_the_limit() {
        let mut documents = Documents::default();
        let other = Arc::new(Document::Other);
        for number in 0..Documents::COUNT_MAX {
            documents.keep(&number.to_string(), &other);
        }
        documents.keep("0", &other);
        documents.keep("more", &other);
        assert!(documents.get("0").is_some());
        assert!(documents.get("1").is_none());
        assert_eq!(documents.by_digest.len(), Documents::COUNT_MAX);
    }
}
