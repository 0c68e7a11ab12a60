//! Which image is which: names, repositories and digests.

use std::borrow::Cow;
use std::sync::Arc;

use report::{Confidence, ImageReference};

/// What is known of the name of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Its best name: whole, a repository without a tag, a bare digest, or empty.
    pub image: &'a str,
    /// Names that it may have. Where `image` is a repository, only whole names among these are taken into account, if there
    /// are any; otherwise they do not matter.
    pub candidates: &'a [Arc<str>],
    /// The digests of its index and its manifest, as far as they are known.
    pub digests: &'a [&'a str],
}

/// A name that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// The normalised name; a repository without a tag if `confidence` is [`Confidence::Repository`].
    pub name: Arc<str>,
    /// How sure it is.
    pub confidence: Confidence,
    /// Other names that it may have, in order.
    pub candidates: Vec<Arc<str>>,
}

/// [`Names`], read once for many comparisons.
pub(super) struct Wanted<'a> {
    names: &'a Names<'a>,
    kind: Kind,
}

enum Kind {
    Name(ImageReference),
    Repository {
        name: ImageReference,
        candidates: Vec<ImageReference>,
    },
    /// A digest, nothing, or what is no reference.
    Verbatim,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(names: &'a Names<'a>) -> Self {
        let kind = match ImageReference::parse(names.image) {
            Err(_) => Kind::Verbatim,
            Ok(name) if name.repository() == names.image => {
                let candidates = names.candidates.iter();
                let candidates = candidates.filter_map(|text| {
                    let candidate = ImageReference::parse(text).ok()?;
                    let is_whole = candidate.repository() != &**text;
                    (is_whole && candidate.repository() == name.repository()).then_some(candidate)
                });
                Kind::Repository { candidates: candidates.collect(), name }
            }
            Ok(name) => Kind::Name(name),
        };
        Self { names, kind }
    }

    /// Returns whether `image` is wanted.
    pub(super) fn is(&self, image: &Image) -> bool {
        if image.has_digest(self.names.digests) {
            return true;
        }
        let Some(reference) = &image.reference else {
            return !self.names.image.is_empty() && self.names.image == &*image.text;
        };
        match &self.kind {
            Kind::Name(name) => name.same_image(reference),
            Kind::Repository { name, candidates } => {
                let is_candidate = candidates.is_empty()
                    || candidates.iter().any(|candidate| candidate.same_image(reference));
                is_candidate && reference.repository() == name.repository()
            }
            Kind::Verbatim => reference.digest().is_some_and(|digest| digest == self.names.image),
        }
    }
}

/// The image of a container.
#[derive(Debug)]
pub(super) struct Image {
    /// Normalised; as the pod asks for it where that is no reference.
    pub(super) text: Arc<str>,
    reference: Option<ImageReference>,
    /// What the runtime found behind the name; empty until then.
    found_digest: Arc<str>,
}

impl Image {
    pub(super) fn new(image: &str, image_id: &str) -> Self {
        let reference = ImageReference::parse(image).ok();
        let text = reference
            .as_ref()
            .map_or(Cow::Borrowed(image), |reference| Cow::Owned(reference.to_string()));
        let found = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
        let found_digest = if found.contains(':') { found } else { "" };
        Self { text: text.into(), reference, found_digest: found_digest.into() }
    }

    /// Returns whether the pod asks for one of `digests`, or the runtime found one.
    pub(super) fn has_digest(&self, digests: &[&str]) -> bool {
        digests.iter().any(|digest| {
            self.digest() == Some(digest) || (!digest.is_empty() && *digest == &*self.found_digest)
        })
    }

    /// Returns whether the image can have one of `digests`, for all that the pod says.
    pub(super) fn may_have_digest(&self, digests: &[&str]) -> bool {
        digests.is_empty() || self.digest().is_none_or(|digest| digests.contains(&digest))
    }

    /// Returns the name of the repository.
    pub(super) fn repository(&self) -> Option<&str> {
        self.reference.as_ref().map(ImageReference::repository)
    }

    /// Returns whether the image is of one of `repositories`, whose registries may lack their port: containerd keeps it so.
    pub(super) fn is_of(&self, repositories: &[&str]) -> bool {
        let Some(reference) = &self.reference else { return false };
        let repository = reference.repository();
        let host = reference.registry().rsplit_once(':').map(|(host, _)| host);
        let path = repository.get(reference.registry().len()..).unwrap_or_default();
        repositories.iter().any(|wanted| {
            *wanted == repository
                || host.is_some_and(|host| wanted.strip_prefix(host) == Some(path))
        })
    }

    fn digest(&self) -> Option<&str> {
        self.reference.as_ref().and_then(ImageReference::digest)
    }
}
