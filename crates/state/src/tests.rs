//! What both engines promise, and what only one does.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use platform::{SimClock, SystemClock, SystemFs, Timestamp};
use tempfile::TempDir;

use crate::migrations::MIGRATIONS;
use crate::{Database, PostgresCluster, Row, StateError, StateUrl, Statement, Value};

async fn open(url: StateUrl) -> Result<Database, StateError> {
    Database::open(url, &*SystemFs::new(), SystemClock::new()).await
}

fn in_folder(folder: &TempDir) -> StateUrl {
    StateUrl::Sqlite { path: folder.path().join("state.db") }
}

/// Runs each case on SQLite as a test of its own, and all on one PostgreSQL.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    let folder = tempfile::tempdir().expect("a folder");
                    super::$case(super::in_folder(&folder)).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_keeps_the_same_contract() {
            let Some(cluster) = PostgresCluster::start() else { return };
            $($case(cluster.new_database().await).await;)*
        }
    };
}

contract!(
    values_come_back_as_they_were,
    a_transaction_is_done_wholly_or_not_at_all,
    a_change_of_too_few_rows_undoes_the_transaction,
    what_was_there_is_there_after_it_is_opened_again,
    a_newer_database_is_refused,
    two_that_open_at_once_migrate_once,
    changes_at_once_are_all_made,
    a_closed_database_is_not_available,
    a_statement_that_does_not_fit_says_so,
);

const INSERT: &str = "INSERT INTO usage (tenant, day, kind, amount) VALUES ($1, $2, $3, $4)";
const SELECT: &str = "SELECT tenant, day, kind, amount FROM usage ORDER BY tenant, day, kind";
const ADD: &str = "UPDATE usage SET amount = amount + $2 WHERE tenant = $1";

fn usage(tenant: &str, amount: i64) -> Vec<Value> {
    vec![tenant.into(), 1_i64.into(), "samples".into(), amount.into()]
}

async fn stored(database: &Database) -> Vec<Row> {
    database.query(SELECT, &[]).await.expect("rows")
}

async fn values_come_back_as_they_were(url: StateUrl) {
    let database = open(url).await.expect("a database");
    let insert = "INSERT INTO audit \
         (id, at, tenant, actor, actor_name, action, target, outcome, detail, address, request_id) \
         VALUES ($1, $2, 't', 'a', 'a', 'a', '', 'done', '{}', $3, $4)";
    for (id, at, address) in [("1", i64::MIN, None), ("2", i64::MAX, Some("größer ✓ 'quoted'"))]
    {
        let values = [id.into(), at.into(), address.into(), Value::Null];
        assert_eq!(database.execute(insert, &values).await.expect("a row"), 1);
    }
    let select = "SELECT at, address, target, COUNT(*) FROM audit WHERE address IS NOT NULL OR at < $1 \
         GROUP BY id, at, address, target ORDER BY id";
    let rows = database.query(select, &[0_i64.into()]).await.expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].integer(0).expect("a number"), i64::MIN);
    assert_eq!(rows[0].optional_text(1).expect("nothing"), None);
    assert!(rows[0].text(1).is_err() && rows[0].integer(1).is_err() && rows[0].text(9).is_err());
    assert_eq!(rows[1].text(1).expect("a text"), "größer ✓ 'quoted'");
    assert_eq!(rows[1].text(2).expect("a text"), "");
    assert_eq!(rows[1].integer(3).expect("a number"), 1);
    assert!(rows[1].integer(1).is_err() && rows[1].boolean(3).expect("a truth"));
}

async fn a_transaction_is_done_wholly_or_not_at_all(url: StateUrl) {
    let database = open(url).await.expect("a database");
    let insert = |tenant| Statement::new(INSERT, usage(tenant, 1));
    let counts = database.transaction(&[insert("a"), insert("b")]).await.expect("both");
    assert_eq!(counts, [1, 1]);
    let again = database.transaction(&[insert("c"), insert("a")]).await;
    assert!(matches!(again, Err(StateError::Conflict { .. })), "{again:?}");
    assert_eq!(stored(&database).await.len(), 2);
}

async fn a_change_of_too_few_rows_undoes_the_transaction(url: StateUrl) {
    let database = open(url).await.expect("a database");
    let insert = Statement::new(INSERT, usage("a", 1)).affecting(1);
    let add = Statement::new(ADD, ["nobody".into(), 1_i64.into()]).affecting(1);
    let result = database.transaction(&[insert, add]).await;
    assert!(matches!(result, Err(StateError::Unmet { statement: 1, affected: 0 })), "{result:?}");
    assert!(stored(&database).await.is_empty());
}

async fn what_was_there_is_there_after_it_is_opened_again(url: StateUrl) {
    let database = open(url.clone()).await.expect("a database");
    database.execute(INSERT, &usage("a", 7)).await.expect("a row");
    database.close().await;
    let database = open(url).await.expect("the same database");
    assert_eq!(stored(&database).await, [Row(usage("a", 7))]);
}

async fn a_newer_database_is_refused(url: StateUrl) {
    let database = open(url.clone()).await.expect("a database");
    let newer = "INSERT INTO schema_migrations (version, name, applied_at) VALUES (1000, 'x', 0)";
    database.execute(newer, &[]).await.expect("a row");
    let refused = open(url).await;
    assert!(matches!(refused, Err(StateError::Newer { found: 1000, .. })), "{refused:?}");
}

async fn two_that_open_at_once_migrate_once(url: StateUrl) {
    let (one, other) = tokio::join!(open(url.clone()), open(url));
    let count = "SELECT COUNT(*) FROM schema_migrations";
    for database in [one.expect("a database"), other.expect("a database")] {
        let rows = database.query(count, &[]).await.expect("rows");
        assert_eq!(rows[0].integer(0).expect("a number"), MIGRATIONS.len() as i64);
    }
}

async fn changes_at_once_are_all_made(url: StateUrl) {
    let (one, other) = (open(url.clone()).await, open(url).await);
    let databases = [one.expect("a database"), other.expect("a database")];
    databases[0].execute(INSERT, &usage("a", 0)).await.expect("a row");
    let changes = (0..20).map(|index| {
        let database = databases[index % 2].clone();
        async move { database.execute(ADD, &["a".into(), 1_i64.into()]).await.expect("a change") }
    });
    futures_util::future::join_all(changes).await;
    assert_eq!(stored(&databases[0]).await, [Row(usage("a", 20))]);
}

async fn a_closed_database_is_not_available(url: StateUrl) {
    let database = open(url).await.expect("a database");
    database.close().await;
    let error = database.query(SELECT, &[]).await.expect_err("closed");
    assert!(matches!(error, StateError::Unavailable { .. }) && error.is_retryable(), "{error:?}");
}

async fn a_statement_that_does_not_fit_says_so(url: StateUrl) {
    let database = open(url).await.expect("a database");
    let error = database.query("SELECT * FROM nothing", &[]).await.expect_err("no table");
    assert!(matches!(error, StateError::Statement { .. }) && !error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn files_of_sqlite_are_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(in_folder(&folder)).await.expect("a database");
    database.execute(INSERT, &usage("a", 1)).await.expect("a row");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = mode(&folder.path().join(name));
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("a file").permissions().mode()
}

#[tokio::test]
async fn queries_on_sqlite_cannot_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(in_folder(&folder)).await.expect("a database");
    assert!(database.query(INSERT, &usage("a", 1)).await.is_err());
    assert!(stored(&database).await.is_empty());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test that makes a broken file")]
async fn a_file_that_is_no_database_is_damaged_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    let content = [b'x'; 8_192];
    std::fs::write(&path, content).expect("a file");
    let error = open(in_folder(&folder)).await.expect_err("no database");
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).expect("a file"), content);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_named() {
    let url = StateUrl::Sqlite { path: "/no/such/folder/state.db".into() };
    let error = open(url).await.expect_err("no folder");
    assert_eq!(error.to_string(), "cannot create the state database '/no/such/folder/state.db'");
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_not_shown() {
    let url = StateUrl::Postgres { url: "postgres://me:hunter2@host:port/x".into() };
    assert!(!format!("{url:?}").contains("hunter2"));
    let error = open(url).await.expect_err("no port");
    assert!(matches!(error, StateError::Address { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let clock = SimClock::new(Timestamp::from_millis(0));
    let fs = SystemFs::new();
    let url = StateUrl::Postgres { url: format!("postgres://me@127.0.0.1:{port}/x").into() };
    let (opened, ()) = tokio::join!(
        biased;
        Database::open(url, &*fs, Arc::new(Arc::clone(&clock))),
        async { clock.advance(Duration::from_secs(30)) }
    );
    let error = opened.expect_err("no answer");
    assert!(matches!(error, StateError::TimedOut { seconds: 30 }), "{error:?}");
}
