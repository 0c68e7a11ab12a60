//! The agent on a node: what containerd pulls, reported to a server.
