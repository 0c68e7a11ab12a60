//! Disks and file systems.

use std::path::Path;

use super::{Host, HostError, number};
use crate::page::{Metric, Page};

/// Bytes of a sector as the kernel counts them, whatever the disk's own are.
const SECTOR_BYTES: f64 = 512.0;

/// The columns of `/proc/diskstats` after the device's name, with what one unit is.
const DISK_COLUMNS: [(Metric, f64); 11] = [
    (Metric::counter("node_disk_reads_completed_total", "Number of reads."), 1.0),
    (Metric::counter("node_disk_reads_merged_total", "Number of reads merged."), 1.0),
    (Metric::counter("node_disk_read_bytes_total", "Bytes read."), SECTOR_BYTES),
    (Metric::counter("node_disk_read_time_seconds_total", "Seconds spent by reads."), 0.001),
    (Metric::counter("node_disk_writes_completed_total", "Number of writes."), 1.0),
    (Metric::counter("node_disk_writes_merged_total", "Number of writes merged."), 1.0),
    (Metric::counter("node_disk_written_bytes_total", "Bytes written."), SECTOR_BYTES),
    (Metric::counter("node_disk_write_time_seconds_total", "Seconds spent by writes."), 0.001),
    (Metric::gauge("node_disk_io_now", "Number of operations in progress."), 1.0),
    (
        Metric::counter(
            "node_disk_io_time_seconds_total",
            "Seconds with an operation in progress.",
        ),
        0.001,
    ),
    (
        Metric::counter("node_disk_io_time_weighted_seconds_total", "Seconds spent by operations."),
        0.001,
    ),
];

const SIZE: Metric = Metric::gauge("node_filesystem_size_bytes", "Size of a file system.");
const FREE: Metric = Metric::gauge("node_filesystem_free_bytes", "Free space of a file system.");
const AVAILABLE: Metric =
    Metric::gauge("node_filesystem_avail_bytes", "Space that is available to ordinary users.");
const FILES: Metric = Metric::gauge("node_filesystem_files", "Number of inodes.");
const FILES_FREE: Metric = Metric::gauge("node_filesystem_files_free", "Number of free inodes.");
const READ_ONLY: Metric = Metric::gauge("node_filesystem_readonly", "Whether it is read-only.");

/// File systems that hold no files of anybody, as node_exporter leaves them out.
const VIRTUAL_TYPES: [&str; 24] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// Folders below which mounts are no disks of the host.
const EXCLUDED_MOUNTS: [&str; 6] =
    ["/dev", "/proc", "/sys", "/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"];

pub(super) fn diskstats(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("diskstats")?;
    let disks: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_ascii_whitespace().skip(2).collect::<Vec<&str>>())
        .filter(|words| words.first().is_some_and(|device| is_disk(device)))
        .collect();
    for (column, (metric, unit)) in DISK_COLUMNS.iter().enumerate() {
        for words in &disks {
            let (Some(device), Some(word)) = (words.first(), words.get(column + 1)) else {
                continue;
            };
            let Some(value) = number(word) else {
                return Err(host.malformed("diskstats", "not a number"));
            };
            page.say_with(*metric, &[("device", device)], value * unit);
        }
    }
    Ok(())
}

/// Returns whether a block device is a whole disk: no memory disk, no loop, no partition.
fn is_disk(device: &str) -> bool {
    let stem = device.trim_end_matches(|character: char| character.is_ascii_digit());
    let numbered = stem.len() < device.len();
    if numbered && ["ram", "zram", "loop", "fd"].contains(&stem) {
        return false;
    }
    let lettered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let partition = ["hd", "sd", "vd", "xvd"].iter().any(|prefix| lettered(prefix))
        || (stem.starts_with("nvme") && stem.ends_with('p'));
    !(numbered && partition)
}

pub(super) fn filesystem(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("self/mounts").or_else(|_| host.read("mounts"))?;
    let mut mounts: Vec<Mount<'_>> = text.lines().filter_map(Mount::parse).collect();
    // A place that is mounted over shows the last mount.
    mounts.reverse();
    mounts.sort_by(|left, right| left.point.cmp(&right.point));
    mounts.dedup_by(|later, earlier| later.point == earlier.point);
    let spaces: Vec<_> = mounts
        .iter()
        .filter_map(|mount| Some((mount, host.fs.space(Path::new(&mount.point)).ok()?)))
        .filter(|(_, space)| space.total_bytes > 0)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "sizes of disks in 53 bits are exact enough")]
    for (metric, value) in [
        (SIZE, (|s| s.total_bytes as f64) as fn(&platform::DiskSpace) -> f64),
        (FREE, |s| s.free_bytes as f64),
        (AVAILABLE, |s| s.available_bytes as f64),
        (FILES, |s| s.files as f64),
        (FILES_FREE, |s| s.files_free as f64),
    ] {
        for (mount, space) in &spaces {
            page.say_with(metric, &mount.labels(), value(space));
        }
    }
    for (mount, _) in &spaces {
        page.say_with(READ_ONLY, &mount.labels(), f64::from(u8::from(mount.read_only)));
    }
    Ok(())
}

struct Mount<'a> {
    device: String,
    point: String,
    fs_type: &'a str,
    read_only: bool,
}

impl<'a> Mount<'a> {
    /// Returns the mount that a line describes, unless it is none of a disk.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (device, point) = (unescape(words.next()?), unescape(words.next()?));
        let (fs_type, options) = (words.next()?, words.next()?);
        let excluded = EXCLUDED_MOUNTS.iter().any(|folder| Path::new(&point).starts_with(folder));
        if excluded || (VIRTUAL_TYPES.contains(&fs_type) && point != "/") {
            return None;
        }
        let read_only = options.split(',').any(|option| option == "ro");
        Some(Self { device, point, fs_type, read_only })
    }

    fn labels(&self) -> [(&'static str, &str); 3] {
        [("device", &self.device), ("fstype", self.fs_type), ("mountpoint", &self.point)]
    }
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::is_disk;

    #[test]
    fn whole_disks_are_told_from_partitions_and_memory_disks() {
        for disk in ["sda", "vda", "nvme0n1", "dm-0", "md0", "mmcblk0", "sr0"] {
            assert!(is_disk(disk), "{disk}");
        }
        for other in ["sda1", "vda12", "nvme0n1p2", "ram0", "loop7", "xvda1"] {
            assert!(!is_disk(other), "{other}");
        }
    }
}
