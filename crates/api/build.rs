//! Watches the built page, so that the program holds the newest one.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    // Cargo can watch a folder that exists. An empty one means: no page was built, serve the placeholder.
    if !dist.exists() {
        drop(std::fs::DirBuilder::new().recursive(true).create(&dist));
    }
    println!("cargo:rerun-if-changed={}", dist.display());
}
