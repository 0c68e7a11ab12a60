#!/usr/bin/env bash
# Format, lints, toolchain, dependencies, documents.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
actual=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$wanted" "$actual" | sort -V | head -n1)" != "$wanted" ]; then
  echo "error: rustc $actual is older than $wanted, the rust-version in Cargo.toml" >&2
  exit 1
fi

scripts/say.sh "checking the format"
cargo fmt --all --check
scripts/say.sh "clippy: about 4 minutes the first time"
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
scripts/say.sh "checking documents, dependencies and licences"
cargo run --quiet --locked -p xtask -- tidy
scripts/say.sh "checking the page's source"
npm --prefix web run --silent lint
