#!/usr/bin/env bash
# Everything that has to hold before a change lands.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install.sh test
make web/dist/index.html
scripts/lint.sh
scripts/say.sh "testing the page's library"
npm --prefix web test --silent
scripts/say.sh "building and running the tests: about 6 minutes the first time"
cargo test --workspace --locked --no-fail-fast
