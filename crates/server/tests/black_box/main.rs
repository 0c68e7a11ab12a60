//! Drives the real program as its users do: over its command line, its port, and real peers.
//!
//! What a test needs from outside (Debian's Prometheus, a browser) is started on free ports of 127.0.0.1;
//! where it is not installed, the test says so in one line.

mod access;
mod command_line;
mod contract;
mod crash;
mod events;
mod load;
mod login;
mod manifests;
mod page;
mod peers;
mod program;
mod prometheus;
mod pulls;
mod pulls_command;
mod real_pulls;
mod recorder;
mod shutdown;
mod tls;
