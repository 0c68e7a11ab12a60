//! Tenants: who data belongs to.

use std::fmt;
use std::sync::Arc;

/// The name of a tenant: 1 to 64 ASCII letters, digits, `_`, `-` and `.`, the first a letter or digit.
///
/// Such a name is safe as a folder, a label value and a header value. Upper and lower case differ. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Longest name of a tenant, in bytes.
const TENANT_BYTES_MAX: usize = 64;

/// Why a text names no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tenant's name has 1 to 64 letters, digits, '_', '-' and '.', and begins with a letter or digit"
)]
pub struct TenantIdError;

impl TenantId {
    /// The tenant of those who name none.
    pub const DEFAULT: &'static str = "default";

    /// Returns the name, checked.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, TenantIdError> {
        let mut bytes = name.bytes();
        let begins_well = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
        let goes_on_well =
            bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if begins_well && goes_on_well && name.len() <= TENANT_BYTES_MAX {
            Ok(Self(name.into()))
        } else {
            Err(TenantIdError)
        }
    }

    /// Returns the tenant of those who name none.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self(Self::DEFAULT.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_folder() {
        let longest = "a".repeat(TENANT_BYTES_MAX);
        for (name, valid) in [
            ("default", true),
            ("Team-A_1.eu", true),
            (longest.as_str(), true),
            (&format!("{longest}a"), false),
            ("", false),
            (".", false),
            ("..", false),
            ("../x", false),
            ("a/b", false),
            ("-a", false),
            ("a b", false),
            ("ä", false),
            ("a\n", false),
        ] {
            assert_eq!(TenantId::new(name).is_ok(), valid, "{name:?}");
        }
    }
}
