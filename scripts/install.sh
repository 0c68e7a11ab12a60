#!/usr/bin/env bash
# Makes sure that the tools for a purpose (build, test, bench) are there: installs Debian's packages when it may,
# otherwise names what is missing in one line.
set -euo pipefail
here=$(dirname "$0")

missing_packages=()
# need COMMAND PACKAGE: the command must exist, the package provides it.
need() { command -v "$1" >/dev/null 2>&1 || missing_packages+=("$2"); }

command -v cargo >/dev/null 2>&1 || { echo "error: cargo is missing: install Rust (see rust-version in Cargo.toml)" >&2; exit 1; }
command -v node >/dev/null 2>&1 || { echo "error: node is missing: install Node.js 20.19 or later, with npm" >&2; exit 1; }

need cc gcc
# Puts the Python programs of the tests into a virtual environment of their own, once per version of the list.
install_python() {
  local venv=${XDG_CACHE_HOME:-$HOME/.cache}/tinyobs/venv wanted=$here/requirements-test.txt
  cmp -s "$wanted" "$venv/installed.txt" && return
  "$here/say.sh" "installing schemathesis into $venv: half a minute"
  if ! { python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    -r "$wanted" && cp "$wanted" "$venv/installed.txt"; } >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "note: schemathesis could not be installed (python3 with venv, and PyPI), so a test will say that it was skipped" >&2
  fi
}

case "${1:-build}" in
  build) ;;
  test) need chromium chromium; need prometheus prometheus; need prometheus-node-exporter prometheus-node-exporter
    need nats-server nats-server
    need containerd containerd; need runc runc; need docker-registry docker-registry
    # Its programs are not on the path.
    [ -d /usr/lib/postgresql ] || missing_packages+=(postgresql)
    install_python ;;
  bench) need prometheus prometheus; need victoria-metrics victoria-metrics ;;
  *) echo "error: unknown purpose '$1'" >&2; exit 1 ;;
esac

[ ${#missing_packages[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  if [ "${1:-build}" = test ]; then
    echo "note: missing, so some tests will say that they were skipped: ${missing_packages[*]}" >&2
    exit 0
  fi
  echo "error: missing packages: ${missing_packages[*]} (apt-get install ${missing_packages[*]})" >&2
  exit 1
fi
"$here/say.sh" "installing ${missing_packages[*]}: a minute or two"
export DEBIAN_FRONTEND=noninteractive
# The tests start what they need themselves: packages must not start services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy && chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
apt-get update -qq
if ! apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null; then
  echo "note: could not install: ${missing_packages[*]}" >&2
  [ "${1:-build}" = test ]
fi
