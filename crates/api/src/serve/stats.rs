//! What happened on the socket, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what happens on the socket. Cheap to read at any time; each number is exact, all together are not one instant.
#[derive(Debug, Default)]
pub struct ServeStats {
    accepted: AtomicU64,
    open: AtomicU64,
    live: AtomicU64,
    refused_address: AtomicU64,
    silent: AtomicU64,
    handshakes: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_timed_out: AtomicU64,
    not_tls: AtomicU64,
    http1: AtomicU64,
    http2: AtomicU64,
    idle: AtomicU64,
    stalled: AtomicU64,
}

/// The numbers of [`ServeStats`] at a time. All but the first two only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeCounts {
    /// Connections that are open now, those that were upgraded included.
    pub connections_open: u64,
    /// Connections that became something else than HTTP and are open now.
    pub upgraded_open: u64,
    /// Connections that were accepted, those refused afterwards included.
    pub connections_accepted: u64,
    /// Connections that were closed at once because their address had too many.
    pub connections_refused_address: u64,
    /// Connections that ended because their first bytes did not come in time.
    pub connections_silent: u64,
    /// Connections that spoke HTTP/1.1.
    pub connections_http1: u64,
    /// Connections that spoke HTTP/2.
    pub connections_http2: u64,
    /// HTTP/2 connections that were ended because nothing was asked for too long.
    pub connections_idle: u64,
    /// HTTP/2 connections that were ended because an answer was left unread for too long.
    pub connections_stalled: u64,
    /// TLS handshakes that succeeded.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed: no common version, a certificate that is missing or not trusted, and so on.
    pub tls_handshakes_failed: u64,
    /// TLS handshakes that took too long.
    pub tls_handshakes_timed_out: u64,
    /// Connections that did not begin with TLS where they should have.
    pub tls_missing: u64,
}

/// Something that happens once to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    RefusedAddress,
    Silent,
    Handshake,
    HandshakeFailed,
    HandshakeTimedOut,
    NotTls,
    Http1,
    Http2,
    Idle,
    Stalled,
}

impl ServeStats {
    /// Returns the numbers as they are now.
    #[must_use]
    pub fn counts(&self) -> ServeCounts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ServeCounts {
            connections_open: read(&self.open),
            upgraded_open: read(&self.live),
            connections_accepted: read(&self.accepted),
            connections_refused_address: read(&self.refused_address),
            connections_silent: read(&self.silent),
            connections_http1: read(&self.http1),
            connections_http2: read(&self.http2),
            connections_idle: read(&self.idle),
            connections_stalled: read(&self.stalled),
            tls_handshakes: read(&self.handshakes),
            tls_handshakes_failed: read(&self.handshakes_failed),
            tls_handshakes_timed_out: read(&self.handshakes_timed_out),
            tls_missing: read(&self.not_tls),
        }
    }

    pub(crate) fn record(&self, event: Event) {
        let number = match event {
            Event::RefusedAddress => &self.refused_address,
            Event::Silent => &self.silent,
            Event::Handshake => &self.handshakes,
            Event::HandshakeFailed => &self.handshakes_failed,
            Event::HandshakeTimedOut => &self.handshakes_timed_out,
            Event::NotTls => &self.not_tls,
            Event::Http1 => &self.http1,
            Event::Http2 => &self.http2,
            Event::Idle => &self.idle,
            Event::Stalled => &self.stalled,
        };
        number.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn upgraded(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn upgraded_closed(&self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}
