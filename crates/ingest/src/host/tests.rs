//! The collector over files of our own, and over this machine's.

use std::path::Path;

use model::Timestamp;
use platform::{SimClock, SimFs, SystemFs};

use super::*;
use crate::testing::Kept;

const FILES: [(&str, &str); 12] = [
    (
        "stat",
        "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 100 0 250 4 5 6 7 8 0 0\nintr 9 1 2\nctxt 77\nbtime 1000\n\
         processes 5\nprocs_running 2\nprocs_blocked 1\n",
    ),
    ("meminfo", "MemTotal:       2048 kB\nActive(anon):   4 kB\nHugePages_Total:       3\n"),
    ("loadavg", "0.50 0.25 0.10 1/93 4711\n"),
    (
        "diskstats",
        " 8 0 sda 10 1 4 2000 20 2 8 3000 1 4000 5000 0 0\n 8 1 sda1 9 9 9 9 9 9 9 9 9 9 9\n",
    ),
    ("net/dev", "Inter-|\n face |\n  eth0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n"),
    ("vmstat", "pgfault 12\nnr_free_pages 5\n"),
    ("self/mounts", "/dev/sda1 / ext4 rw,noatime 0 0\nproc /proc proc rw 0 0\n"),
    ("sys/fs/file-nr", "1000\t0\t9999\n"),
    ("sys/kernel/hostname", "box\n"),
    ("sys/kernel/domainname", "(none)\n"),
    ("sys/kernel/osrelease", "6.1\n"),
    ("sys/kernel/ostype", "Linux\n"),
];

fn collect(files: &[(&str, &str)]) -> Arc<Kept> {
    let fs = SimFs::new();
    for (name, text) in files {
        let path = Path::new("/proc").join(name);
        fs.create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs.create(&path).expect("create").append(text.as_bytes()).expect("write");
    }
    sample(fs)
}

fn sample(fs: Arc<dyn Fs>) -> Arc<Kept> {
    let clock = SimClock::new(Timestamp::from_millis(5_000_500));
    let sink = Arc::new(Kept::default());
    let config = HostCollectorConfig { proc: "/proc".into(), instance: "box".to_owned() };
    let collector = HostCollector::new(config, fs, Arc::new(clock), Arc::clone(&sink) as _);
    collector.sample().expect("sampled");
    sink
}

#[test]
fn the_machine_is_named_as_node_exporter_names_it() {
    let mut files = FILES.to_vec();
    files.push(("sys/kernel/version", "#1\n"));
    let samples = collect(&files);
    for (name, label, expected) in [
        ("node_cpu_seconds_total", r#"mode="system""#, 2.5),
        ("node_cpu_seconds_total", r#"mode="user""#, 1.0),
        ("node_context_switches_total", "", 77.0),
        ("node_memory_MemTotal_bytes", "", 2_097_152.0),
        ("node_memory_Active_anon_bytes", "", 4096.0),
        ("node_memory_HugePages_Total", "", 3.0),
        ("node_load5", "", 0.25),
        ("node_processes_threads", "", 93.0),
        ("node_disk_read_bytes_total", r#"device="sda""#, 2048.0),
        ("node_disk_write_time_seconds_total", r#"device="sda""#, 3.0),
        ("node_network_transmit_bytes_total", r#"device="eth0""#, 200.0),
        ("node_vmstat_pgfault", "", 12.0),
        ("node_filesystem_readonly", r#"mountpoint="/""#, 0.0),
        ("node_filefd_maximum", "", 9999.0),
        ("node_uname_info", r#"release="6.1""#, 1.0),
        ("node_time_seconds", "", 5000.5),
        ("up", r#"instance="box", job="node""#, 1.0),
    ] {
        assert_eq!(samples.value_of(name, label), Some(expected), "{name} {label}");
    }
    assert_eq!(samples.value_of("node_disk_read_bytes_total", r#"device="sda1""#), None);
    assert_eq!(samples.value_of("node_vmstat_nr_free_pages", ""), None);
}

#[test]
fn what_cannot_be_read_is_left_out_and_said() {
    let files: Vec<_> = FILES.into_iter().filter(|(name, _)| *name != "meminfo").collect();
    let samples = collect(&files);
    let success = |part: &str| {
        samples.value_of("node_scrape_collector_success", &format!("collector={part:?}"))
    };
    assert_eq!(success("meminfo"), Some(0.0));
    assert_eq!(success("stat"), Some(1.0));
}

#[test]
fn this_machine_can_be_sampled() {
    let samples = sample(SystemFs::new());
    for name in ["node_cpu_seconds_total", "node_memory_MemTotal_bytes", "node_uname_info"] {
        assert!(samples.value_of(name, "").is_some(), "{name}");
    }
}

#[test]
fn a_machine_without_a_name_is_localhost() {
    let fs = SimFs::new();
    let proc = Path::new("/proc");
    assert_eq!(host_name(fs.as_ref(), proc), "localhost");
    fs.create_dir_all(&proc.join("sys/kernel")).expect("folders");
    let mut file = fs.create(&proc.join("sys/kernel/hostname")).expect("create");
    file.append(b"box\n").expect("write");
    assert_eq!(host_name(fs.as_ref(), proc), "box");
}
