//! Images made of bytes that are always the same.

use ring::digest::{SHA256, digest};
use serde_json::json;

use super::fake::FakeBlob;

/// The block of a tar archive, in bytes.
const BLOCK: usize = 512;
/// The smallest layer: the header of a file, a block of it, and the two empty blocks at the end.
const LAYER_BYTES_MIN: usize = 4 * BLOCK;

/// A layer: an archive with one file.
#[derive(Clone, Debug)]
pub struct TestLayer {
    /// Its digest; it is not compressed, so that this is also its diff id.
    pub digest: String,
    /// The archive.
    pub bytes: Vec<u8>,
}

impl TestLayer {
    /// Returns a layer of exactly `size` bytes; two with the same name and size are the same.
    ///
    /// # Panics
    ///
    /// When the size is less than 2,048 or no multiple of 512.
    #[must_use]
    pub fn new(name: &str, size: usize) -> Self {
        assert!(size >= LAYER_BYTES_MIN && size.is_multiple_of(BLOCK), "no size of an archive");
        let content = size - 3 * BLOCK;
        let mut bytes = header(name, content);
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        while bytes.len() < BLOCK + content {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.resize(size, 0);
        Self { digest: sha256(&bytes), bytes }
    }
}

/// An image.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// The repository, such as `team/app`.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The layers in order.
    pub layers: Vec<TestLayer>,
    /// Whether the name leads to an index, which also has an image for another platform.
    pub has_index: bool,
}

/// A document of an image, ready to be pushed.
#[derive(Clone, Debug)]
pub(super) struct TestDocument {
    pub(super) media_type: &'static str,
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

impl TestImage {
    /// Returns an image for this machine.
    #[must_use]
    pub fn new(repository: &str, tag: &str, layers: &[TestLayer]) -> Self {
        Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            layers: layers.to_vec(),
            has_index: false,
        }
    }

    /// Lets the name lead to an index.
    #[must_use]
    pub fn with_index(mut self) -> Self {
        self.has_index = true;
        self
    }

    /// Returns the digest that the name leads to.
    #[must_use]
    pub fn digest(&self) -> String {
        if self.has_index { self.index().digest } else { self.manifest(own_architecture()).digest }
    }

    /// Returns the digest of the manifest for this machine.
    #[must_use]
    pub fn manifest_digest(&self) -> String {
        self.manifest(own_architecture()).digest
    }

    /// Returns the blobs of the image for this machine, as a containerd has them that pulled it: index, manifest,
    /// configuration, each with its digest and the labels by which it leads on.
    #[must_use]
    pub fn blobs(&self) -> Vec<(String, FakeBlob)> {
        let blob = |document: TestDocument, label: &str| {
            let labels =
                if label.is_empty() { Vec::new() } else { vec![(label.to_owned(), String::new())] };
            let labels = labels.into_iter().collect();
            (document.digest, FakeBlob { bytes: document.bytes, labels, ..FakeBlob::default() })
        };
        let manifest = self.manifest(own_architecture());
        let mut blobs = vec![
            blob(manifest, "containerd.io/gc.ref.content.config"),
            blob(self.config(own_architecture()), ""),
        ];
        if self.has_index {
            blobs.insert(0, blob(self.index(), "containerd.io/gc.ref.content.m.0"));
        }
        blobs
    }

    /// Returns the bytes of all layers.
    #[must_use]
    pub fn total_bytes(&self) -> i64 {
        self.layers.iter().map(|layer| i64::try_from(layer.bytes.len()).unwrap_or(i64::MAX)).sum()
    }

    /// Returns the documents: the configurations, the manifests, and the index if there is one.
    pub(super) fn documents(&self) -> (Vec<TestDocument>, Vec<TestDocument>) {
        let architectures = if self.has_index {
            vec![own_architecture(), other_architecture()]
        } else {
            vec![own_architecture()]
        };
        let configs = architectures.iter().map(|architecture| self.config(architecture)).collect();
        let mut manifests: Vec<_> =
            architectures.iter().map(|architecture| self.manifest(architecture)).collect();
        if self.has_index {
            manifests.push(self.index());
        }
        (configs, manifests)
    }

    fn config(&self, architecture: &str) -> TestDocument {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.digest.as_str()).collect();
        document(
            "application/vnd.oci.image.config.v1+json",
            &json!({
                "architecture": architecture, "os": "linux", "config": {},
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            }),
        )
    }

    fn manifest(&self, architecture: &str) -> TestDocument {
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                json!({ "mediaType": media_type, "digest": layer.digest, "size": layer.bytes.len() })
            })
            .collect();
        let config = self.config(architecture);
        document(
            "application/vnd.oci.image.manifest.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": { "mediaType": config.media_type, "digest": config.digest, "size": config.bytes.len() },
                "layers": layers,
            }),
        )
    }

    fn index(&self) -> TestDocument {
        let manifests: Vec<_> = [other_architecture(), own_architecture()]
            .iter()
            .map(|architecture| {
                let manifest = self.manifest(architecture);
                json!({
                    "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len(),
                    "platform": { "architecture": architecture, "os": "linux" },
                })
            })
            .collect();
        document(
            "application/vnd.oci.image.index.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": manifests,
            }),
        )
    }
}

fn document(media_type: &'static str, value: &serde_json::Value) -> TestDocument {
    let bytes = value.to_string().into_bytes();
    TestDocument { media_type, digest: sha256(&bytes), bytes }
}

fn own_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn other_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns the header of a file in a tar archive.
fn header(name: &str, content_bytes: usize) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{content_bytes:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
