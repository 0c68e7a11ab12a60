//! A connection that neither waits for ever for its peer nor cuts off what it said last.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use platform::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long a closing connection waits for more of what nobody reads.
const QUIET: Duration = Duration::from_millis(500);
/// How long a closing connection takes things in, all in all.
const LINGER: Duration = Duration::from_secs(5);
/// Most bytes that a closing connection takes in.
const LINGER_BYTES_MAX: usize = 64 << 20;

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream whose writes time out and which closes gently.
///
/// A peer that does not read for `write_timeout` is dropped. Closing a socket with unread bytes resets it, and a reset
/// destroys what the peer has not read yet: an early refusal of a long body. So what still comes in is taken in first.
pub(crate) struct Socket {
    stream: TcpStream,
    /// What was read already to see what the peer speaks.
    first: Bytes,
    clock: Arc<dyn Clock>,
    write_timeout: Duration,
    /// Runs while the peer does not read.
    stalled: Option<Sleep>,
    closing: Option<Closing>,
}

struct Closing {
    ends: Duration,
    bytes_left: usize,
    timer: Sleep,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        first: Bytes,
        clock: Arc<dyn Clock>,
        write_timeout: Duration,
    ) -> Self {
        Self { stream, first, clock, write_timeout, stalled: None, closing: None }
    }

    /// Passes on the outcome of a write unless it has been pending for too long.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let (clock, timeout) = (&self.clock, self.write_timeout);
        let stalled = self
            .stalled
            .get_or_insert_with(|| clock.sleep_until(clock.monotonic().saturating_add(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }

    /// Takes in what nobody reads until the peer is done, or has had its time.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = &self.clock;
        let closing = self.closing.get_or_insert_with(|| {
            let now = clock.monotonic();
            let timer = clock.sleep_until(now.saturating_add(QUIET));
            Closing { ends: now.saturating_add(LINGER), bytes_left: LINGER_BYTES_MAX, timer }
        });
        let mut ignored = [0; 16 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut ignored);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return closing.timer.as_mut().poll(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let taken = buffer.filled().len();
                    closing.bytes_left = closing.bytes_left.saturating_sub(taken);
                    if taken == 0 || closing.bytes_left == 0 {
                        return Poll::Ready(());
                    }
                    let quiet = clock.monotonic().saturating_add(QUIET);
                    closing.timer = clock.sleep_until(quiet.min(closing.ends));
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..length]);
            self.first.advance(length);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        ready!(self.linger(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use platform::SimClock;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    async fn pair(clock: &Arc<SimClock>) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let socket = Socket::new(stream, Bytes::new(), Arc::new(Arc::clone(clock)), TIMEOUT);
        (socket, peer.expect("a connection"))
    }

    /// Lets simulated time pass for ever.
    async fn pass_time(clock: &SimClock, step: Duration) {
        loop {
            tokio::task::yield_now().await;
            clock.advance(step);
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let (mut socket, _peer) = pair(&clock).await;
        let much = vec![0; 64 << 20];
        let error = tokio::select! {
            biased;
            written = socket.write_all(&much) => written.expect_err("nobody reads it"),
            () = pass_time(&clock, TIMEOUT) => unreachable!("time passes for ever"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_neither_sends_nor_closes_does_not_hold_up_the_end() {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let (mut socket, _peer) = pair(&clock).await;
        tokio::select! {
            biased;
            closed = socket.shutdown() => closed.expect("closed"),
            () = pass_time(&clock, QUIET) => unreachable!("time passes for ever"),
        }
    }

    #[tokio::test]
    async fn a_peer_that_never_stops_sending_is_cut_off() {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let (mut socket, mut peer) = pair(&clock).await;
        let much = vec![0; 2 * LINGER_BYTES_MAX];
        let (closed, ()) = tokio::join!(
            async {
                let closed = socket.shutdown().await;
                drop(socket);
                closed
            },
            async {
                peer.write_all(&much).await.expect_err("it is not all taken in");
            }
        );
        closed.expect("closed");
    }
}
