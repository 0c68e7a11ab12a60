//! A real containerd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tonic::{Request, Status};

use super::until;
use crate::containerd::connection::{Connection, origin};
use crate::containerd::proto::cri::image_service_client::ImageServiceClient;
use crate::containerd::proto::cri::{ImageSpec, PullImageRequest};
use crate::{ContainerdSettings, SocketRules};

/// The namespace of Kubernetes.
const NAMESPACE: &str = "k8s.io";

/// A containerd with a folder of its own. Dropping it kills it, unmounts what it mounted and removes the folder.
#[derive(Debug)]
pub struct ContainerdProcess {
    folder: TempDir,
    process: Option<Child>,
}

impl ContainerdProcess {
    /// Starts containerd and waits until it answers, also as a runtime of Kubernetes.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("cd").tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let configuration = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\n  address = \"{}\"\n\
             [ttrpc]\n  address = \"{}\"\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  \
             sandbox_image = \"none/pause:1\"\n  stream_server_port = \"0\"\n",
            at("root"),
            at("state"),
            at("c.sock"),
            at("t.sock"),
        );
        std::fs::write(folder.path().join("config.toml"), configuration).expect("a file");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder");
        let mut containerd = Self { folder, process: None };
        containerd.restart().await;
        containerd
    }

    /// Returns the path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("c.sock")
    }

    /// Returns the folder of its content store.
    #[must_use]
    pub fn content_folder(&self) -> PathBuf {
        self.folder.path().join("root/io.containerd.content.v1.content")
    }

    /// Returns what a watcher needs to find it.
    ///
    /// # Panics
    ///
    /// When its folder is gone.
    #[must_use]
    pub fn settings(&self) -> ContainerdSettings {
        let folder = std::fs::canonicalize(self.folder.path()).expect("a folder");
        let socket = SocketRules::new(Some(self.socket()), vec![folder]);
        ContainerdSettings { socket, namespace: NAMESPACE.to_owned() }
    }

    /// Kills it without warning, as `kill -9` does, and with it every pull.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _killed = process.kill();
            let _ended = process.wait();
        }
    }

    /// Starts it again with what it has on disk, after it was killed, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn restart(&mut self) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a file");
        let process = Command::new("containerd")
            .arg("--config")
            .arg(self.folder.path().join("config.toml"))
            .env("TMPDIR", self.folder.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a process");
        self.process = Some(process);
        let socket = self.socket();
        until("containerd answers", || async {
            let connection = Connection::open(&socket).await.ok()?;
            // The runtime of Kubernetes is the last that comes up. That there is no such image is an answer.
            let mut client = ImageServiceClient::with_origin(connection.transport(), origin());
            let request = crate::containerd::proto::cri::RemoveImageRequest {
                image: Some(ImageSpec { image: "none/none:none".to_owned() }),
            };
            client.remove_image(request).await.ok()
        })
        .await;
    }

    /// Returns what it logged, for messages of tests.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Pulls an image as administrators do, without TLS; returns at once.
    ///
    /// # Panics
    ///
    /// When there is no `ctr`.
    #[must_use]
    pub fn ctr_pull(&self, name: &str) -> CtrPull {
        let process = self
            .ctr_command()
            .args(["images", "pull", "--plain-http", name])
            .spawn()
            .expect("a process");
        CtrPull { process }
    }

    /// Runs `ctr` and returns what it wrote.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[must_use]
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let mut command = self.ctr_command();
        let output = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("a process");
        assert!(
            output.status.success(),
            "ctr {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn ctr_command(&self) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", NAMESPACE])
            .env("TMPDIR", self.folder.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for ContainerdProcess {
    #[expect(clippy::disallowed_methods, reason = "the mounts of this process")]
    fn drop(&mut self) {
        self.kill();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in own.filter(|mount| Path::new(mount).starts_with(self.folder.path())) {
            // What stays mounted makes the removal of the folder fail, which is not what a test is about.
            let _status = Command::new("umount").args(["--lazy", mount]).status();
        }
    }
}

/// A pull by `ctr`. Dropping it kills it.
#[derive(Debug)]
pub struct CtrPull {
    process: Child,
}

impl CtrPull {
    /// Waits until it ended; returns whether the image is there.
    pub async fn ended(&mut self) -> bool {
        until("ctr ended", || std::future::ready(self.process.try_wait().ok().flatten()))
            .await
            .success()
    }

    /// Kills it without warning: its lease stays.
    pub fn kill(&mut self) {
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

impl Drop for CtrPull {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Pulls an image as a kubelet does; dropping the future cancels the pull.
///
/// # Errors
///
/// What the runtime says.
pub async fn pull_as_kubelet(socket: PathBuf, name: String) -> Result<String, Status> {
    let connection =
        Connection::open(&socket).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = ImageServiceClient::with_origin(connection.transport(), origin());
    let request = PullImageRequest { image: Some(ImageSpec { image: name }) };
    Ok(client.pull_image(Request::new(request)).await?.into_inner().image_ref)
}
