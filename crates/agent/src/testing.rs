//! What tests of pulls need: a real containerd, a real registry, a proxy between both that slows down and fails as it is told,
//! and images to pull; and a containerd in memory for what the real one here does not do. Everything is on free ports of 127.0.0.1 and in folders of its own, and ends when it is dropped.

mod containerd;
mod fake;
mod http;
mod image;
mod proxy;
mod registry;

use std::future::Future;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use platform::{Clock as _, SystemClock};

pub use containerd::{ContainerdProcess, CtrPull, pull_as_kubelet};
pub use fake::{FakeBlob, FakeContainerd, FakeIngest, FakeLease, FakeState};
pub use image::{TestImage, TestLayer};
pub use proxy::{Pause, Proxy};
pub use registry::Registry;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks whether it came.
const LOOK: Duration = Duration::from_millis(10);

/// Returns whether everything is there to pull images for real; says so in one line when it is not.
#[must_use]
#[expect(clippy::print_stderr, reason = "the only way to say that a test did not run")]
pub fn can_pull() -> bool {
    let runs = |program: &str, argument: &str| {
        let status = Command::new(program)
            .arg(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let missing = if platform::effective_user() != 0 {
        "root"
    } else if !runs("containerd", "--version") {
        "containerd"
    } else if !runs("ctr", "--version") {
        "ctr"
    } else if !runs("docker-registry", "--version") {
        "docker-registry"
    } else {
        return true;
    };
    eprintln!("skipped: image pulls need {missing}");
    false
}

/// Waits until `probe` returns something.
///
/// # Panics
///
/// When that does not come within a minute; then with `what`.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let clock = SystemClock::new();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(clock.monotonic() < PATIENCE, "it did not come: {what}");
        clock.sleep_until(clock.monotonic() + LOOK).await;
    }
}

/// Returns a port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}
