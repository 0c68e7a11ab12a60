//! A real registry.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::image::TestImage;
use super::{free_port, http, until};

/// The program, as Debian calls it.
const PROGRAM: &str = "docker-registry";

/// A registry without TLS. Dropping it ends it and removes what it holds.
#[derive(Debug)]
pub struct Registry {
    address: String,
    process: Child,
    _folder: TempDir,
}

impl Registry {
    /// Starts a registry and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[expect(clippy::disallowed_methods, reason = "a test's own folder")]
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '{address}'}}\n",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, configuration).expect("a file");
        let process = Command::new(PROGRAM)
            .arg("serve")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        until("the registry listens", || async { TcpStream::connect(&address).await.ok() }).await;
        Self { address, process, _folder: folder }
    }

    /// Returns where it listens, such as `127.0.0.1:5000`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Pushes an image.
    ///
    /// # Panics
    ///
    /// When the registry refuses it.
    pub async fn push(&self, image: &TestImage) {
        let (configs, manifests) = image.documents();
        for layer in &image.layers {
            self.push_blob(&image.repository, &layer.digest, &layer.bytes).await;
        }
        for config in &configs {
            self.push_blob(&image.repository, &config.digest, &config.bytes).await;
        }
        for (position, manifest) in manifests.iter().enumerate() {
            // The last one is what the name leads to.
            let name = if position + 1 == manifests.len() { &image.tag } else { &manifest.digest };
            let request = format!("PUT /v2/{}/manifests/{name}", image.repository);
            self.send(&request, manifest.media_type, &manifest.bytes).await;
        }
    }

    async fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let request = format!("POST /v2/{repository}/blobs/uploads/");
        let head = self.send(&request, "application/octet-stream", b"").await;
        let location = head.header("location").expect("a place to write to");
        let path = location.split_once("/v2/").map_or(location, |(_host, path)| path);
        let request = format!("PUT /v2/{path}&digest={digest}");
        self.send(&request, "application/octet-stream", bytes).await;
    }

    async fn send(&self, request: &str, media_type: &str, body: &[u8]) -> http::Head {
        let headers = [("Content-Type", media_type)];
        let (status, head) =
            http::send(&self.address, request, &headers, body).await.expect("an answer");
        assert!((200..300).contains(&status), "{request}: {}", head.first_line);
        head
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}
