//! What tells pulls apart.

use std::fmt::Write as _;
use std::sync::Arc;

use model::TenantId;
use ring::digest;

/// What tells a running pull from the others of its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Its agent gave it an identifier, from which this one is made.
    Identified(Arc<str>),
    /// An original agent knows the name of its image.
    Named(Arc<str>),
    /// All that an original agent sees as digests only.
    Digests,
}

/// Where pulls are.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    pub(crate) tenant: TenantId,
    pub(crate) cluster: Arc<str>,
    pub(crate) node: Arc<str>,
}

impl Whereabouts {
    /// Returns the identifier of a pull: 32 hexadecimal digits, the same for the same parts.
    ///
    /// The length of each part is hashed before it, so that no two lists of parts are the same text.
    pub(crate) fn pull_id(&self, parts: &[&[u8]]) -> Arc<str> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let place = [self.tenant.as_str(), &self.cluster, &self.node];
        for part in place.iter().map(|part| part.as_bytes()).chain(parts.iter().copied()) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = String::with_capacity(32);
        for byte in hash.finish().as_ref().iter().take(16) {
            // Writing to a string does not fail.
            _ = write!(id, "{byte:02x}");
        }
        id.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(cluster: &str, node: &str, parts: &[&[u8]]) -> Arc<str> {
        let tenant = TenantId::default_tenant();
        Whereabouts { tenant, cluster: cluster.into(), node: node.into() }.pull_id(parts)
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let ids = [
            id("", "ab", &[b"c"]),
            id("", "a", &[b"bc"]),
            id("a", "b", &[b"c"]),
            id("", "ab", &[b"c", b""]),
            id("", "a", &[b"b", b"c"]),
            id("", "a:__merged__", &[b""]),
            id("", "a", &[b":__merged__"]),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 32);
            assert!(!ids[..index].contains(id), "{index}");
        }
        assert_eq!(ids[0], id("", "ab", &[b"c"]));
    }
}
