//! A PostgreSQL for tests: started where Debian installs it, in a temporary folder, on a free port of the loopback.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::PgPoolOptions;

use crate::StateUrl;

/// Where Debian puts the programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Versions that are looked for, the first found is used.
const KNOWN: [&str; 4] = ["18", "17", "16", "15"];

/// Longest that the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running PostgreSQL. It stops, and its files go, when it is dropped.
#[derive(Debug)]
pub struct PostgresCluster {
    server: Child,
    port: u16,
    databases: AtomicU32,
    _folder: tempfile::TempDir,
}

impl PostgresCluster {
    /// Starts a server. Where PostgreSQL is not installed, says so and returns `None`: the test is skipped.
    ///
    /// # Panics
    ///
    /// It does not start.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever runs the tests should know")]
    pub fn start() -> Option<Self> {
        let programs = KNOWN.map(|version| Path::new(VERSIONS).join(version).join("bin"));
        let Some(programs) = programs.into_iter().find(|folder| folder.join("initdb").exists())
        else {
            eprintln!("skipped: PostgreSQL is not installed (Debian's package postgresql)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let user = (user_id("root") == own_user_id()).then(|| user_id("postgres"));
        if let Some(user) = user {
            chown(folder.path(), Some(user), None).expect("a folder of postgres");
        }
        let data = folder.path().join("data");
        let made = command(&programs, "initdb", user)
            .arg("--pgdata")
            .arg(&data)
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg("--no-sync")
            .output()
            .expect("initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let server = command(&programs, "postgres", user)
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off"])
            .args(["-c", "full_page_writes=off", "-c", "autovacuum=off"])
            .spawn()
            .expect("postgres");
        Some(Self { server, port, databases: AtomicU32::new(0), _folder: folder })
    }

    /// Returns the address of a new, empty database.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    pub async fn new_database(&self) -> StateUrl {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let url = |name: &str| format!("postgres://postgres@127.0.0.1:{}/{name}", self.port);
        // A pool tries again while the server is not listening yet.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(START_TIMEOUT)
            .connect(&url("postgres"))
            .await
            .expect("a server that listens");
        let sql = format!("CREATE DATABASE test_{number}");
        let created = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await;
        created.expect("a new database");
        pool.close().await;
        StateUrl::Postgres { url: SecretString::from(url(&format!("test_{number}"))) }
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        let id = self.server.id().to_string();
        // A fast end: clients are cut off. Whatever goes wrong, the next lines end it.
        let asked = Command::new("kill").args(["-INT", &id]).status();
        if asked.is_ok_and(|status| status.success()) {
            _ = self.server.wait();
        } else {
            _ = self.server.kill();
        }
    }
}

/// Returns a command of PostgreSQL, which refuses to run as root.
fn command(programs: &Path, name: &str, user: Option<u32>) -> Command {
    let program: PathBuf = programs.join(name);
    let mut command = match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user.to_string(), "--clear-groups"]).arg(program);
            command
        }
    };
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn user_id(name: &str) -> u32 {
    id(&["-u", name])
}

fn own_user_id() -> u32 {
    id(&["-u"])
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}
