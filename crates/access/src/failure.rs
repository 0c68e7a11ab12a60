//! Why a change is not made and a login refused.

use std::time::Duration;

use state::StateError;

use crate::password::PasswordError;
use crate::quota::LimitsError;

/// Why the services say no.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The state database fails. It says nothing about who somebody is.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such thing, or not in this tenant.
    #[error("{what} '{id}' does not exist")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Under which identifier.
        id: String,
    },
    /// Whoever asks has not the right.
    #[error("{reason}")]
    Forbidden {
        /// What is missing.
        reason: &'static str,
    },
    /// There is one already.
    #[error("{what} '{id}' exists already")]
    Exists {
        /// What was to be added.
        what: &'static str,
        /// Under which name.
        id: String,
    },
    /// Somebody else changed it, or removed it, since it was looked at.
    #[error("{what} '{id}' was changed by somebody else meanwhile; look at it again")]
    Changed {
        /// What it is.
        what: &'static str,
        /// Under which identifier.
        id: String,
    },
    /// There are as many as are allowed.
    #[error("there are {max} {what} already, and no more are allowed; remove some")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: u64,
    },
    /// A value is not allowed.
    #[error("invalid {field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// Afterwards nobody could manage the server any more.
    #[error(
        "this is the last administrator of all tenants; make another one first, or configure a bootstrap key"
    )]
    LastAdministrator,
    /// The password is not allowed, or cannot be hashed now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A key of the configuration is known to everybody, or not of the form.
    #[error("the {which} {reason}; make one with `openssl rand -hex 32`")]
    ConfiguredKey {
        /// Which.
        which: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A row cannot be understood: somebody changed the database by hand, or it is damaged.
    #[error("the {what} '{id}' in the state database cannot be read")]
    Row {
        /// What it is.
        what: &'static str,
        /// Under which identifier.
        id: String,
        /// Why.
        source: RowError,
    },
}

/// What is wrong in a row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The limits.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// Something else.
    #[error("column '{column}' has an unknown value")]
    Column {
        /// Which.
        column: &'static str,
    },
}

impl AccessError {
    /// Returns whether the same may work later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::State(error) => error.is_retryable(),
            Self::Password(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no such user, or it is not their password, or they are disabled: which one is not told.
    #[error("user name or password is wrong")]
    Wrong,
    /// Too many attempts failed.
    #[error("too many attempts failed; try again in {} s", retry_after.as_secs().max(1))]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// The login could not be checked.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl From<StateError> for LoginError {
    fn from(error: StateError) -> Self {
        Self::Access(error.into())
    }
}

impl From<PasswordError> for LoginError {
    fn from(error: PasswordError) -> Self {
        Self::Access(error.into())
    }
}
