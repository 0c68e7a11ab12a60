#!/usr/bin/env bash
# Measures: `events` or `pulls` first among the arguments for those, otherwise metrics beside VictoriaMetrics and Prometheus.
# The other arguments go to the benchmark (see --help).
# The exposition comes from ../shared/bench when it is there, else from a node_exporter that is asked once.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

scripts/say.sh "building the benchmark"
cargo build --release --quiet --locked -p bench
if [ "${1:-}" = events ]; then
  scripts/say.sh "measuring events: about 3 minutes a round"
  exec "$target/release/bench" events --tinyobs "$target/release/tinyobs" "${@:2}"
fi

if [ "${1:-}" = pulls ]; then
  scripts/say.sh "measuring pulls: about 2 minutes a round"
  # A connection for each agent and follower.
  ulimit -n "$(ulimit -Hn)"
  exec "$target/release/bench" pulls --tinyobs "$target/release/tinyobs" "${@:2}"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exposition=../shared/bench/node_exporter.prom
queries=bench/queries.txt
if [ ! -f "$exposition" ]; then
  exposition=$work/node_exporter.prom
  prometheus-node-exporter --web.listen-address=127.0.0.1:19100 2>/dev/null & exporter=$!
  curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:19100/metrics >"$exposition"
  kill $exporter
else
  queries=../shared/bench/queries.txt
fi
scripts/say.sh "measuring: about 15 minutes a round"
"$target/release/bench" metrics --tinyobs "$target/release/tinyobs" --exposition "$exposition" --queries "$queries" "$@"
