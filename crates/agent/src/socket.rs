//! Which socket may be taken for that of containerd.
//!
//! Whoever may connect to it is root on the machine, and an agent that were talked into another socket would ask somebody
//! else with those rights. So only sockets in known folders count, under the path that is left when links and `..` are
//! resolved, and only those of root.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use platform::{FileFacts, FileKind};

/// Where containerd listens, in the order in which it is looked for: alone, and as part of k3s or RKE2, k0s and MicroK8s.
pub const KNOWN_SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

/// The folders in which a socket may lie without being allowed by a setting.
pub const KNOWN_FOLDERS: [&str; 5] = [
    "/run/containerd",
    "/var/run/containerd",
    "/run/k3s/containerd",
    "/run/k0s",
    "/var/snap/microk8s/common/run",
];

/// Most folders that settings allow.
pub(crate) const FOLDERS_MAX: usize = 16;

/// Why a socket is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// None of the known ones is there.
    #[error("no socket of containerd is there: {}", KNOWN_SOCKETS.join(", "))]
    NoneFound,
    /// There is nothing at the path.
    #[error("there is no socket '{}'", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be looked at.
    #[error("look at socket '{}': {source}", path.display())]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It lies elsewhere.
    #[error(
        "socket '{}' is not in an allowed folder: allow '{}' with --allow-socket-folder if it is that of containerd",
        path.display(),
        path.parent().unwrap_or(path).display()
    )]
    NotAllowed {
        /// Its path, without links.
        path: PathBuf,
    },
    /// It is something else.
    #[error("'{}' is not a socket", path.display())]
    NoSocket {
        /// Its path, without links.
        path: PathBuf,
    },
    /// It is not root's.
    #[error("socket '{}' belongs to user {owner}, not to root", path.display())]
    WrongOwner {
        /// Its path, without links.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
}

impl SocketError {
    /// Returns whether waiting may help: containerd is not there yet.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::NoneFound | Self::Missing { .. } | Self::Unreachable { .. })
    }
}

/// Says what lies at a path; see [`FileFacts::of`].
pub(crate) type Examine = fn(&Path) -> io::Result<FileFacts>;

/// Which sockets may be taken.
#[derive(Clone)]
pub struct SocketRules {
    path: Option<PathBuf>,
    folders: Vec<PathBuf>,
    user: u32,
    examine: Examine,
}

impl SocketRules {
    /// Returns the rules. Without a `path`, the known sockets are looked for; `folders` are allowed beside the known ones.
    /// Sockets of root and of this process' user count.
    #[must_use]
    pub fn new(path: Option<PathBuf>, folders: Vec<PathBuf>) -> Self {
        Self { path, folders, user: platform::effective_user(), examine: FileFacts::of }
    }

    /// Returns the path of the socket, without links. Blocking.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; of several known sockets, the first that is there must be as it should.
    pub fn find(&self) -> Result<PathBuf, SocketError> {
        if let Some(path) = &self.path {
            return self.check(path);
        }
        for path in KNOWN_SOCKETS {
            match self.check(Path::new(path)) {
                Err(SocketError::Missing { .. }) => {}
                found => return found,
            }
        }
        Err(SocketError::NoneFound)
    }

    fn check(&self, path: &Path) -> Result<PathBuf, SocketError> {
        let facts = (self.examine)(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SocketError::Missing { path: path.to_owned() },
            _ => SocketError::Unreachable { path: path.to_owned(), source },
        })?;
        let FileFacts { path, kind, owner } = facts;
        if !self.allows(&path) {
            return Err(SocketError::NotAllowed { path });
        }
        if kind != FileKind::Socket {
            return Err(SocketError::NoSocket { path });
        }
        if owner != 0 && owner != self.user {
            return Err(SocketError::WrongOwner { path, owner });
        }
        Ok(path)
    }

    fn allows(&self, path: &Path) -> bool {
        let known = KNOWN_FOLDERS.iter().map(Path::new);
        known.chain(self.folders.iter().map(PathBuf::as_path)).any(|folder| {
            // A folder may be a link itself, as `/var/run` is; one that is not there allows nothing.
            (self.examine)(folder)
                .is_ok_and(|facts| path != facts.path && path.starts_with(facts.path))
        })
    }
}

impl fmt::Debug for SocketRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketRules")
            .field("path", &self.path)
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

/// Returns whether a folder can be allowed: absolute, not the root, and without `..`.
pub(crate) fn may_be_allowed(folder: &Path) -> bool {
    folder.is_absolute()
        && folder.components().count() > 1
        && !folder.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    /// A machine with sockets, links and files below a folder of its own.
    struct Machine {
        folder: TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let machine = Self { folder: TempDir::with_prefix("agent").expect("a folder") };
            for folder in ["run/containerd", "run/other", "elsewhere"] {
                platform::Fs::create_dir_all(&platform::SystemFs, &machine.path(folder))
                    .expect("a folder");
            }
            for socket in [
                "run/containerd/containerd.sock",
                "run/other/docker.sock",
                "elsewhere/containerd.sock",
            ] {
                drop(UnixListener::bind(machine.path(socket)).expect("a socket"));
            }
            drop(
                platform::Fs::create(&platform::SystemFs, &machine.path("run/containerd/file"))
                    .expect("a file"),
            );
            let link =
                |to: &str, at: &str| symlink(machine.path(to), machine.path(at)).expect("a link");
            link("run/other/docker.sock", "run/containerd/out.sock");
            link("run/containerd/containerd.sock", "elsewhere/in.sock");
            link("run", "var-run");
            link("nowhere", "run/containerd/nowhere.sock");
            machine
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn find(&self, path: &str, folders: &[&str]) -> Result<PathBuf, SocketError> {
            let folders = folders.iter().map(|folder| self.path(folder)).collect();
            SocketRules::new(Some(self.path(path)), folders).find()
        }
    }

    #[test]
    fn only_sockets_in_allowed_folders_are_taken() {
        let machine = Machine::new();
        let allowed = &["run/containerd"];
        let taken = |path: &str, folders: &[&str]| machine.find(path, folders).expect("allowed");
        let canonical =
            machine.path("run/containerd/containerd.sock").canonicalize().expect("there");
        assert_eq!(taken("run/containerd/containerd.sock", allowed), canonical);
        assert_eq!(taken("run/containerd/../containerd/containerd.sock", allowed), canonical);
        assert_eq!(
            taken("var-run/containerd/containerd.sock", allowed),
            canonical,
            "a link to the folder"
        );
        assert_eq!(taken("run/containerd/containerd.sock", &["var-run/containerd"]), canonical);
        assert_eq!(taken("elsewhere/in.sock", allowed), canonical, "a link into the folder");

        let refused = |path: &str| machine.find(path, allowed).expect_err("not allowed");
        assert!(matches!(
            refused("run/containerd/../other/docker.sock"),
            SocketError::NotAllowed { .. }
        ));
        assert!(matches!(refused("run/containerd/out.sock"), SocketError::NotAllowed { .. }));
        assert!(matches!(refused("elsewhere/containerd.sock"), SocketError::NotAllowed { .. }));
        assert!(matches!(refused("run/containerd"), SocketError::NotAllowed { .. }));
        assert!(matches!(refused("run/containerd/file"), SocketError::NoSocket { .. }));
        assert!(matches!(refused("run/containerd/none.sock"), SocketError::Missing { .. }));
        assert!(matches!(refused("run/containerd/nowhere.sock"), SocketError::Missing { .. }));
        assert!(matches!(refused("run/containerd/file/x.sock"), SocketError::Unreachable { .. }));
        // A name that only begins like that of the folder is another one.
        let other =
            machine.find("run/containerd/containerd.sock", &["run/cont"]).expect_err("other");
        assert!(matches!(other, SocketError::NotAllowed { .. }));
    }

    #[test]
    fn nothing_is_allowed_by_default_but_the_known_folders() {
        let machine = Machine::new();
        let refused = machine.find("run/containerd/containerd.sock", &[]).expect_err("not allowed");
        assert!(matches!(refused, SocketError::NotAllowed { .. }));
        assert!(!refused.is_temporary());
    }

    fn facts(path: &Path, kind: FileKind, owner: u32) -> io::Result<FileFacts> {
        Ok(FileFacts { path: path.to_owned(), kind, owner })
    }

    #[test]
    fn the_socket_belongs_to_root_or_to_the_agent() {
        fn examine(path: &Path) -> io::Result<FileFacts> {
            let owner = if path.ends_with("stranger.sock") { 4_711 } else { 0 };
            facts(path, FileKind::Socket, owner)
        }
        let find = |path: &str, user| {
            SocketRules { path: Some(path.into()), folders: Vec::new(), user, examine }.find()
        };
        assert!(find("/run/containerd/containerd.sock", 1).is_ok());
        assert!(find("/run/containerd/stranger.sock", 4_711).is_ok());
        let refused = find("/run/containerd/stranger.sock", 1).expect_err("of a stranger");
        assert!(matches!(refused, SocketError::WrongOwner { owner: 4_711, .. }));
    }

    #[test]
    fn known_sockets_are_looked_for_in_order_and_the_first_must_be_as_it_should() {
        fn only_last(path: &Path) -> io::Result<FileFacts> {
            match path.extension() {
                Some(_) if !path.starts_with("/var/snap") => Err(io::ErrorKind::NotFound.into()),
                _ => facts(path, FileKind::Socket, 0),
            }
        }
        fn none(_: &Path) -> io::Result<FileFacts> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn strange(path: &Path) -> io::Result<FileFacts> {
            facts(path, FileKind::Socket, if path.starts_with("/run/containerd") { 7 } else { 0 })
        }
        let find =
            |examine| SocketRules { path: None, folders: Vec::new(), user: 1, examine }.find();
        assert_eq!(find(only_last).expect("the last"), Path::new(KNOWN_SOCKETS[3]));
        assert!(matches!(find(none).expect_err("none"), SocketError::NoneFound));
        assert!(matches!(find(strange).expect_err("not root's"), SocketError::WrongOwner { .. }));
    }

    #[test]
    fn every_known_socket_lies_in_a_known_folder() {
        fn examine(path: &Path) -> io::Result<FileFacts> {
            facts(path, FileKind::Socket, 0)
        }
        for path in KNOWN_SOCKETS {
            let rules =
                SocketRules { path: Some(path.into()), folders: Vec::new(), user: 1, examine };
            assert!(rules.find().is_ok(), "{path}");
        }
    }

    #[test]
    fn folders_without_a_limit_are_not_allowed() {
        let check = |folder: &str, expected| {
            assert_eq!(may_be_allowed(Path::new(folder)), expected, "{folder}")
        };
        check("/opt/containerd", true);
        check("/", false);
        check("opt", false);
        check("", false);
        check("/opt/../run", false);
    }
}
