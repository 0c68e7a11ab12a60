//! The collector over files of our own, and over this machine's.

use std::path::Path;

use model::{AppendReceipt, CommitSequence, Durable, Labels, Rejections, Timestamp};
use parking_lot::Mutex;
use platform::{SimClock, SimFs, SystemFs};

use super::*;

/// Keeps what is appended.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<(Labels, f64)>>);

impl SampleSink for Kept {
    fn append(&self, batch: &WriteBatch<'_>, _: AppendMode) -> Result<AppendReceipt, AppendError> {
        for series in batch.series() {
            let labels = series.key.decode().expect("labels");
            self.0
                .lock()
                .extend(series.samples.iter().map(|sample| (labels.clone(), sample.value)));
        }
        Ok(AppendReceipt {
            sequence: CommitSequence(0),
            stored_samples: batch.sample_count(),
            rejections: Rejections::default(),
        })
    }

    fn durable(&self, _: CommitSequence) -> Durable {
        Box::pin(std::future::ready(Ok(())))
    }
}

const FILES: [(&str, &str); 14] = [
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
    ("self/stat", "1 (tiny obs) S 0 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 6 0 300 1000 10"),
    ("self/statm", "100 50 1 1 0 1 0"),
    ("sys/fs/file-nr", "1000\t0\t9999\n"),
    ("sys/kernel/hostname", "box\n"),
    ("sys/kernel/domainname", "(none)\n"),
    ("sys/kernel/osrelease", "6.1\n"),
    ("sys/kernel/ostype", "Linux\n"),
];

fn collect(files: &[(&str, &str)]) -> Vec<(String, f64)> {
    let fs = SimFs::new();
    for (name, text) in files {
        let path = Path::new("/proc").join(name);
        fs.create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs.create(&path).expect("create").append(text.as_bytes()).expect("write");
    }
    fs.create_dir_all(Path::new("/proc/self/fd")).expect("folder");
    let clock = SimClock::new(Timestamp::from_millis(5_000_500));
    let sink = Arc::new(Kept::default());
    let config = HostCollectorConfig::default();
    let collector =
        HostCollector::new(config, fs, Arc::new(clock), Arc::clone(&sink) as _, Vec::new());
    collector.sample().expect("sampled");
    let kept = sink.0.lock();
    kept.iter().map(|(labels, value)| (labels.to_string(), *value)).collect()
}

fn value_of(samples: &[(String, f64)], name: &str, label: &str) -> Option<f64> {
    let wanted = format!("__name__={name:?}");
    let found =
        samples.iter().find(|(labels, _)| labels.contains(&wanted) && labels.contains(label));
    found.map(|(_, value)| *value)
}

#[test]
fn the_machine_is_named_as_node_exporter_names_it() {
    let mut files = FILES.to_vec();
    files.push(("sys/kernel/version", "#1\n"));
    let samples = collect(&files);
    for (name, label, expected) in [
        ("node_cpu_seconds_total", r#"mode="system""#, 2.5),
        ("node_cpu_seconds_total", r#"cpu="0""#, 1.0),
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
        ("process_cpu_seconds_total", r#"job="tinyobs""#, 2.0),
        ("process_start_time_seconds", "", 1003.0),
        ("up", r#"instance="box", job="node""#, 1.0),
    ] {
        assert_eq!(value_of(&samples, name, label), Some(expected), "{name} {label}");
    }
    assert_eq!(value_of(&samples, "node_disk_read_bytes_total", r#"device="sda1""#), None);
    assert_eq!(value_of(&samples, "node_vmstat_nr_free_pages", ""), None);
}

#[test]
fn what_cannot_be_read_is_left_out_and_said() {
    let files: Vec<_> = FILES.into_iter().filter(|(name, _)| *name != "meminfo").collect();
    let samples = collect(&files);
    let success = |part: &str| {
        value_of(&samples, "node_scrape_collector_success", &format!("collector={part:?}"))
    };
    assert_eq!(success("meminfo"), Some(0.0));
    assert_eq!(success("stat"), Some(1.0));
}

#[test]
fn this_machine_can_be_sampled() {
    let clock = SimClock::new(Timestamp::from_millis(0));
    let sink = Arc::new(Kept::default());
    let config = HostCollectorConfig::default();
    let collector = HostCollector::new(
        config,
        SystemFs::new(),
        Arc::new(clock),
        Arc::clone(&sink) as _,
        Vec::new(),
    );
    collector.sample().expect("sampled");
    let kept = sink.0.lock();
    let names: Vec<&str> = kept.iter().filter_map(|(labels, _)| labels.metric_name()).collect();
    for name in ["node_cpu_seconds_total", "node_memory_MemTotal_bytes", "process_open_fds"] {
        assert!(names.contains(&name), "{name}");
    }
}
