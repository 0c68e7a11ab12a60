//! The steps by which the schema came to be. They only go forward, and what is released is never changed.

use crate::error::StateError;

/// A step.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

/// All steps, in order. The same text runs on both engines.
pub(crate) const MIGRATIONS: [Migration; 3] = [
    Migration { version: 1, name: "access", sql: include_str!("../migrations/0001_access.sql") },
    Migration {
        version: 2,
        name: "event_schemas",
        sql: include_str!("../migrations/0002_event_schemas.sql"),
    },
    Migration { version: 3, name: "pulls", sql: include_str!("../migrations/0003_pulls.sql") },
];

/// What remembers the steps that were taken.
pub(crate) const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
     (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

pub(crate) const INSERT: &str =
    "INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)";

pub(crate) const SELECT_VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_migrations";

/// Returns the steps that are missing in a database of version `found`.
///
/// # Errors
///
/// It is newer than this program.
pub(crate) fn missing(found: i64) -> Result<&'static [Migration], StateError> {
    const STEPS: &[Migration] = &MIGRATIONS;
    let known = STEPS.last().map_or(0, |last| last.version);
    if found > known {
        return Err(StateError::Newer { found, known });
    }
    let done = STEPS.iter().take_while(|step| step.version <= found).count();
    Ok(STEPS.get(done..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_from_one() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=MIGRATIONS.len() as i64).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_missing_follows_what_is_there_and_newer_is_refused() {
        assert_eq!(missing(0).expect("known").len(), MIGRATIONS.len());
        assert!(missing(MIGRATIONS.len() as i64).expect("known").is_empty());
        let newer = MIGRATIONS.len() as i64 + 1;
        assert!(matches!(missing(newer), Err(StateError::Newer { found, .. }) if found == newer));
    }
}
