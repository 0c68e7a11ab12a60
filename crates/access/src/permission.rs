//! What can be allowed, and the roles that bundle it.

use std::fmt;
use std::str::FromStr;

/// Something that a route needs. The names are the scopes of API keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Permission {
    /// Query metrics, and read what is said about them.
    MetricsRead,
    /// Send metrics.
    MetricsWrite,
    /// Read, tail and query events.
    EventsRead,
    /// Send events.
    EventsWrite,
    /// See image pulls.
    PullsRead,
    /// Report image pulls.
    PullsWrite,
    /// Change rules, dashboards, webhooks and schemas.
    RulesWrite,
    /// Manage the keys, users and limits of the own tenant, and read its usage and audit log. For those who may act
    /// in every tenant also the tenants themselves, the configuration and the profiles.
    Admin,
}

impl Permission {
    /// All permissions, in order.
    pub const ALL: [Self; 8] = [
        Self::MetricsRead,
        Self::MetricsWrite,
        Self::EventsRead,
        Self::EventsWrite,
        Self::PullsRead,
        Self::PullsWrite,
        Self::RulesWrite,
        Self::Admin,
    ];

    /// Returns the name, as in `metrics:read`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetricsRead => "metrics:read",
            Self::MetricsWrite => "metrics:write",
            Self::EventsRead => "events:read",
            Self::EventsWrite => "events:write",
            Self::PullsRead => "pulls:read",
            Self::PullsWrite => "pulls:write",
            Self::RulesWrite => "rules:write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no permission or role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{name}' is unknown; known are: {known}")]
pub struct UnknownName {
    name: String,
    known: String,
}

impl UnknownName {
    pub(crate) fn new<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        Self { name: name.to_owned(), known: known.collect::<Vec<_>>().join(", ") }
    }
}

impl FromStr for Permission {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|permission| permission.as_str() == name);
        found.ok_or_else(|| UnknownName::new(name, Self::ALL.iter().map(|known| known.as_str())))
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(u16);

impl PermissionSet {
    /// No permission.
    pub const NONE: Self = Self(0);

    /// Returns the set of `permissions`.
    #[must_use]
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut rest = permissions;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first as u16;
            rest = tail;
        }
        Self(bits)
    }

    /// Returns whether `permission` is in the set.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }

    /// Returns whether all of `other` is in the set.
    #[must_use]
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns what is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Iterates in order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

/// A usual bundle of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads everything, sends, and changes rules and dashboards.
    Editor,
    /// Reads everything.
    Viewer,
    /// Sends metrics and events, reads nothing.
    Ingest,
    /// Reports image pulls, reads nothing.
    Agent,
}

impl Role {
    /// All roles, the mightiest first.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Editor, Self::Viewer, Self::Ingest, Self::Agent];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::Ingest => "ingest",
            Self::Agent => "agent",
        }
    }

    /// Returns what the role allows.
    #[must_use]
    pub const fn permissions(self) -> PermissionSet {
        use Permission::{
            EventsRead, EventsWrite, MetricsRead, MetricsWrite, PullsRead, PullsWrite, RulesWrite,
        };
        match self {
            Self::Admin => PermissionSet::of(&Permission::ALL),
            Self::Editor => PermissionSet::of(&[
                MetricsRead,
                MetricsWrite,
                EventsRead,
                EventsWrite,
                PullsRead,
                RulesWrite,
            ]),
            Self::Viewer => PermissionSet::of(&[MetricsRead, EventsRead, PullsRead]),
            Self::Ingest => PermissionSet::of(&[MetricsWrite, EventsWrite]),
            Self::Agent => PermissionSet::of(&[PullsWrite]),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == name);
        found.ok_or_else(|| UnknownName::new(name, Self::ALL.iter().map(|known| known.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for permission in Permission::ALL {
            assert_eq!(permission.to_string().parse(), Ok(permission));
        }
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        let error = "root".parse::<Role>().expect_err("no role");
        assert_eq!(
            error.to_string(),
            "'root' is unknown; known are: admin, editor, viewer, ingest, agent"
        );
    }

    #[test]
    fn roles_allow_what_their_names_say() {
        let table: [(Role, &str); 5] = [
            (
                Role::Admin,
                "metrics:read metrics:write events:read events:write pulls:read pulls:write \
                 rules:write admin",
            ),
            (
                Role::Editor,
                "metrics:read metrics:write events:read events:write pulls:read rules:write",
            ),
            (Role::Viewer, "metrics:read events:read pulls:read"),
            (Role::Ingest, "metrics:write events:write"),
            (Role::Agent, "pulls:write"),
        ];
        for (role, expected) in table {
            let names: Vec<&str> = role.permissions().iter().map(Permission::as_str).collect();
            assert_eq!(names.join(" "), expected, "{role}");
        }
    }

    #[test]
    fn a_set_contains_what_it_is_made_of() {
        let set = PermissionSet::of(&[Permission::Admin, Permission::PullsRead]);
        assert!(set.contains(Permission::Admin) && !set.contains(Permission::PullsWrite));
        assert!(set.contains_all(PermissionSet::of(&[Permission::Admin])));
        assert!(!set.contains_all(Role::Agent.permissions()));
        assert!(set.union(Role::Agent.permissions()).contains(Permission::PullsWrite));
    }
}
