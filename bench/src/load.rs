//! Sending: remote write 1.0 over two connections, as fast as the server answers.

use std::time::Duration;

use anyhow::Context as _;

use crate::peer::Peer;
use crate::report::Row;
use crate::workload::{Exposition, Series, push_bytes, push_varint};

/// Seconds between two samples of a series.
pub(crate) const STEP_S: u64 = 15;

/// Series of one request.
const SERIES_PER_REQUEST: usize = 5_000;

/// Connections; each series always uses the same one.
const CONNECTIONS: usize = 2;

/// Everything that one measurement sends.
#[derive(Debug)]
pub(crate) struct Load {
    shares: Vec<Vec<Series>>,
    steps: u64,
    start_ms: u64,
    samples: u64,
}

impl Load {
    /// Returns the load of a row that ends shortly before `now`.
    pub(crate) fn new(exposition: &Exposition, row: Row, seed: u64, now: Duration) -> Self {
        let mut series = exposition.instances(row.instances, seed);
        let samples = series.len() as u64 * row.steps;
        let half = (row.instances.div_ceil(CONNECTIONS) * exposition.len()).min(series.len());
        let second = series.split_off(half);
        let start_s = now.as_secs() / STEP_S * STEP_S - row.steps * STEP_S;
        Self { shares: vec![series, second], steps: row.steps, start_ms: start_s * 1000, samples }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns the time of the last sample.
    pub(crate) fn end(&self) -> Duration {
        Duration::from_millis(self.start_ms + (self.steps - 1) * STEP_S * 1000)
    }

    /// Sends everything and waits for the last acknowledgement.
    pub(crate) fn send(self, peer: &Peer) -> anyhow::Result<()> {
        let Self { shares, steps, start_ms, .. } = self;
        std::thread::scope(|scope| {
            let senders: Vec<_> = shares
                .into_iter()
                .filter(|share| !share.is_empty())
                .map(|share| scope.spawn(move || send_share(share, steps, start_ms, peer)))
                .collect();
            for sender in senders {
                sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
            }
            Ok(())
        })
    }
}

fn send_share(
    mut share: Vec<Series>,
    steps: u64,
    start_ms: u64,
    peer: &Peer,
) -> anyhow::Result<()> {
    let (mut connection, path) = (peer.connect()?, peer.kind.write_path());
    let mut encoder = snap::raw::Encoder::new();
    let (mut request, mut series_bytes) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let timestamp = start_ms + step * STEP_S * 1000;
        for chunk in share.chunks_mut(SERIES_PER_REQUEST) {
            request.clear();
            for series in chunk {
                series_bytes.clear();
                series_bytes.extend_from_slice(&series.labels);
                let mut sample = vec![1 << 3 | 1];
                sample.extend_from_slice(&series.step().to_le_bytes());
                sample.push(2 << 3);
                push_varint(&mut sample, timestamp);
                push_bytes(&mut series_bytes, 2, &sample);
                push_bytes(&mut request, 1, &series_bytes);
            }
            let body = encoder.compress_vec(&request).context("compress")?;
            connection.write(path, &body)?;
        }
    }
    Ok(())
}
