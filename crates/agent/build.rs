//! Turns the protobuf definitions into the messages and clients of containerd's services; for tests into servers, too.

#![expect(clippy::disallowed_methods, reason = "a build script reads its environment")]

use std::error::Error;

const SERVICES: [&str; 6] = [
    "content.proto",
    "events.proto",
    "images.proto",
    "leases.proto",
    "snapshots.proto",
    "version.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    let testing = std::env::var("CARGO_FEATURE_TESTING").is_ok();
    let files = SERVICES.into_iter().chain(testing.then_some("cri.proto"));
    tonic_prost_build::configure()
        .build_server(testing)
        .build_transport(false)
        .compile_fds(protox::compile(files, ["proto"])?)?;
    Ok(())
}
