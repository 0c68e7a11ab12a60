//! Real servers of NATS for tests: started on free ports of 127.0.0.1, killed and started again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The program, as Debian and the official archives call it.
const PROGRAM: &str = "nats-server";

/// Returns whether there is a server to test with; says so in one line when there is none.
#[must_use]
#[expect(clippy::print_stderr, reason = "the only way to say that a test did not run")]
pub fn is_available() -> bool {
    let found = Command::new(PROGRAM)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: there is no {PROGRAM}");
    }
    found
}

/// A server with JetStream, and a folder of its own. Dropping it kills it and removes the folder.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    folder: TempDir,
    process: Option<Child>,
}

impl NatsServer {
    /// Starts a server; `None` when there is no program to start.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with_configuration(|_folder| String::new())
    }

    /// Starts a server with more configuration, which may name files that the function puts into the server's folder.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn with_configuration(more: impl FnOnce(&Path) -> String) -> Option<Self> {
        is_available().then(|| Self::new(free_port(), more))
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    fn new(port: u16, more: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let more = more(folder.path());
        let store = folder.path().join("store");
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"\n\
             log_file: \"{}\"\n\
             jetstream {{ store_dir: \"{}\", max_mem: 268435456, max_file: 17179869184 }}\n{more}\n",
            folder.path().join("log").display(),
            store.display(),
        );
        std::fs::write(folder.path().join("nats.conf"), configuration).expect("a file");
        let mut server = Self { port, folder, process: None };
        server.restart();
        server
    }

    /// Returns where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the port that clients find it at.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it without warning, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _killed = process.kill();
            let _ended = process.wait();
        }
    }

    /// Ends it as an administrator does: what it remembers of consumers is on disk then, which it is not after
    /// [`NatsServer::kill`].
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let told = Command::new("kill").arg(process.id().to_string()).status();
            assert!(told.is_ok_and(|status| status.success()), "the server is told to end");
            process.wait().expect("it ends");
        }
    }

    /// Starts it again with what it has on disk, after it was stopped or killed.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        let process = Command::new(PROGRAM)
            .arg("-c")
            .arg(self.folder.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        self.process = Some(process);
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Servers that keep copies of each other's streams.
#[derive(Debug)]
pub struct NatsCluster {
    /// The servers.
    pub nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers; `None` when there is no program to start.
    ///
    /// # Panics
    ///
    /// When they cannot be started.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !is_available() {
            return None;
        }
        let routes: Vec<u16> = free_ports(3);
        let urls: Vec<String> =
            routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let nodes = routes.iter().enumerate().map(|(index, route)| {
            let more = format!(
                "server_name: \"n{index}\"\n\
                 cluster {{ name: \"test\", listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                urls.join(", ")
            );
            NatsServer::new(free_port(), |_folder| more)
        });
        Some(Self { nodes: nodes.collect() })
    }

    /// Returns where clients find them, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        self.nodes.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }
}

fn free_port() -> u16 {
    free_ports(1)[0]
}

/// Returns ports that nobody listens on; all are held at once, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}
