//! This process, as `/proc` shows it.

use std::path::Path;

use platform::{Fs, FsError};

/// The most that is read of one file below `/proc`, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What this process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// Memory that it occupies.
    pub resident_bytes: u64,
    /// Address space that it uses.
    pub virtual_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, in seconds since the epoch.
    pub start_seconds: f64,
}

/// Why a process cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file cannot be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file is not as proc(5) says.
    #[error("'/proc/{file}' is not as expected")]
    Malformed {
        /// Which one.
        file: &'static str,
    },
}

impl ProcessStats {
    /// Reads what this process uses from `proc`, where the proc file system is mounted. Takes some ten microseconds.
    ///
    /// # Errors
    ///
    /// A file cannot be read or understood.
    pub fn read(fs: &dyn Fs, proc: &Path) -> Result<Self, ProcessError> {
        let ticks =
            f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100));
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let read = |file: &'static str| -> Result<String, ProcessError> {
            let bytes = fs.read(&proc.join(file), FILE_BYTES_MAX)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };

        let stat = read("self/stat")?;
        // The program's name may hold blanks and parentheses; what follows it does not.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        // Counted from the state, which is field 3 of proc(5).
        let field = |number: usize| {
            let text = fields.get(number - 3)?;
            text.parse::<u32>().ok().or_else(|| text.parse::<u64>().ok()?.try_into().ok())
        };
        let (Some(user), Some(system), Some(threads), Some(start)) =
            (field(14), field(15), field(20), field(22))
        else {
            return Err(ProcessError::Malformed { file: "self/stat" });
        };
        let statm = read("self/statm")?;
        let mut pages = statm.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok());
        let (Some(size), Some(resident)) = (pages.next(), pages.next()) else {
            return Err(ProcessError::Malformed { file: "self/statm" });
        };
        let boot = read("stat")?;
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
        let boot: f64 = boot
            .and_then(|seconds| seconds.trim().parse().ok())
            .ok_or(ProcessError::Malformed { file: "stat" })?;
        Ok(Self {
            cpu_seconds: (f64::from(user) + f64::from(system)) / ticks,
            resident_bytes: resident.saturating_mul(page_bytes),
            virtual_bytes: size.saturating_mul(page_bytes),
            open_files: fs.list(&proc.join("self/fd"))?.len() as u64,
            threads: u64::from(threads),
            start_seconds: boot + f64::from(start) / ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use platform::{SimFs, SystemFs};

    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<ProcessStats, ProcessError> {
        let fs = SimFs::new();
        fs.create_dir_all(Path::new("/proc/self/fd/0")).expect("folders");
        for (name, text) in files {
            let path = Path::new("/proc").join(name);
            fs.create(&path).expect("create").append(text.as_bytes()).expect("write");
        }
        ProcessStats::read(fs.as_ref(), Path::new("/proc"))
    }

    const STAT: &str = "1 (tiny (obs) S 0 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 6 0 300 1000 10";

    #[test]
    fn a_process_is_read_from_proc() {
        let files =
            [("self/stat", STAT), ("self/statm", "100 50 1 1 0"), ("stat", "ctxt 1\nbtime 1000\n")];
        let stats = read(&files).expect("read");
        assert_eq!((stats.cpu_seconds, stats.start_seconds), (2.0, 1003.0));
        assert_eq!((stats.threads, stats.open_files), (6, 1));
        assert_eq!(stats.virtual_bytes, 2 * stats.resident_bytes);
    }

    #[test]
    fn other_files_than_expected_are_an_error() {
        for (files, expected) in [
            ([("self/stat", STAT), ("self/statm", "x"), ("stat", "btime 1\n")], "self/statm"),
            ([("self/stat", "1 (x"), ("self/statm", "1 1"), ("stat", "btime 1\n")], "self/stat'"),
            ([("self/stat", STAT), ("self/statm", "1 1"), ("stat", "")], "/proc/stat"),
        ] {
            let error = read(&files).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn this_process_can_be_read() {
        let stats = ProcessStats::read(SystemFs::new().as_ref(), Path::new("/proc"));
        assert!(stats.expect("read").resident_bytes > 1 << 20);
    }
}
