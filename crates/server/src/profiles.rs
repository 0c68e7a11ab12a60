//! Looks into the running process: samples of its stacks, its memory, its threads.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::{CpuProfile, MemoryReport, ProfileError, Profiler, StoreMemory, ThreadReport};
use flate2::Compression;
use flate2::write::GzEncoder;
use platform::Fs;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use prost::Message as _;
use tsdb::Stores;

mod encode;

use encode::Encoder;

/// How often stacks are looked at, per second of processor time; prime, so that it does not keep step with anything.
const FREQUENCY: i32 = 99;
/// The most that is read of one file below `/proc`, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Looks into this process.
#[derive(Debug)]
pub(crate) struct ProcessProfiler {
    fs: Arc<dyn Fs>,
    stores: Stores,
    proc: PathBuf,
}

impl ProcessProfiler {
    /// Returns one that reads `/proc` through `fs`.
    pub(crate) fn new(fs: Arc<dyn Fs>, stores: Stores) -> Self {
        Self { fs, stores, proc: PathBuf::from("/proc/self") }
    }

    fn read(&self, path: &Path) -> Result<String, ProfileError> {
        let bytes = self.fs.read(path, FILE_BYTES_MAX).map_err(|error| unavailable(&error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn unavailable(error: &dyn fmt::Display) -> ProfileError {
    ProfileError::Unavailable { reason: error.to_string() }
}

impl Profiler for ProcessProfiler {
    fn watch(&self) -> Result<Box<dyn CpuProfile>, ProfileError> {
        let guard = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            // The unwinder must not run within these.
            .blocklist(&["libc", "libgcc", "pthread", "vdso"])
            .build();
        match guard {
            Ok(guard) => Ok(Box::new(Watching(guard))),
            Err(pprof::Error::Running) => Err(ProfileError::Busy),
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn memory(&self) -> Result<MemoryReport, ProfileError> {
        let status = self.read(&self.proc.join("status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        let stores = self.stores.all().into_iter().map(|(tenant, store)| StoreMemory {
            tenant: tenant.as_str().to_owned(),
            head_bytes: store.stats_with(0).head_bytes,
            journal_pending_bytes: store.activity().journal.pending_bytes,
        });
        Ok(MemoryReport {
            resident_bytes: bytes("VmRSS:").ok_or_else(|| unavailable(&"no VmRSS in status"))?,
            anonymous_bytes: bytes("RssAnon:").unwrap_or_default(),
            file_bytes: bytes("RssFile:").unwrap_or_default(),
            swapped_bytes: bytes("VmSwap:").unwrap_or_default(),
            stores: stores.collect(),
        })
    }

    fn threads(&self) -> Result<Vec<ThreadReport>, ProfileError> {
        let ticks =
            f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100));
        let folder = self.proc.join("task");
        let mut threads = Vec::new();
        for entry in self.fs.list(&folder).map_err(|error| unavailable(&error))? {
            // One that has ended meanwhile is left out.
            let Ok(stat) = self.read(&folder.join(&entry.name).join("stat")) else { continue };
            threads.extend(thread(&stat, ticks));
        }
        threads.sort_by_key(|thread| thread.id);
        Ok(threads)
    }
}

/// Reads a line of proc(5): `id (name) state …`.
fn thread(stat: &str, ticks_per_second: f64) -> Option<ThreadReport> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Counted from the state, which is field 3.
    let seconds = |number: usize| {
        let ticks: u32 = fields.get(number - 3)?.parse().ok()?;
        Some(f64::from(ticks) / ticks_per_second)
    };
    Some(ThreadReport {
        id: id.parse().ok()?,
        name: name.to_owned(),
        state: (*fields.first()?).to_owned(),
        user_seconds: seconds(14)?,
        system_seconds: seconds(15)?,
    })
}

/// The processors being watched.
struct Watching(ProfilerGuard<'static>);

impl CpuProfile for Watching {
    fn finish(self: Box<Self>) -> Result<Vec<u8>, ProfileError> {
        let report = self.0.report().build().map_err(|error| unavailable(&error))?;
        let profile = Encoder::profile(&report, FREQUENCY);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed
            .write_all(&profile.encode_to_vec())
            .and_then(|()| packed.finish())
            .map_err(|error| unavailable(&error))
    }
}

#[cfg(test)]
mod tests {
    use platform::SystemFs;

    use super::*;

    #[test]
    fn a_line_of_proc_is_a_thread() {
        let line = "42 (a (b) c) R 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 6 0 300";
        let expected = ThreadReport {
            id: 42,
            name: "a (b) c".to_owned(),
            state: "R".to_owned(),
            user_seconds: 1.5,
            system_seconds: 0.5,
        };
        assert_eq!(thread(line, 100.0), Some(expected));
        for line in ["", "42", "42 (a) R 1", "x (a) R 1 1 1 0 -1 0 0 0 0 0 150 50"] {
            assert_eq!(thread(line, 100.0), None, "{line}");
        }
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let profiler = ProcessProfiler::new(SystemFs::new(), Stores::new());
        let memory = profiler.memory().expect("a report");
        assert!(memory.resident_bytes >= memory.anonymous_bytes && memory.anonymous_bytes > 0);
        assert!(!profiler.threads().expect("threads").is_empty());
    }

    #[test]
    fn the_processors_are_watched_one_at_a_time() {
        let profiler = ProcessProfiler::new(SystemFs::new(), Stores::new());
        let first = profiler.watch().expect("it begins");
        assert!(matches!(profiler.watch(), Err(ProfileError::Busy)));
        let profile = first.finish().expect("a profile");
        assert_eq!(profile.get(..2), Some(&[0x1f, 0x8b][..]), "gzip");
        drop(profiler.watch().expect("the first has ended"));
    }
}
