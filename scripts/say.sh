#!/usr/bin/env bash
# Prints one progress line.
printf '\033[1m==>\033[0m %s\n' "$*" >&2
