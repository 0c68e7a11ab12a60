//! Names of images, read as containerd reads them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest reference that is read, in bytes.
pub const REFERENCE_BYTES_MAX: usize = 1_024;

/// The longest path within a registry, in bytes.
const PATH_BYTES_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_BYTES_MAX: usize = 128;
/// How much of a reference that is none an error keeps, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 256;

const HUB: &str = "docker.io";
const HUB_ALIAS: &str = "index.docker.io";
const HUB_OFFICIAL: &str = "library/";

/// A reference that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image reference '{text}' {problem}")]
pub struct InvalidReference {
    /// The reference; whoever shows it keeps it as it is. Its first 256 bytes where it is longer.
    pub text: String,
    problem: &'static str,
}

/// The name of an image, normalised: `docker.io/library/nginx:1.27`.
///
/// It is the [grammar](https://github.com/distribution/reference) of Docker with the defaults that containerd and kubelets
/// give: registry `docker.io`, `library/` before names of one part there, tag `latest` where neither tag nor digest is given.
/// Where both are given the digest decides and the tag is only shown: [`ImageReference::name`] is without it.
///
/// Two references are equal when they are written the same, the tag beside a digest included; see
/// [`ImageReference::same_image`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// `registry/path[:tag][@digest]`.
    text: Box<str>,
    /// Where the registry ends.
    registry_end: usize,
    /// Where the path ends.
    repository_end: usize,
    /// Where the tag ends; `repository_end` where there is none.
    tag_end: usize,
}

impl ImageReference {
    /// Reads a reference as a pod or a runtime gives it. Costs one allocation.
    ///
    /// # Errors
    ///
    /// It does not fit the grammar, or is only a digest, which names no image.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        Self::read(text).map_err(|problem| InvalidReference {
            text: text[..text.floor_char_boundary(ERROR_TEXT_BYTES_MAX)].to_owned(),
            problem,
        })
    }

    /// Returns the host of the registry, with its port: `docker.io`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.text.get(..self.registry_end).unwrap_or_default()
    }

    /// Returns the registry with the path in it: `docker.io/library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.text.get(..self.repository_end).unwrap_or_default()
    }

    /// Returns the tag, also the one beside a digest: `1.27`.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.text.get(self.repository_end + 1..self.tag_end)
    }

    /// Returns the digest: `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.text.get(self.tag_end + 1..)
    }

    /// Returns the name under which containerd keeps the image: with the digest if it has one, else with the tag.
    #[must_use]
    pub fn name(&self) -> Cow<'_, str> {
        if self.tag().is_none() || self.digest().is_none() {
            return Cow::Borrowed(&self.text);
        }
        let digest = self.text.get(self.tag_end..).unwrap_or_default();
        Cow::Owned([self.repository(), digest].concat())
    }

    /// Returns whether both name the same image: the same repository with the same digest, or with the same tag where
    /// neither has a digest.
    #[must_use]
    pub fn same_image(&self, other: &Self) -> bool {
        self.repository() == other.repository()
            && self.digest() == other.digest()
            && (self.digest().is_some() || self.tag() == other.tag())
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("is empty");
        }
        if REFERENCE_BYTES_MAX < text.len() {
            return Err("is longer than 1024 bytes");
        }
        if is_digest(text) || is_hex(text, 64) {
            return Err("is a digest without a repository");
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest)),
            Some(_) => return Err("has a digest that is none"),
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, digest.is_none().then_some("latest")),
        };
        let official = if registry == HUB && !path.contains('/') { HUB_OFFICIAL } else { "" };
        if !is_registry(registry) {
            return Err("has a registry that is not a host");
        }
        if !path.split('/').all(is_path_component) {
            return Err("has a repository that is not lower-case letters, digits and separators");
        }
        if PATH_BYTES_MAX < official.len() + path.len() {
            return Err("has a repository of more than 255 bytes");
        }
        if !tag.is_none_or(is_tag) {
            return Err("has a tag that is none");
        }
        Ok(Self::join(registry, [official, path], tag, digest))
    }

    fn join(registry: &str, path: [&str; 2], tag: Option<&str>, digest: Option<&str>) -> Self {
        let mut text = [registry, "/", path[0], path[1]].concat();
        let repository_end = text.len();
        for (separator, part) in [(":", tag), ("@", digest)] {
            if let Some(part) = part {
                text.push_str(separator);
                text.push_str(part);
            }
        }
        let tag_end = repository_end + tag.map_or(0, |tag| 1 + tag.len());
        Self { text: text.into(), registry_end: registry.len(), repository_end, tag_end }
    }
}

impl fmt::Display for ImageReference {
    /// Writes it with registry, tag and digest; reading that gives the same reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageReference({})", self.text)
    }
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

/// Splits the registry off. A first part is one if it cannot be a part of a path: it is `localhost`, has a dot, a colon or
/// an upper-case letter.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((HUB_ALIAS, rest)) => (HUB, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (HUB, name),
    }
}

/// Returns whether `text` is a host name, an IPv4 address or an IPv6 address in brackets, each with or without a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = !address.is_empty()
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return is_address
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_number));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether `text` is groups of lower-case letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut groups = text.as_bytes().chunk_by(|a, b| is_word(*a) == is_word(*b)).peekable();
    let mut expect_word = true;
    while let Some(group) = groups.next() {
        let fits = match group {
            [first, ..] if is_word(*first) => expect_word,
            b"." | b"_" | b"__" => !expect_word && groups.peek().is_some(),
            dashes => {
                !expect_word && groups.peek().is_some() && dashes.iter().all(|byte| *byte == b'-')
            }
        };
        if !fits {
            return false;
        }
        expect_word = !expect_word;
    }
    !text.is_empty()
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| match algorithm {
        "sha256" => is_hex(hex, 64),
        "sha384" => is_hex(hex, 96),
        "sha512" => is_hex(hex, 128),
        _ => false,
    })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn sha512() -> String {
        format!("sha512:{}", "0123456789abcdef".repeat(8))
    }

    #[test]
    fn references_are_normalised_as_containerd_does() {
        let check = |text: &str, expected: &str| {
            let reference = ImageReference::parse(text).expect(text);
            assert_eq!(reference.to_string(), expected, "{text}");
            let again = ImageReference::parse(expected).expect(expected);
            assert_eq!(again, reference, "{text}");
        };
        // What Pulltrace's own tests hold.
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.27", "docker.io/library/nginx:1.27");
        check("redis:7-alpine", "docker.io/library/redis:7-alpine");
        check("library/nginx", "docker.io/library/nginx:latest");
        check("library/nginx:1.27", "docker.io/library/nginx:1.27");
        check("ghcr.io/foo/bar:v1.0", "ghcr.io/foo/bar:v1.0");
        check("ghcr.io/foo/bar", "ghcr.io/foo/bar:latest");
        // What it gets wrong.
        check("localhost:5000/foo", "localhost:5000/foo:latest");
        check("localhost/foo", "localhost/foo:latest");
        check("docker.io/nginx", "docker.io/library/nginx:latest");
        check("index.docker.io/nginx", "docker.io/library/nginx:latest");
        check("index.docker.io/library/nginx:1", "docker.io/library/nginx:1");
        // Registries.
        check("localhost/foo/bar:1", "localhost/foo/bar:1");
        check("docker.io/grafana/grafana:11.2.0", "docker.io/grafana/grafana:11.2.0");
        check("grafana/grafana", "docker.io/grafana/grafana:latest");
        check("127.0.0.1:5000/a/b/c:d", "127.0.0.1:5000/a/b/c:d");
        check("[2001:db8::1]:5000/foo:1", "[2001:db8::1]:5000/foo:1");
        check("[::1]/foo", "[::1]/foo:latest");
        check("Registry.Example.COM/foo", "Registry.Example.COM/foo:latest");
        check("Registry/foo", "Registry/foo:latest");
        check("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com");
        check("a.b/docker.io/library/x", "a.b/docker.io/library/x:latest");
        check("registry:5000/x:y", "registry:5000/x:y");
        // A name of one part is never a registry.
        check("test.com:5000", "docker.io/library/test.com:5000");
        check("localhost", "docker.io/library/localhost:latest");
        check("localhost:5000", "docker.io/library/localhost:5000");
        check("docker.io", "docker.io/library/docker.io:latest");
        check("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080");
        // Paths and tags.
        check("a__b/c.d-e---f/g_h", "docker.io/a__b/c.d-e---f/g_h:latest");
        check("x:_", "docker.io/library/x:_");
        check("x:V1.2.3-RC.1_x", "docker.io/library/x:V1.2.3-RC.1_x");
        check(
            &format!("x:{}", "t".repeat(128)),
            &format!("docker.io/library/x:{}", "t".repeat(128)),
        );
        check(
            &format!("g/{}", "p".repeat(253)),
            &format!("docker.io/g/{}:latest", "p".repeat(253)),
        );
        // Digests.
        check(&format!("nginx@{SHA256}"), &format!("docker.io/library/nginx@{SHA256}"));
        check(&format!("nginx:1.27@{SHA256}"), &format!("docker.io/library/nginx:1.27@{SHA256}"));
        check(&format!("h:1/a/b@{}", sha512()), &format!("h:1/a/b@{}", sha512()));
        check("sha256:abc", "docker.io/library/sha256:abc");
    }

    #[test]
    fn what_is_no_reference_is_an_error_that_keeps_the_text() {
        let check = |text: &str, problem: &str| {
            let error = ImageReference::parse(text).expect_err(text);
            assert_eq!(error.problem, problem, "{text}");
            assert_eq!(error.text, &text[..text.len().min(ERROR_TEXT_BYTES_MAX)]);
        };
        check("", "is empty");
        check(SHA256, "is a digest without a repository");
        check(&sha512(), "is a digest without a repository");
        check(&SHA256[7..], "is a digest without a repository");
        check(
            &format!("@{SHA256}"),
            "has a repository that is not lower-case letters, digits and separators",
        );
        let digest = "has a digest that is none";
        check("nginx@sha256:abc", digest);
        check("nginx@", digest);
        check(&format!("nginx@{}", SHA256.to_uppercase()), digest);
        check(&format!("nginx@sha256:{}", SHA256[7..].to_uppercase()), digest);
        check(&format!("nginx@md5:{}", "0".repeat(32)), digest);
        check(&format!("nginx@{SHA256}@{SHA256}"), digest);
        check(&format!("nginx@{SHA256}:1"), digest);
        let repository = "has a repository that is not lower-case letters, digits and separators";
        for text in [
            "Nginx",
            "foo/Bar",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "_a",
            "a_",
            "__pulling__",
            ".a",
            "a/",
            "/a",
            "a//b",
            "a b",
            " a",
            "a\n",
            "é",
            "ghcr.io/",
            "aa/asdf$$^/aa",
            ":tag",
            "layer sha256",
            "a/../b",
        ] {
            check(text, repository);
        }
        for text in [
            "foo_bar.com/x",
            "a.b:x/c",
            "a.b:/c",
            "-a.b/c",
            "a..b/c",
            "[::1/c",
            "[]:1/c",
            "[::1]x/c",
            "a.b:1:2/c",
        ] {
            check(text, "has a registry that is not a host");
        }
        for text in [
            "x:",
            "x:-a",
            "x:.a",
            "x:a:b",
            "x:é",
            "a.b/c:d/e",
            "x:a b",
            &format!("x:{}", "t".repeat(129)),
        ] {
            check(text, "has a tag that is none");
        }
        check(&format!("g/{}", "p".repeat(254)), "has a repository of more than 255 bytes");
        check(&format!("a.b/{}", "p".repeat(256)), "has a repository of more than 255 bytes");
        check(&"é".repeat(513), "is longer than 1024 bytes");
    }

    #[test]
    fn parts_are_those_that_were_given() {
        let text = format!("h.io:5000/a/b:c@{SHA256}");
        let reference = ImageReference::parse(&text).expect("a reference");
        assert_eq!(reference.registry(), "h.io:5000");
        assert_eq!(reference.repository(), "h.io:5000/a/b");
        assert_eq!(reference.tag(), Some("c"));
        assert_eq!(reference.digest(), Some(SHA256));
        assert_eq!(reference.name(), format!("h.io:5000/a/b@{SHA256}"));
        let tagged = ImageReference::parse("x").expect("a reference");
        assert_eq!((tagged.tag(), tagged.digest()), (Some("latest"), None));
        assert_eq!(tagged.name(), "docker.io/library/x:latest");
        let digested = ImageReference::parse(&format!("x@{SHA256}")).expect("a reference");
        assert_eq!((digested.tag(), digested.digest()), (None, Some(SHA256)));
    }

    #[test]
    fn a_digest_decides_what_is_the_same_image_and_otherwise_the_tag() {
        let check = |a: &str, b: &str, same: bool| {
            let [a, b] = [a, b].map(|text| ImageReference::parse(text).expect(text));
            assert_eq!(a.same_image(&b), same, "{a} {b}");
            assert_eq!(b.same_image(&a), same, "{b} {a}");
            assert_eq!(a.name() == b.name(), same, "{a} {b}");
        };
        let digested = format!("nginx@{SHA256}");
        check("nginx", "docker.io/library/nginx:latest", true);
        check("nginx:1", "nginx:2", false);
        check("nginx:1", "redis:1", false);
        check(&digested, &format!("nginx:1@{SHA256}"), true);
        check(&format!("nginx:2@{SHA256}"), &format!("nginx:1@{SHA256}"), true);
        check(&digested, &format!("nginx@{}", sha512()), false);
        check(&digested, "nginx", false);
        check(&digested, &format!("redis@{SHA256}"), false);
    }

    /// Parts of names, such that many combinations are references and many are nearly.
    fn written() -> impl Strategy<Value = String> {
        let registry = prop_oneof![
            Just(String::new()),
            Just("localhost/".to_owned()),
            Just("index.docker.io/".to_owned()),
            "[a-z0-9.:A-Z-]{1,8}/",
            "[a-z]{1,4}\\.[a-z]{2}(:[0-9]{1,4})?/",
        ];
        let path = "[a-z0-9]{1,3}([._-]{0,2}[a-z0-9]{1,2}){0,2}(/[a-z0-9]{1,3}){0,2}";
        let tag = "(:[a-zA-Z0-9._-]{0,4})?";
        let digest = prop_oneof![
            3 => Just(String::new()),
            1 => Just(format!("@{SHA256}")),
            1 => "@sha256:[0-9a-f]{60,68}",
        ];
        (registry, path, tag, digest).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(text in written()) {
            if let Ok(reference) = ImageReference::parse(&text) {
                let again = ImageReference::parse(&reference.to_string()).expect("it was written");
                prop_assert_eq!(&again, &reference);
                let name = ImageReference::parse(&reference.name()).expect("it was written");
                prop_assert!(name.same_image(&reference));
                prop_assert_eq!(name.name(), reference.name());
            }
        }

        /// That crate compiles a regular expression to 12 MB, more than an agent may need in all: it is only the oracle here.
        #[test]
        fn another_reader_of_the_grammar_agrees(text in written()) {
            // It takes a first part with capital letters for a part of the path, and one with an underscore for a host.
            let first = text.split_once('/').map_or("", |(first, _)| first);
            prop_assume!(!first.contains(|c: char| c.is_uppercase() || c == '_'));
            let theirs = oci_spec::distribution::Reference::try_from(text.as_str());
            match (ImageReference::parse(&text), theirs) {
                (Ok(ours), Ok(theirs)) => {
                    prop_assert_eq!(ours.to_string(), theirs.whole());
                    prop_assert_eq!(ours.registry(), theirs.registry());
                    prop_assert_eq!(ours.tag(), theirs.tag());
                    prop_assert_eq!(ours.digest(), theirs.digest());
                }
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{text}: {ours:?} {theirs:?}"),
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,40}") {
            drop(ImageReference::parse(&text).map(|reference| reference.to_string()));
        }
    }
}
