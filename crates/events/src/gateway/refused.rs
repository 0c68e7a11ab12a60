//! Why an event is not stored.

use std::fmt;
use std::time::Duration;

use schema::{Invalid, Violation};

/// Why an event is not stored: now or later, however often it is sent.
///
/// It is told as the sentence that belongs into the result of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no event: the bytes or the JSON cannot be read as one.
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// Fields have values that they must not have.
    Invalid(Vec<Violation>),
    /// Something that the event must have is missing, in the original's words.
    Incomplete(&'static str),
    /// It is longer than an event may be.
    TooLarge {
        /// Its length in binary form, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The key is for another app.
    ForeignApp {
        /// The app that the key is for.
        allowed: Box<str>,
    },
    /// It happened too long ago.
    TooOld {
        /// How old events may be.
        past_max: Duration,
    },
    /// It happens in the future.
    TooNew {
        /// How far ahead they may be.
        future_max: Duration,
    },
    /// A custom event does not fit the schema that is enforced for it.
    Schema(Vec<Violation>),
    /// Another event was stored with its idempotency key.
    Conflict {
        /// The identifier of the other one.
        id: Box<str>,
    },
}

impl Refused {
    /// Names of all reasons, ascending, as series have them.
    pub const REASONS: [&'static str; 7] =
        ["app", "conflict", "invalid", "malformed", "schema", "time", "too_large"];

    /// Returns the name of the reason: one of [`Refused::REASONS`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Invalid(_) | Self::Incomplete(_) => "invalid",
            Self::TooLarge { .. } => "too_large",
            Self::ForeignApp { .. } => "app",
            Self::TooOld { .. } | Self::TooNew { .. } => "time",
            Self::Schema(_) => "schema",
            Self::Conflict { .. } => "conflict",
        }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Violations(violations) => Self::Invalid(violations),
            Invalid::Rejected(sentence) => Self::Incomplete(sentence),
            malformed @ Invalid::Malformed { .. } => {
                Self::Malformed { reason: malformed.to_string() }
            }
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { reason } => f.write_str(reason),
            Self::Invalid(violations) | Self::Schema(violations) => {
                for (index, violation) in violations.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{}: {}", violation.field, violation.description)?;
                }
                Ok(())
            }
            Self::Incomplete(sentence) => f.write_str(sentence),
            Self::TooLarge { bytes, limit_bytes } => {
                write!(f, "event of {bytes} bytes is longer than the limit of {limit_bytes} bytes")
            }
            Self::ForeignApp { allowed } => {
                write!(f, "app_id must be '{allowed}', the app that the API key is for")
            }
            Self::TooOld { past_max } => {
                write!(f, "timestamp_ms is more than {} in the past", Rough(*past_max))
            }
            Self::TooNew { future_max } => {
                write!(f, "timestamp_ms is more than {} in the future", Rough(*future_max))
            }
            Self::Conflict { id } => {
                write!(f, "idempotency_key belongs to another event, {id}; this one is not stored")
            }
        }
    }
}

/// A duration in its largest whole unit.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        for (unit, length) in [("d", 86_400), ("h", 3_600), ("min", 60)] {
            if seconds >= length && seconds.is_multiple_of(length) {
                return write!(f, "{} {unit}", seconds / length);
            }
        }
        write!(f, "{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_their_largest_whole_unit() {
        for (seconds, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_600, "1 h"),
            (5_400, "90 min"),
            (172_800, "2 d"),
        ] {
            assert_eq!(Rough(Duration::from_secs(seconds)).to_string(), expected);
        }
    }
}
