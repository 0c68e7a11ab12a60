//! The protobuf package `causality.v1`: binary and JSON forms of events, and what a valid event is.
