//! A file system in memory that forgets what was not synced, tears writes and fails on demand.
//!
//! The fault model: a crash of the process keeps everything; a power loss keeps synced file contents below
//! synced folder entries, and of the rest an arbitrary part: a prefix of what was appended, some of the
//! creations, renames and removals.
//! Paths are taken literally, without links and without `..`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, DiskSpace, File, Fs, FsError, FsOperation};
use crate::rng::SimRng;

/// How the simulated machine stopped.
#[derive(Clone, Debug)]
pub enum SimCrash {
    /// The process was killed: every completed operation is kept.
    Kill,
    /// The power failed: nothing is kept that was not synced.
    PowerLoss,
    /// The power failed: of what was not synced, the generator chooses what is kept.
    PowerLossTorn(Arc<SimRng>),
}

/// The simulated file system. Clones of the `Arc` see the same files.
#[derive(Debug)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    entries: BTreeMap<PathBuf, Node>,
    durable_entries: BTreeMap<PathBuf, Node>,
    locked: BTreeSet<PathBuf>,
    next_file: u64,
    operations: u64,
    crash_at: Option<u64>,
    torn_append: Option<Arc<SimRng>>,
    faults: Vec<(FsOperation, io::ErrorKind)>,
    fail_at: Option<(u64, io::ErrorKind)>,
    space_bytes: Option<u64>,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What a power loss leaves.
    durable: Vec<u8>,
}

impl SimFs {
    /// Returns an empty file system with unlimited space.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Arc::default() })
    }

    /// Returns the number of changing operations so far: creations, appends, syncs, truncations, renames, removals.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Lets the machine stop at the changing operation number `operation` (the next one is [`SimFs::operations`]):
    /// it and all operations after it fail, until [`SimFs::restart`].
    /// An append at which the machine stops leaves a prefix chosen by `torn`, or nothing.
    pub fn crash_at(&self, operation: u64, torn: Option<Arc<SimRng>>) {
        let mut state = self.state.lock();
        state.crash_at = Some(operation);
        state.torn_append = torn;
    }

    /// Lets the next operation of this sort fail with an error of this kind, once.
    pub fn fail_next(&self, operation: FsOperation, kind: io::ErrorKind) {
        self.state.lock().faults.push((operation, kind));
    }

    /// Lets the changing operation number `operation` (the next one is [`SimFs::operations`]) fail with an error of
    /// this kind, without doing anything. The machine goes on.
    pub fn fail_at(&self, operation: u64, kind: io::ErrorKind) {
        self.state.lock().fail_at = Some((operation, kind));
    }

    /// Limits the sum of all file lengths; `None` lifts the limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state.lock().space_bytes = bytes;
    }

    /// Starts the machine again after it stopped in the given way. Files opened before fail from now on.
    pub fn restart(&self, crash: &SimCrash) {
        self.state.lock().restart(crash);
    }

    /// Flips the bits of `mask` in one byte of a file, on disk and in memory.
    ///
    /// # Panics
    ///
    /// When there is no such byte.
    pub fn corrupt(&self, path: &Path, offset: usize, mask: u8) {
        let mut state = self.state.lock();
        let Some(Node::File(file)) = state.entries.get(path).copied() else {
            panic!("no file '{}' to corrupt", path.display());
        };
        let content = state.files.get_mut(&file).expect("a listed file has content");
        content.bytes[offset] ^= mask;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= mask;
        }
    }
}

impl State {
    /// Counts a changing operation and decides whether it happens.
    fn change(&mut self, operation: FsOperation, path: &Path) -> Result<(), FsError> {
        self.check(operation, path)?;
        let number = self.operations;
        self.operations += 1;
        if self.crash_at.is_some_and(|at| number >= at) {
            return Err(crashed(operation, path));
        }
        if let Some((_, kind)) = self.fail_at.take_if(|(at, _)| *at == number) {
            return Err(FsError::new(operation, path, kind.into()));
        }
        Ok(())
    }

    /// Decides whether an operation happens that changes nothing.
    fn check(&mut self, operation: FsOperation, path: &Path) -> Result<(), FsError> {
        if self.crash_at.is_some_and(|at| self.operations > at) {
            return Err(crashed(operation, path));
        }
        let Some(index) = self.faults.iter().position(|(failing, _)| *failing == operation) else {
            return Ok(());
        };
        let (_, kind) = self.faults.remove(index);
        Err(FsError::new(operation, path, kind.into()))
    }

    fn file(&self, operation: FsOperation, path: &Path) -> Result<u64, FsError> {
        match self.entries.get(path) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Dir) => {
                Err(FsError::new(operation, path, io::ErrorKind::IsADirectory.into()))
            }
            None => Err(FsError::new(operation, path, io::ErrorKind::NotFound.into())),
        }
    }

    fn require_parent(&self, operation: FsOperation, path: &Path) -> Result<(), FsError> {
        match path.parent() {
            None => Ok(()),
            Some(parent) if is_root(parent) => Ok(()),
            Some(parent) if self.entries.get(parent) == Some(&Node::Dir) => Ok(()),
            Some(_) => Err(FsError::new(operation, path, io::ErrorKind::NotFound.into())),
        }
    }

    fn used_bytes(&self) -> u64 {
        let live: BTreeSet<u64> = self
            .entries
            .values()
            .filter_map(|node| if let Node::File(file) = node { Some(*file) } else { None })
            .collect();
        live.iter().filter_map(|file| self.files.get(file)).map(|c| c.bytes.len() as u64).sum()
    }

    fn sync_dir(&mut self, folder: &Path) {
        self.durable_entries
            .retain(|path, _| path.parent() != Some(folder) || self.entries.contains_key(path));
        for (path, node) in &self.entries {
            if path.parent() == Some(folder) {
                self.durable_entries.insert(path.clone(), *node);
            }
        }
    }

    fn restart(&mut self, crash: &SimCrash) {
        match crash {
            SimCrash::Kill => {}
            SimCrash::PowerLoss => {
                self.entries = self.durable_entries.clone();
                for content in self.files.values_mut() {
                    content.bytes.clone_from(&content.durable);
                }
            }
            SimCrash::PowerLossTorn(rng) => self.tear(rng),
        }
        self.drop_orphans();
        for content in self.files.values_mut() {
            content.durable.clone_from(&content.bytes);
        }
        self.durable_entries.clone_from(&self.entries);
        self.locked.clear();
        self.faults.clear();
        self.fail_at = None;
        self.crash_at = None;
        self.torn_append = None;
        self.epoch += 1;
    }

    fn tear(&mut self, rng: &SimRng) {
        let paths: BTreeSet<PathBuf> =
            self.entries.keys().chain(self.durable_entries.keys()).cloned().collect();
        for path in paths {
            let (now, durable) = (self.entries.get(&path), self.durable_entries.get(&path));
            if now == durable || rng.below(2) == 0 {
                continue;
            }
            match durable.copied() {
                Some(node) => self.entries.insert(path, node),
                None => self.entries.remove(&path),
            };
        }
        for content in self.files.values_mut() {
            let common = content.bytes.len().min(content.durable.len());
            if content.bytes[..common] != content.durable[..common]
                || content.bytes.len() < content.durable.len()
            {
                content.bytes.clone_from(&content.durable);
                continue;
            }
            let kept = rng.below((content.bytes.len() - common) as u64 + 1);
            content.bytes.truncate(common + usize::try_from(kept).unwrap_or(0));
        }
    }

    fn drop_orphans(&mut self) {
        let folders: BTreeSet<PathBuf> = self
            .entries
            .iter()
            .filter(|(_, node)| **node == Node::Dir)
            .map(|(path, _)| path.clone())
            .collect();
        self.entries.retain(|path, _| {
            path.ancestors().skip(1).all(|parent| is_root(parent) || folders.contains(parent))
        });
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, path: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock();
        let missing: Vec<PathBuf> = path
            .ancestors()
            .filter(|ancestor| !is_root(ancestor) && !state.entries.contains_key(*ancestor))
            .map(Path::to_owned)
            .collect();
        for folder in missing.into_iter().rev() {
            state.change(FsOperation::CreateDir, path)?;
            state.entries.insert(folder.clone(), Node::Dir);
            state.durable_entries.insert(folder, Node::Dir);
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let mut state = self.state.lock();
        state.change(FsOperation::Create, path)?;
        state.require_parent(FsOperation::Create, path)?;
        if state.entries.contains_key(path) {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(FsError::new(FsOperation::Create, path, source));
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::default());
        state.entries.insert(path.to_owned(), Node::File(file));
        Ok(self.handle(&state, path, file))
    }

    /// Simulated files have no other users.
    fn create_private(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        self.create(path)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Open, path)?;
        let file = state.file(FsOperation::Open, path)?;
        Ok(self.handle(&state, path, file))
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        self.open(path)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Read, path)?;
        let file = state.file(FsOperation::Read, path)?;
        let bytes = &state.files[&file].bytes;
        if bytes.len() as u64 > bytes_max {
            return Err(FsError::new(FsOperation::Read, path, io::ErrorKind::FileTooLarge.into()));
        }
        Ok(bytes.clone())
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::List, path)?;
        if !is_root(path) && state.entries.get(path) != Some(&Node::Dir) {
            return Err(FsError::new(FsOperation::List, path, io::ErrorKind::NotFound.into()));
        }
        let children = state.entries.iter().filter(|(child, _)| child.parent() == Some(path));
        Ok(children
            .filter_map(|(child, node)| {
                let name = child.file_name()?.to_str()?.to_owned();
                Some(DirEntry { name, is_dir: *node == Node::Dir })
            })
            .collect())
    }

    fn exists(&self, path: &Path) -> Result<bool, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Stat, path)?;
        Ok(is_root(path) || state.entries.contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock();
        state.change(FsOperation::Rename, from)?;
        state.require_parent(FsOperation::Rename, to)?;
        if !state.entries.contains_key(from) {
            return Err(FsError::new(FsOperation::Rename, from, io::ErrorKind::NotFound.into()));
        }
        let moved: Vec<PathBuf> =
            state.entries.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let Some(node) = state.entries.remove(&path) else { continue };
            let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
            let target = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            // What lies below a renamed folder is as durable as it was: the folder is the same inode.
            if let Some(durable) = state.durable_entries.get(&path).copied()
                && path != from
            {
                state.durable_entries.insert(target.clone(), durable);
            }
            state.entries.insert(target, node);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock();
        state.change(FsOperation::Remove, path)?;
        state.file(FsOperation::Remove, path)?;
        state.entries.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock();
        if state.entries.get(path) != Some(&Node::Dir) {
            return Err(FsError::new(FsOperation::Remove, path, io::ErrorKind::NotFound.into()));
        }
        let doomed: Vec<PathBuf> =
            state.entries.keys().filter(|entry| entry.starts_with(path)).cloned().collect();
        // Children first, each an operation of its own: a crash leaves the folder half empty.
        for entry in doomed.into_iter().rev() {
            state.change(FsOperation::Remove, path)?;
            state.entries.remove(&entry);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), FsError> {
        let mut state = self.state.lock();
        state.change(FsOperation::SyncDir, path)?;
        state.sync_dir(path);
        Ok(())
    }

    fn allocated_bytes(&self, path: &Path) -> Result<u64, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Stat, path)?;
        let nodes = state.entries.iter().filter(|(entry, _)| entry.starts_with(path));
        Ok(nodes
            .filter_map(|(_, node)| if let Node::File(file) = node { Some(file) } else { None })
            .map(|file| state.files[file].bytes.len() as u64)
            .sum())
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Stat, path)?;
        let total_bytes = state.space_bytes.unwrap_or(1 << 40);
        let free_bytes = total_bytes.saturating_sub(state.used_bytes());
        Ok(DiskSpace {
            total_bytes,
            free_bytes,
            available_bytes: free_bytes,
            files: 1 << 20,
            files_free: 1 << 19,
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn fmt::Debug + Send + Sync>, FsError> {
        let mut state = self.state.lock();
        state.check(FsOperation::Lock, path)?;
        if !state.locked.insert(path.to_owned()) {
            return Err(FsError::new(FsOperation::Lock, path, io::ErrorKind::WouldBlock.into()));
        }
        let guard =
            SimLock { state: Arc::clone(&self.state), path: path.to_owned(), epoch: state.epoch };
        Ok(Box::new(guard))
    }
}

impl SimFs {
    fn handle(&self, state: &State, path: &Path, file: u64) -> Box<dyn File> {
        Box::new(SimFile {
            state: Arc::clone(&self.state),
            path: path.to_owned(),
            file,
            epoch: state.epoch,
        })
    }
}

struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    epoch: u64,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.epoch == self.epoch {
            state.locked.remove(&self.path);
        }
    }
}

struct SimFile {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    file: u64,
    epoch: u64,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SimFile {
    fn with<T>(
        &self,
        operation: FsOperation,
        changes: bool,
        act: impl FnOnce(&mut State, u64) -> Result<T, io::Error>,
    ) -> Result<T, FsError> {
        let mut state = self.state.lock();
        if state.epoch != self.epoch {
            return Err(crashed(operation, &self.path));
        }
        if changes {
            state.change(operation, &self.path)?;
        } else {
            state.check(operation, &self.path)?;
        }
        act(&mut state, self.file).map_err(|source| FsError::new(operation, &self.path, source))
    }
}

impl File for SimFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        let before = self.state.lock().operations;
        let appended = self.with(FsOperation::Append, true, |state, file| {
            let used = state.used_bytes();
            let room = state.space_bytes.map_or(u64::MAX, |space| space.saturating_sub(used));
            let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            content(state, file).bytes.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });
        let mut state = self.state.lock();
        let stopped_here =
            appended.is_err() && state.crash_at == Some(before) && state.operations > before;
        if stopped_here
            && state.epoch == self.epoch
            && let Some(rng) = state.torn_append.take()
        {
            let kept = usize::try_from(rng.below(bytes.len() as u64 + 1)).unwrap_or(0);
            content(&mut state, self.file).bytes.extend_from_slice(&bytes[..kept]);
        }
        appended
    }

    fn sync_data(&mut self) -> Result<(), FsError> {
        self.with(FsOperation::SyncData, true, |state, file| {
            let content = content(state, file);
            content.durable.clone_from(&content.bytes);
            Ok(())
        })
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FsError> {
        self.with(FsOperation::Read, false, |state, file| {
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            let bytes = content(state, file).bytes.get(start..end);
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn byte_len(&self) -> Result<u64, FsError> {
        self.with(FsOperation::Stat, false, |state, file| {
            Ok(content(state, file).bytes.len() as u64)
        })
    }

    fn truncate(&mut self, len: u64) -> Result<(), FsError> {
        self.with(FsOperation::Truncate, true, |state, file| {
            content(state, file).bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
            Ok(())
        })
    }
}

fn content(state: &mut State, file: u64) -> &mut Content {
    state.files.entry(file).or_default()
}

fn crashed(operation: FsOperation, path: &Path) -> FsError {
    FsError::new(operation, path, io::Error::other("the simulated machine has stopped"))
}

fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new("/")
}

#[cfg(test)]
mod tests {
    use super::super::FsErrorKind;
    use super::*;

    fn path(text: &str) -> PathBuf {
        PathBuf::from(text)
    }

    fn write(fs: &SimFs, name: &str, bytes: &[u8]) -> Box<dyn File> {
        let mut file = fs.create(&path(name)).expect("create");
        file.append(bytes).expect("append");
        file
    }

    #[test]
    fn power_loss_keeps_only_synced_content_below_synced_entries() {
        let fs = SimFs::new();
        fs.create_dir_all(&path("/data")).expect("folder");
        let mut both = write(&fs, "/data/both", b"kept");
        both.sync_data().expect("sync");
        let _entry_only = write(&fs, "/data/entry", b"lost");
        fs.sync_dir(&path("/data")).expect("sync folder");
        let mut content_only = write(&fs, "/data/content", b"lost");
        content_only.sync_data().expect("sync");
        both.append(b" not").expect("append");

        fs.restart(&SimCrash::PowerLoss);

        assert_eq!(fs.read(&path("/data/both"), 99).expect("kept"), b"kept");
        assert_eq!(fs.read(&path("/data/entry"), 99).expect("entry"), b"");
        assert!(!fs.exists(&path("/data/content")).expect("stat"));
        assert!(both.append(b"x").is_err(), "a file opened before the crash is gone");
    }

    #[test]
    fn a_kill_keeps_what_completed() {
        let fs = SimFs::new();
        let _file = write(&fs, "/file", b"all");
        fs.restart(&SimCrash::Kill);
        assert_eq!(fs.read(&path("/file"), 99).expect("kept"), b"all");
    }

    #[test]
    fn an_unsynced_rename_may_be_undone() {
        let fs = SimFs::new();
        let mut file = write(&fs, "/new", b"1");
        file.sync_data().expect("sync");
        fs.sync_dir(&path("/")).expect("sync");
        fs.rename(&path("/new"), &path("/final")).expect("rename");
        fs.restart(&SimCrash::PowerLoss);
        assert!(fs.exists(&path("/new")).expect("stat"));
        assert!(!fs.exists(&path("/final")).expect("stat"));
    }

    #[test]
    fn the_machine_stops_at_the_chosen_operation_and_tears_the_append() {
        let fs = SimFs::new();
        let mut file = write(&fs, "/file", b"");
        fs.crash_at(fs.operations(), Some(SimRng::new(3)));
        assert!(file.append(b"0123456789").is_err());
        assert!(file.append(b"later").is_err());
        assert!(fs.read(&path("/file"), 99).is_err());
        fs.restart(&SimCrash::Kill);
        let kept = fs.read(&path("/file"), 99).expect("read");
        assert!(b"0123456789".starts_with(&kept), "a prefix, nothing of the later append");
    }

    #[test]
    fn one_operation_fails_and_the_machine_goes_on() {
        let fs = SimFs::new();
        let mut file = write(&fs, "/file", b"1");
        fs.fail_at(fs.operations() + 1, io::ErrorKind::Other);
        file.append(b"2").expect("not yet");
        assert!(file.sync_data().is_err());
        file.append(b"3").expect("not any more");
        fs.restart(&SimCrash::PowerLoss);
        assert!(!fs.exists(&path("/file")).expect("stat"));
    }

    #[test]
    fn an_append_after_the_machine_stopped_elsewhere_leaves_nothing() {
        let fs = SimFs::new();
        let mut file = write(&fs, "/file", b"kept");
        fs.crash_at(fs.operations(), Some(SimRng::new(3)));
        assert!(file.sync_data().is_err());
        assert!(file.append(b"0123456789").is_err());
        fs.restart(&SimCrash::Kill);
        assert_eq!(fs.read(&path("/file"), 99).expect("read"), b"kept");
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_says_so() {
        let fs = SimFs::new();
        let mut file = write(&fs, "/file", b"12");
        fs.set_space(Some(3));
        let error = file.append(b"345").expect_err("full");
        assert_eq!(error.kind, FsErrorKind::NoSpace);
        assert_eq!(fs.read(&path("/file"), 99).expect("read"), b"123");
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped_or_crashed() {
        let fs = SimFs::new();
        let guard = fs.lock(&path("/lock")).expect("free");
        let refused = fs.lock(&path("/lock")).expect_err("held");
        assert_eq!(refused.kind, FsErrorKind::Locked);
        drop(guard);
        let _again = fs.lock(&path("/lock")).expect("free again");
        fs.restart(&SimCrash::Kill);
        let _after_crash = fs.lock(&path("/lock")).expect("free after the crash");
    }
}
