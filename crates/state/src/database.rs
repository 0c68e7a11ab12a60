//! The database: one way to speak to both engines.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use platform::{Clock, Fs, FsError, FsErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};

use crate::error::StateError;
use crate::value::{Row, Statement, Value};

mod postgres;
mod sqlite;

/// Connections for reading SQLite; one more writes.
const SQLITE_READERS_MAX: u32 = 4;

/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS_MAX: u32 = 8;

/// Longest that a connection is waited for, and that SQLite waits for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest that the database may take for an operation.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the state database is.
#[derive(Clone, Debug)]
pub enum StateUrl {
    /// In a file of its own; its folder exists. `…-wal` and `…-shm` belong to it.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// On a server.
    Postgres {
        /// `postgres://user:password@host:port/database?sslmode=verify-full`.
        url: SecretString,
    },
}

/// The state database. Cheap to clone; every clone uses the same connections.
///
/// What was changed without an error survives a crash and a power loss. Every operation ends within 30 s.
/// Futures may be dropped: what was not committed is then undone, or, at the very end, done.
#[derive(Clone)]
pub struct Database {
    engine: Engine,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum Engine {
    /// SQLite lets one write at a time: one connection for it, so that nobody waits with a half-done transaction.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.engine_name()).finish()
    }
}

impl Database {
    /// Opens the database, creating the file if need be, and brings its schema up to date. Several processes may have
    /// it open.
    ///
    /// SQLite works on the machine's own file system: `fs` makes the file, private to its owner, and no more.
    ///
    /// # Errors
    ///
    /// It cannot be reached or created, is damaged, or is newer than this program.
    pub async fn open(
        url: StateUrl,
        fs: &dyn Fs,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StateError> {
        let engine = match url {
            StateUrl::Sqlite { path } => open_sqlite(path, fs).await?,
            StateUrl::Postgres { url } => open_postgres(&url)?,
        };
        let database = Self { engine, clock };
        database.in_time(database.migrate()).await?;
        Ok(database)
    }

    /// Returns the name of the engine: `sqlite` or `postgres`.
    #[must_use]
    pub const fn engine_name(&self) -> &'static str {
        match &self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Returns the rows that a statement selects. It must not change anything, and should say how many rows at most.
    ///
    /// # Errors
    ///
    /// See [`StateError`].
    pub async fn query(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StateError> {
        self.in_time(async {
            match &self.engine {
                Engine::Sqlite { readers, .. } => sqlite::query(readers, sql, values).await,
                Engine::Postgres(pool) => postgres::query(pool, sql, values).await,
            }
        })
        .await
    }

    /// Runs a statement that changes something, and returns the number of rows that it changed.
    ///
    /// # Errors
    ///
    /// See [`StateError`].
    pub async fn execute(&self, sql: &'static str, values: &[Value]) -> Result<u64, StateError> {
        let affected = self.transaction(&[Statement::new(sql, values)]).await?;
        Ok(affected.first().copied().unwrap_or_default())
    }

    /// Runs statements in order, all or none, and returns how many rows each changed.
    ///
    /// On PostgreSQL each statement sees what others committed before it began; whoever needs more changes a common
    /// row first. On SQLite nobody else writes meanwhile.
    ///
    /// # Errors
    ///
    /// See [`StateError`]; nothing was changed then, except that [`StateError::TimedOut`] leaves it open.
    pub async fn transaction(&self, statements: &[Statement]) -> Result<Vec<u64>, StateError> {
        self.in_time(async {
            match &self.engine {
                Engine::Sqlite { writer, .. } => sqlite::transaction(writer, statements).await,
                Engine::Postgres(pool) => postgres::transaction(pool, statements).await,
            }
        })
        .await
    }

    /// Waits for what is under way and closes the connections. Every later operation is an error.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    async fn migrate(&self) -> Result<(), StateError> {
        let now = self.clock.now().as_millis();
        match &self.engine {
            Engine::Sqlite { writer, .. } => sqlite::migrate(writer, now).await,
            Engine::Postgres(pool) => postgres::migrate(pool, now).await,
        }
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let deadline = self.clock.monotonic() + OPERATION_TIMEOUT;
        tokio::select! {
            biased;
            result = work => result,
            () = self.clock.sleep_until(deadline) => {
                Err(StateError::TimedOut { seconds: OPERATION_TIMEOUT.as_secs() })
            }
        }
    }
}

async fn open_sqlite(path: PathBuf, fs: &dyn Fs) -> Result<Engine, StateError> {
    match create_sqlite(&path, fs) {
        Err(source) if source.kind != FsErrorKind::AlreadyExists => {
            return Err(StateError::Create { path, source });
        }
        _ => {}
    }
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let pool = |connections_max| {
        PoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // The writer first: it turns the write-ahead log on, which readers cannot.
    let writer = pool(1).connect_with(options.clone()).await?;
    let readers = pool(SQLITE_READERS_MAX).connect_lazy_with(options.pragma("query_only", "ON"));
    Ok(Engine::Sqlite { writer, readers })
}

/// Creates the file, so that a power loss does not take it away again.
fn create_sqlite(path: &Path, fs: &dyn Fs) -> Result<(), FsError> {
    drop(fs.create_private(path)?);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs.sync_dir(folder.unwrap_or(Path::new(".")))
}

fn open_postgres(url: &SecretString) -> Result<Engine, StateError> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|source| StateError::Address { source: Box::new(source) })?
        .application_name("tinyobs")
        .disable_statement_logging();
    let pool = PoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_lazy_with(options);
    Ok(Engine::Postgres(pool))
}
