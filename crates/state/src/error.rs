//! What can go wrong with the state database.

use std::path::PathBuf;

use sqlx::error::{DatabaseError, ErrorKind};

/// Why the state database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be reached or is busy: the same may work later.
    #[error("the state database is not available")]
    Unavailable {
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It did not answer in time. A change may or may not have been made.
    #[error("the state database did not answer within {seconds} s")]
    TimedOut {
        /// How long it was waited, in seconds.
        seconds: u64,
    },
    /// What was to be added is there already.
    #[error("the state database has this already")]
    Conflict {
        /// Its own words, with the name of the constraint.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A statement of a transaction changed another number of rows than it must: nothing was changed.
    #[error("statement {statement} of the transaction changed {affected} rows")]
    Unmet {
        /// Which one, counted from 0.
        statement: usize,
        /// How many rows it changed.
        affected: u64,
    },
    /// Its disk is full.
    #[error("the disk of the state database is full; free some space")]
    NoSpace {
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its file is not what was written.
    #[error("the state database is damaged; restore it from a backup")]
    Damaged {
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer program has migrated it.
    #[error(
        "the state database has version {found}, this program knows {known}; start the newer program, or restore a \
         backup from before the update"
    )]
    Newer {
        /// The version of its schema.
        found: i64,
        /// The last version that this program knows.
        known: i64,
    },
    /// The file cannot be made.
    #[error("cannot create the state database '{}'", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: platform::FsError,
    },
    /// The address of the database cannot be read.
    #[error("the address of the state database is not of the form 'postgres://user@host/database'")]
    Address {
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A statement is refused, or a column has not the type that was asked for: schema and program do not fit.
    #[error("the state database refuses a statement")]
    Statement {
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A column that holds something else than what the program expects.
#[derive(Debug, thiserror::Error)]
#[error("column {column} is no {expected}")]
pub(crate) struct ColumnError {
    pub(crate) column: usize,
    pub(crate) expected: &'static str,
}

impl StateError {
    /// Returns whether the same may work later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. } | Self::NoSpace { .. })
    }

    pub(crate) fn column(column: usize, expected: &'static str) -> Self {
        Self::Statement { source: Box::new(ColumnError { column, expected }) }
    }
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) => {
                let kind = kind_of(inner.as_ref());
                kind.with(Box::new(error))
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Kind::Unavailable.with(Box::new(error)),
            sqlx::Error::Configuration(_) => Self::Address { source: Box::new(error) },
            _ => Kind::Statement.with(Box::new(error)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Conflict,
    NoSpace,
    Damaged,
    Statement,
}

impl Kind {
    fn with(self, source: Box<sqlx::Error>) -> StateError {
        match self {
            Self::Unavailable => StateError::Unavailable { source },
            Self::Conflict => StateError::Conflict { source },
            Self::NoSpace => StateError::NoSpace { source },
            Self::Damaged => StateError::Damaged { source },
            Self::Statement => StateError::Statement { source },
        }
    }
}

fn kind_of(error: &dyn DatabaseError) -> Kind {
    if error.kind() == ErrorKind::UniqueViolation {
        return Kind::Conflict;
    }
    let code = error.code().unwrap_or_default();
    // SQLSTATE has five characters; the codes of SQLite are numbers below 10,000, the lowest byte says what it is.
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => sqlite_kind(number & 0xFF),
        _ => postgres_kind(&code),
    }
}

/// <https://www.sqlite.org/rescode.html>
const fn sqlite_kind(code: u32) -> Kind {
    match code {
        // Busy, locked, read-only, interrupted, I/O error, cannot open, protocol.
        5 | 6 | 8 | 9 | 10 | 14 | 15 => Kind::Unavailable,
        13 => Kind::NoSpace,
        11 | 26 => Kind::Damaged,
        _ => Kind::Statement,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres_kind(code: &str) -> Kind {
    match code {
        "53100" => Kind::NoSpace,
        // Serialisation failure, deadlock, lock not available, statement time-out, read-only transaction.
        "40001" | "40P01" | "55P03" | "25006" => Kind::Unavailable,
        "XX001" | "XX002" => Kind::Damaged,
        // Connection, authorisation, database unknown, resources, operator intervention, system error.
        _ if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            Kind::Unavailable
        }
        _ => Kind::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done() {
        for (code, expected) in [
            ("40001", Kind::Unavailable),
            ("57P01", Kind::Unavailable),
            ("08006", Kind::Unavailable),
            ("53300", Kind::Unavailable),
            ("53100", Kind::NoSpace),
            ("XX001", Kind::Damaged),
            ("42601", Kind::Statement),
        ] {
            assert_eq!(postgres_kind(code), expected, "{code}");
        }
        for (code, expected) in
            [(5, Kind::Unavailable), (13, Kind::NoSpace), (26, Kind::Damaged), (1, Kind::Statement)]
        {
            assert_eq!(sqlite_kind(code), expected, "{code}");
        }
    }
}
