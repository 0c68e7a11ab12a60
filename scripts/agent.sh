#!/usr/bin/env bash
# Builds the agent without shared libraries: scripts/agent.sh TARGET-FOLDER. The program is TARGET-FOLDER/agent/tinyobs-agent.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')
# With the target named, the flags do not reach build scripts and procedural macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --profile agent --locked --package agent --bin tinyobs-agent --target "$triple" --target-dir "$target"
mkdir -p "$target/agent"
cp "$target/$triple/agent/tinyobs-agent" "$target/agent/tinyobs-agent"
if readelf --dynamic "$target/agent/tinyobs-agent" | grep -q NEEDED; then
    echo "the agent needs shared libraries" >&2
    exit 1
fi
ls -l "$target/agent/tinyobs-agent"
