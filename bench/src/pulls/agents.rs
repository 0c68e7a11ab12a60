//! The agents: each sends a full report once a second over a connection of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Bytes of a layer that arrive between two reports.
const STEP_BYTES: u64 = 1 << 20;

const SECOND: Duration = Duration::from_secs(1);

/// All agents, and when they sent what.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) address: String,
    agents: usize,
    pulls: usize,
    layers: usize,
    pull_reports: usize,
    started: Instant,
    /// When each report of each agent was sent, in microseconds after the start.
    sent: Vec<Vec<AtomicU64>>,
}

/// What a report says of one pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Which pull of its place on the node.
    pub(super) cycle: usize,
    /// How many reports of it came before.
    pub(super) step: usize,
}

/// What became of the reports.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    pub(super) reports: u64,
    pub(super) bytes: u64,
    /// Refused, or more than a second late.
    pub(super) failed: u64,
    pub(super) took: Duration,
}

/// Agents that report.
pub(super) struct Reporting {
    agents: JoinSet<anyhow::Result<Reported>>,
    started: Instant,
}

/// Most reports of one agent: their times are kept.
const REPORTS_MAX: usize = 3_600;

impl Fleet {
    pub(super) fn new(
        address: &str,
        (agents, pulls, layers): (usize, usize, usize),
        pull_reports: usize,
    ) -> Self {
        let times = || std::iter::repeat_with(AtomicU64::default).take(REPORTS_MAX).collect();
        Self {
            address: address.to_owned(),
            agents,
            pulls,
            layers,
            pull_reports,
            started: Instant::now(),
            sent: std::iter::repeat_with(times).take(agents).collect(),
        }
    }

    pub(super) const fn agents(&self) -> usize {
        self.agents
    }

    /// Starts all agents, spread over the second.
    pub(super) fn start(self: &Arc<Self>, ending: &Arc<AtomicBool>) -> Reporting {
        let mut agents = JoinSet::new();
        let started = Instant::now();
        for agent in 0..self.agents {
            let (fleet, ending) = (Arc::clone(self), Arc::clone(ending));
            let first = started + SECOND.mul_f64(agent as f64 / self.agents as f64);
            agents.spawn(async move { fleet.report(agent, first, &ending).await });
        }
        Reporting { agents, started }
    }

    /// Returns which pull is at a place in a report. Places begin at different times, so that ends are spread.
    pub(super) fn moment(&self, agent: usize, place: usize, report: usize) -> Moment {
        let shift = (agent * self.pulls + place) * 7 % self.pull_reports;
        let number = report + shift;
        Moment { cycle: number / self.pull_reports, step: number % self.pull_reports }
    }

    /// Returns when a report was sent that had so many bytes of a pull.
    pub(super) fn sent_at(
        &self,
        agent: usize,
        place: usize,
        cycle: usize,
        downloaded_bytes: u64,
    ) -> Option<Instant> {
        let step = usize::try_from(downloaded_bytes / (STEP_BYTES * self.layers as u64)).ok()?;
        let shift = (agent * self.pulls + place) * 7 % self.pull_reports;
        let report = (cycle * self.pull_reports + step).checked_sub(shift)?;
        let micros = self.sent.get(agent)?.get(report)?.load(Ordering::Relaxed);
        (micros > 0).then(|| self.started + Duration::from_micros(micros))
    }

    /// Returns whether the final state of a pull was reported between two times.
    pub(super) fn ended_within(
        &self,
        (agent, place, cycle): (usize, usize, usize),
        from: Instant,
        until: Instant,
    ) -> bool {
        let bytes = (self.pull_reports - 1) as u64 * STEP_BYTES * self.layers as u64;
        let sent = self.sent_at(agent, place, cycle, bytes);
        sent.is_some_and(|sent| (from..until).contains(&sent))
    }

    pub(super) const fn places(&self) -> usize {
        self.pulls
    }

    pub(super) const fn cycles_max(&self) -> usize {
        REPORTS_MAX / self.pull_reports + 1
    }

    async fn report(
        &self,
        agent: usize,
        first: Instant,
        ending: &AtomicBool,
    ) -> anyhow::Result<Reported> {
        tokio::time::sleep_until(first.into()).await;
        let mut stream = TcpStream::connect(&self.address).await.context("connect an agent")?;
        stream.set_nodelay(true).context("set no delay")?;
        let mut reported = Reported::default();
        let (mut body, mut request) = (String::new(), Vec::new());
        for report in 0..REPORTS_MAX {
            let due = first + SECOND * u32::try_from(report).context("a report's number")?;
            tokio::time::sleep_until(due.into()).await;
            if ending.load(Ordering::Relaxed) {
                return Ok(reported);
            }
            self.write(agent, report, &mut body)?;
            request.clear();
            request.extend_from_slice(
                format!(
                    "POST /api/v1/report HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .as_bytes(),
            );
            request.extend_from_slice(body.as_bytes());
            let micros = u64::try_from(self.started.elapsed().as_micros()).context("a time")?;
            self.sent[agent][report].store(micros, Ordering::Relaxed);
            stream.write_all(&request).await.context("send a report")?;
            let status = answer(&mut stream).await?;
            reported.reports += 1;
            reported.bytes += body.len() as u64;
            reported.failed += u64::from(status != 200 || due.elapsed() > SECOND);
        }
        bail!("the measurement is longer than {REPORTS_MAX} reports")
    }

    /// Writes what an agent of ours would send.
    fn write(&self, agent: usize, report: usize, body: &mut String) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
        let today = now.as_secs() % 86_400;
        let (hour, minute, second) = (today / 3_600, today / 60 % 60, today % 60);
        // The day does not matter: the server goes by its own clock.
        let time = format!("2026-11-21T{hour:02}:{minute:02}:{second:02}Z");
        body.clear();
        write!(
            body,
            r#"{{"nodeName":"node-{agent}","timestamp":"{time}","schemaVersion":2,"agentVersion":"0.1.0","sequence":{},"intervalMs":1000,"runtime":"containerd 1.7.24","source":"containerd","pulls":["#,
            report + 1
        )?;
        for place in 0..self.pulls {
            let moment = self.moment(agent, place, report);
            let is_last = moment.step + 1 == self.pull_reports;
            let comma = if place > 0 { "," } else { "" };
            let phase = if is_last { "completed" } else { "downloading" };
            write!(
                body,
                r#"{comma}{{"id":"{agent}-{place}-{cycle}","imageRef":"registry.example/team/app-{agent}-{place}-{cycle}:1","startedAt":"{time}","totalKnown":true,"phase":"{phase}","confidence":"certain","digest":"sha256:{cycle:064x}","layers":["#,
                cycle = moment.cycle,
            )?;
            for layer in 0..self.layers {
                let comma = if layer > 0 { "," } else { "" };
                let total = STEP_BYTES * (self.pull_reports as u64 - 1);
                let downloaded = STEP_BYTES * moment.step as u64;
                let phase = if is_last { "done" } else { "downloading" };
                let digest = (agent * 100 + place) * 100 + layer;
                write!(
                    body,
                    r#"{comma}{{"digest":"sha256:{digest:064x}","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","totalBytes":{total},"downloadedBytes":{downloaded},"totalKnown":true,"phase":"{phase}"}}"#,
                )?;
            }
            body.push_str("]}");
        }
        body.push_str("]}");
        Ok(())
    }
}

impl Reporting {
    /// Waits until all agents have ended.
    pub(super) async fn end(mut self) -> anyhow::Result<Reported> {
        let mut sum = Reported::default();
        while let Some(agent) = self.agents.join_next().await {
            let agent = agent.context("an agent panicked")??;
            sum.reports += agent.reports;
            sum.bytes += agent.bytes;
            sum.failed += agent.failed;
        }
        sum.took = self.started.elapsed();
        Ok(sum)
    }
}

/// Reads an answer with a short body and returns its status.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let mut bytes = [0; 4_096];
    let mut filled = 0;
    loop {
        ensure!(filled < bytes.len(), "an answer is too long");
        let read = stream.read(&mut bytes[filled..]).await.context("read an answer")?;
        ensure!(read > 0, "the server closed an agent's connection");
        filled += read;
        let text = String::from_utf8_lossy(&bytes[..filled]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        return status.with_context(|| format!("no status in '{head}'"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_pull_say_which_report_they_are_from() {
        let fleet = Fleet::new("", (3, 2, 8), 10);
        for report in 0..40 {
            fleet.sent[2][report].store(1 + report as u64, Ordering::Relaxed);
        }
        for report in 0..40 {
            let Moment { cycle, step } = fleet.moment(2, 1, report);
            let sent = fleet.sent_at(2, 1, cycle, step as u64 * STEP_BYTES * 8);
            let micros = Duration::from_micros(1 + report as u64);
            assert_eq!(sent, Some(fleet.started + micros), "{report}");
        }
    }
}
