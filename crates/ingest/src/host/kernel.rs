//! Processor, memory, load, network: one file below `/proc` each.

use model::Timestamp;

use super::{Host, HostError, number, split_colon};
use crate::page::{Metric, Page};

/// What the kernel counts in `/proc/stat` and the like, per second; fixed by its interface to programs.
fn ticks_per_second() -> f64 {
    f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100))
}

const TIME: Metric = Metric::gauge("node_time_seconds", "Seconds since the epoch.");
const CPU: Metric =
    Metric::counter("node_cpu_seconds_total", "Seconds that a CPU spent in each mode.");
const CONTEXT_SWITCHES: Metric =
    Metric::counter("node_context_switches_total", "Number of context switches.");
const BOOT_TIME: Metric = Metric::gauge(
    "node_boot_time_seconds",
    "When the machine was started, in seconds since the epoch.",
);
const FORKS: Metric = Metric::counter("node_forks_total", "Number of forks.");
const INTERRUPTS: Metric = Metric::counter("node_intr_total", "Number of interrupts served.");
const RUNNING: Metric = Metric::gauge("node_procs_running", "Number of runnable processes.");
const BLOCKED: Metric = Metric::gauge("node_procs_blocked", "Number of processes waiting for I/O.");
const LOADS: [Metric; 3] = [
    Metric::gauge("node_load1", "Load average over 1 minute."),
    Metric::gauge("node_load5", "Load average over 5 minutes."),
    Metric::gauge("node_load15", "Load average over 15 minutes."),
];
const THREADS: Metric = Metric::gauge("node_processes_threads", "Number of threads.");
const PIDS: Metric = Metric::gauge("node_processes_pids", "Number of processes.");
const UNAME: Metric = Metric::gauge("node_uname_info", "The machine's name and kernel; always 1.");
const FILES: Metric = Metric::gauge("node_filefd_allocated", "Number of open files.");
const FILES_MAX: Metric = Metric::gauge("node_filefd_maximum", "Most open files.");

const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

pub(super) fn time(now: Timestamp, page: &mut Page) {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our age fit into 53 bits")]
    page.say(TIME, now.as_millis() as f64 / 1000.0);
}

pub(super) fn stat(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("stat")?;
    let mut cpus = 0;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(first)) = (words.next(), words.next()) else { continue };
        let metric = match key {
            "ctxt" => CONTEXT_SWITCHES,
            "btime" => BOOT_TIME,
            "processes" => FORKS,
            "intr" => INTERRUPTS,
            "procs_running" => RUNNING,
            "procs_blocked" => BLOCKED,
            _ => {
                if let Some(cpu) = key.strip_prefix("cpu").filter(|cpu| !cpu.is_empty()) {
                    cpus += 1;
                    for (mode, ticks) in MODES.iter().zip(std::iter::once(first).chain(words)) {
                        let seconds = number(ticks).unwrap_or(0.0) / ticks_per_second();
                        page.say_with(CPU, &[("cpu", cpu), ("mode", mode)], seconds);
                    }
                }
                continue;
            }
        };
        if let Some(value) = number(first) {
            page.say(metric, value);
        }
    }
    if cpus == 0 { Err(host.malformed("stat", "no line of a CPU")) } else { Ok(()) }
}

pub(super) fn meminfo(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("meminfo")?;
    for line in text.lines() {
        let Some((name, rest)) = split_colon(line) else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(value) = words.next().and_then(number) else { continue };
        // `Active(anon)` is node_memory_Active_anon_bytes.
        let name = name.replace('(', "_").replace(')', "");
        match words.next() {
            Some("kB") => {
                page.say_named(format!("node_memory_{name}_bytes"), &[], value * 1024.0);
            }
            _ => page.say_named(format!("node_memory_{name}"), &[], value),
        }
    }
    Ok(())
}

pub(super) fn loadavg(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("loadavg")?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    for (metric, word) in LOADS.iter().zip(&words) {
        let load = number(word).ok_or_else(|| host.malformed("loadavg", "not a number"))?;
        page.say(*metric, load);
    }
    let threads =
        words.get(3).and_then(|word| word.split_once('/')).and_then(|(_, all)| number(all));
    if let Some(threads) = threads {
        page.say(THREADS, threads);
    }
    let processes = host.fs.list(&host.proc)?;
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let count = processes.iter().filter(|entry| entry.is_dir && is_process(&entry.name)).count();
    page.say(PIDS, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    Ok(())
}

pub(super) fn uname(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let part = |name: &str| Ok::<_, HostError>(host.read(name)?.trim().to_owned());
    let labels = [
        ("domainname", part("sys/kernel/domainname")?),
        ("nodename", part("sys/kernel/hostname")?),
        ("release", part("sys/kernel/osrelease")?),
        ("sysname", part("sys/kernel/ostype")?),
        ("version", part("sys/kernel/version")?),
        ("machine", std::env::consts::ARCH.to_owned()),
    ];
    let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
    page.say_with(UNAME, &labels, 1.0);
    Ok(())
}

pub(super) fn filefd(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let text = host.read("sys/fs/file-nr")?;
    let mut words = text.split_ascii_whitespace();
    let (allocated, maximum) = (words.next().and_then(number), words.nth(1).and_then(number));
    let (Some(allocated), Some(maximum)) = (allocated, maximum) else {
        return Err(host.malformed("sys/fs/file-nr", "not three numbers"));
    };
    page.say(FILES, allocated);
    page.say(FILES_MAX, maximum);
    Ok(())
}

pub(super) fn vmstat(host: &Host, page: &mut Page) -> Result<(), HostError> {
    /// Those that node_exporter keeps by default.
    const KEPT: [&str; 7] =
        ["oom_kill", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault"];
    let text = host.read("vmstat")?;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        if let (true, Some(value)) = (KEPT.contains(&name), number(value)) {
            page.say_named(format!("node_vmstat_{name}"), &[], value);
        }
    }
    Ok(())
}

pub(super) fn netdev(host: &Host, page: &mut Page) -> Result<(), HostError> {
    /// The columns of the file, which are node_exporter's names too.
    const COLUMNS: [&str; 16] = [
        "receive_bytes",
        "receive_packets",
        "receive_errs",
        "receive_drop",
        "receive_fifo",
        "receive_frame",
        "receive_compressed",
        "receive_multicast",
        "transmit_bytes",
        "transmit_packets",
        "transmit_errs",
        "transmit_drop",
        "transmit_fifo",
        "transmit_colls",
        "transmit_carrier",
        "transmit_compressed",
    ];
    let text = host.read("net/dev")?;
    for line in text.lines().skip(2) {
        let Some((device, rest)) = split_colon(line) else { continue };
        for (column, word) in COLUMNS.iter().zip(rest.split_ascii_whitespace()) {
            if let Some(value) = number(word) {
                let name = format!("node_network_{column}_total");
                page.say_named(name, &[("device", device)], value);
            }
        }
    }
    Ok(())
}
