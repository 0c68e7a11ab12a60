//! References of ingests, as containerd makes them: `layer-sha256:…`, or `layer-<name>@sha256:…` for descriptors with a name.

/// What an ingest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngestKind {
    /// A list of manifests.
    Index,
    /// A manifest.
    Manifest,
    /// A configuration.
    Config,
    /// A layer.
    Layer,
    /// Something that containerd has a word for that does not matter here, or none.
    Other,
}

/// How long a digest may be, in bytes.
const DIGEST_BYTES_MAX: usize = 200;
/// How many hexadecimal digits a digest has at least.
const DIGEST_DIGITS_MIN: usize = 32;

/// Returns what an ingest is of; `None` when its reference does not end with a digest.
pub(crate) fn parse_reference(reference: &str) -> Option<(IngestKind, &str)> {
    let (word, rest) = reference.split_once('-')?;
    let digest = rest.rsplit_once('@').map_or(rest, |(_name, digest)| digest);
    let kind = match word {
        "index" => IngestKind::Index,
        "manifest" => IngestKind::Manifest,
        "config" => IngestKind::Config,
        "layer" => IngestKind::Layer,
        _ => IngestKind::Other,
    };
    is_digest(digest).then_some((kind, digest))
}

/// Returns whether it is a digest such as `sha256:…`.
pub(crate) fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    let is_algorithm_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+._-".contains(&byte);
    text.len() <= DIGEST_BYTES_MAX
        && !algorithm.is_empty()
        && algorithm.bytes().all(is_algorithm_byte)
        && digits.len() >= DIGEST_DIGITS_MIN
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_reference_is_read() {
        let hex = "0123456789abcdef".repeat(4);
        let long = "0123456789abcdef".repeat(8);
        let sha256 = format!("sha256:{hex}");
        let sha512 = format!("sha512:{long}");
        let check = |reference: String, expected: Option<(IngestKind, &str)>| {
            assert_eq!(parse_reference(&reference), expected, "{reference}");
        };
        check(format!("layer-{sha256}"), Some((IngestKind::Layer, &sha256)));
        check(format!("manifest-{sha256}"), Some((IngestKind::Manifest, &sha256)));
        check(format!("index-{sha256}"), Some((IngestKind::Index, &sha256)));
        check(format!("config-{sha256}"), Some((IngestKind::Config, &sha256)));
        check(format!("attestation-{sha256}"), Some((IngestKind::Other, &sha256)));
        check(format!("unknown-{sha256}"), Some((IngestKind::Other, &sha256)));
        check(format!("layer-{sha512}"), Some((IngestKind::Layer, &sha512)));
        check(format!("manifest-my-app:1.0@{sha256}"), Some((IngestKind::Manifest, &sha256)));
        check(format!("layer-a@b@{sha256}"), Some((IngestKind::Layer, &sha256)));
        check(sha256.clone(), None);
        check("layer-sha256:short".into(), None);
        check(format!("layer-{}", sha256.to_uppercase()), None);
        check("import-123".into(), None);
        check("layer-".into(), None);
        check(String::new(), None);
        check(format!("layer-sha256:{}", hex.repeat(10)), None);
        check("layer-ü:ü".into(), None);
    }
}
