//! This process, named as Prometheus' client libraries name it.

use super::{Host, HostError, number};
use crate::page::{Metric, Page};

const CPU: Metric =
    Metric::counter("process_cpu_seconds_total", "Seconds of CPU time that the process used.");
const RESIDENT: Metric =
    Metric::gauge("process_resident_memory_bytes", "Memory that the process occupies.");
const VIRTUAL: Metric =
    Metric::gauge("process_virtual_memory_bytes", "Address space that the process uses.");
const OPEN_FILES: Metric = Metric::gauge("process_open_fds", "Number of open files.");
const START: Metric = Metric::gauge(
    "process_start_time_seconds",
    "When the process started, in seconds since the epoch.",
);
const THREADS: Metric = Metric::gauge("process_threads", "Number of threads.");

pub(super) fn observe(host: &Host, page: &mut Page) -> Result<(), HostError> {
    let ticks = f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100));
    let page_bytes = f64::from(u32::try_from(rustix::param::page_size()).unwrap_or(4096));

    let stat = host.read("self/stat")?;
    // The program's name may hold blanks and parentheses; what follows it does not.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_ascii_whitespace().map(|word| number(word).unwrap_or(0.0)).collect()
        })
        .unwrap_or_default();
    // Counted from the state, which is field 3 of proc(5).
    let field = |number: usize| fields.get(number - 3).copied();
    let (Some(user), Some(system), Some(threads), Some(start)) =
        (field(14), field(15), field(20), field(22))
    else {
        return Err(host.malformed("self/stat", "too few fields"));
    };
    page.say(CPU, (user + system) / ticks);
    page.say(THREADS, threads);
    if let Some(boot) = boot_time(host)? {
        page.say(START, boot + start / ticks);
    }

    let statm = host.read("self/statm")?;
    let mut pages = statm.split_ascii_whitespace().map(|word| number(word).unwrap_or(0.0));
    let (Some(size), Some(resident)) = (pages.next(), pages.next()) else {
        return Err(host.malformed("self/statm", "too few fields"));
    };
    page.say(VIRTUAL, size * page_bytes);
    page.say(RESIDENT, resident * page_bytes);

    let open = host.fs.list(&host.path("self/fd"))?.len();
    page.say(OPEN_FILES, f64::from(u32::try_from(open).unwrap_or(u32::MAX)));
    Ok(())
}

fn boot_time(host: &Host) -> Result<Option<f64>, HostError> {
    let stat = host.read("stat")?;
    Ok(stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(number))
}
