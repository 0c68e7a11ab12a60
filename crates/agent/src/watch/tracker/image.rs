//! What image a lease is about: read from what it holds, not guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::watch::document::{Descriptor, Document, Documents};
use crate::watch::observation::{Answers, Blob, Lease, Question};
use crate::watch::reference::{IngestKind, parse_reference};

/// The labels by which containerd's garbage collection finds what a document leads to.
pub(crate) const CONTENT_LABEL: &str = "containerd.io/gc.ref.content.";
/// How many blobs of a lease are looked at in one look to find its documents.
const UNKNOWN_BLOBS_MAX: usize = 256;

/// An image, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Image {
    /// What the name leads to: an index or a manifest.
    pub(super) root: Option<String>,
    /// The manifests that are pulled; mostly one.
    pub(super) manifests: Vec<String>,
    /// Their configurations.
    pub(super) configs: Vec<String>,
    /// The layers in order; `None` until a manifest is there.
    pub(super) layers: Option<Vec<ImageLayer>>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ImageLayer {
    pub(super) descriptor: Descriptor,
    /// The name of its snapshot; `None` until the configuration is there.
    pub(super) chain: Option<String>,
}

/// What was answered, and what is still to be asked.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    kept: &'a Documents,
    answers: &'a Answers,
    pub(super) questions: BTreeSet<Question>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(kept: &'a Documents, answers: &'a Answers) -> Self {
        Self { kept, answers, questions: BTreeSet::new() }
    }

    /// Returns what is said of a blob; the outer `None` means that it is not known yet.
    pub(super) fn blob(&mut self, digest: &str) -> Option<Option<&'a Blob>> {
        let answer = self.answers.blobs.get(digest);
        if answer.is_none() {
            self.questions.insert(Question::Blob(digest.to_owned()));
        }
        answer.map(Option::as_ref)
    }

    fn document(&mut self, digest: &str) -> Option<Arc<Document>> {
        if let Some(kept) = self.kept.get(digest) {
            return Some(Arc::clone(kept));
        }
        match self.answers.documents.get(digest) {
            Some(answer) => answer.clone(),
            None => {
                self.questions.insert(Question::Document(digest.to_owned()));
                None
            }
        }
    }

    /// Returns the image that a lease is about; `None` when it is about none.
    pub(super) fn image_of_lease(&mut self, lease: &Lease) -> Option<Image> {
        let mut documents = self.known_documents(lease);
        self.find_documents(lease, &mut documents);
        let mut image =
            self.assemble(&documents, |config| lease.contents.iter().any(|d| d == config));
        let ingests: Vec<_> =
            lease.ingests.iter().filter_map(|reference| parse_reference(reference)).collect();
        if image.root.is_none() {
            let of = |kind| ingests.iter().find(|(found, _)| *found == kind);
            let root = of(IngestKind::Index).or_else(|| of(IngestKind::Manifest));
            image.root = root.map(|(_kind, digest)| (*digest).to_owned());
        }
        (image.root.is_some() || !ingests.is_empty()).then_some(image)
    }

    /// Returns the image that a digest leads to, as far as it is in the content store.
    pub(super) fn image_of_digest(&mut self, digest: &str) -> Image {
        let mut documents = BTreeMap::new();
        let root = self.document(digest);
        if let Some(Document::Index(manifests)) = root.as_deref() {
            for manifest in manifests.iter().take(UNKNOWN_BLOBS_MAX) {
                if let Some(Some(_there)) = self.blob(&manifest.digest)
                    && let Some(document) = self.document(&manifest.digest)
                {
                    documents.insert(manifest.digest.clone(), document);
                }
            }
        }
        if let Some(root) = root {
            documents.insert(digest.to_owned(), root);
        }
        let mut image = self.assemble(&documents, |_config| true);
        image.root = Some(digest.to_owned());
        image
    }

    fn known_documents(&self, lease: &Lease) -> BTreeMap<String, Arc<Document>> {
        let known = |digest: &String| {
            let answered = self.answers.documents.get(digest).cloned().flatten();
            let document = self.kept.get(digest).cloned().or(answered)?;
            Some((digest.clone(), document))
        };
        lease.contents.iter().filter_map(known).collect()
    }

    /// Asks which of the other blobs are documents. Those that a manifest describes are not.
    fn find_documents(&mut self, lease: &Lease, documents: &mut BTreeMap<String, Arc<Document>>) {
        let mut described = BTreeSet::new();
        for document in documents.values() {
            if let Document::Manifest { config, layers } = &**document {
                described.insert(config.digest.clone());
                described.extend(layers.iter().map(|layer| layer.digest.clone()));
            }
        }
        let unknown = lease
            .contents
            .iter()
            .filter(|digest| !documents.contains_key(*digest) && !described.contains(*digest));
        let unknown: Vec<String> = unknown.take(UNKNOWN_BLOBS_MAX).cloned().collect();
        for digest in unknown {
            let leads_on = self.blob(&digest).flatten().is_some_and(|blob| {
                blob.labels.keys().any(|label| label.starts_with(CONTENT_LABEL))
            });
            if leads_on && let Some(document) = self.document(&digest) {
                documents.insert(digest, document);
            }
        }
    }

    fn assemble(
        &mut self,
        documents: &BTreeMap<String, Arc<Document>>,
        has_config: impl Fn(&str) -> bool,
    ) -> Image {
        let mut order: Vec<&str> = Vec::new();
        let mut indexes: Vec<&str> = Vec::new();
        for (digest, document) in documents {
            if let Document::Index(manifests) = &**document {
                indexes.push(digest);
                order.extend(manifests.iter().map(|manifest| manifest.digest.as_str()));
            }
        }
        let is_listed = |digest: &str| order.contains(&digest);
        let mut manifests: Vec<&str> = documents
            .iter()
            .filter(|(_digest, document)| matches!(***document, Document::Manifest { .. }))
            .map(|(digest, _document)| digest.as_str())
            .collect();
        manifests.sort_by_key(|digest| order.iter().position(|listed| listed == digest));
        let root = indexes.iter().chain(&manifests).find(|digest| !is_listed(digest));
        let root = root.map(|digest| (*digest).to_owned());

        let mut image = Image { root, ..Image::default() };
        let mut seen = BTreeSet::new();
        for digest in manifests {
            let Some(Document::Manifest { config, layers }) = documents.get(digest).map(|d| &**d)
            else {
                continue;
            };
            image.manifests.push(digest.to_owned());
            image.configs.push(config.digest.clone());
            let chains =
                if has_config(&config.digest) { self.document(&config.digest) } else { None };
            let chains = match chains.as_deref() {
                Some(Document::Config(chains)) if chains.len() == layers.len() => Some(chains),
                _ => None,
            };
            let all = image.layers.get_or_insert_default();
            for (position, descriptor) in layers.iter().enumerate() {
                if seen.insert(descriptor.digest.clone()) {
                    let chain = chains.and_then(|chains| chains.get(position).cloned());
                    all.push(ImageLayer { descriptor: descriptor.clone(), chain });
                }
            }
        }
        image
    }
}
