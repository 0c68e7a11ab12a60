//! Who sends a request.

use std::fmt;
use std::sync::Arc;

use model::TenantId;

use crate::permission::{Permission, PermissionSet};

/// What made us believe who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// Nobody was asked: there is no login.
    Anonymous,
    /// An API key.
    Key {
        /// Its identifier, not the key itself.
        id: Arc<str>,
    },
    /// A session of a person.
    User {
        /// The user's identifier.
        id: Arc<str>,
    },
    /// A client certificate.
    Certificate {
        /// Its subject's common name.
        name: Arc<str>,
    },
}

/// Who sends a request, and what they may do. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What made us believe it.
    pub kind: PrincipalKind,
    /// The name that people gave the key or user.
    pub name: Arc<str>,
    /// Whose data is read and written.
    pub tenant: TenantId,
    /// Whether `X-Scope-OrgID` may name another tenant, and tenants and the server may be managed.
    pub all_tenants: bool,
    /// The application that events must belong to; `None` for any.
    pub app: Option<Arc<str>>,
    /// What is allowed.
    pub permissions: PermissionSet,
}

impl Principal {
    /// Returns who everybody is where there is no login: allowed everything, in the default tenant until told
    /// otherwise.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            name: "anonymous".into(),
            tenant: TenantId::default_tenant(),
            all_tenants: true,
            app: None,
            permissions: PermissionSet::of(&Permission::ALL),
        }
    }

    /// Returns whether `permission` is granted.
    #[must_use]
    pub const fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }
}

impl fmt::Display for Principal {
    /// For logs and the audit log: `key 0194…`, `user 0195…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            PrincipalKind::Anonymous => f.write_str("anonymous"),
            PrincipalKind::Key { id } => write!(f, "key {id}"),
            PrincipalKind::User { id } => write!(f, "user {id}"),
            PrincipalKind::Certificate { name } => write!(f, "certificate {name}"),
        }
    }
}
