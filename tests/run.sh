#!/usr/bin/env bash
# Runs every test: with cargo-nextest where it is installed (a process per test, output of failures only), else with cargo's own runner.
set -euo pipefail
cd "$(dirname "$0")/.."
JOBD_PYTHON=${JOBD_PYTHON:-$(tests/prepare/python.sh)}
export JOBD_PYTHON
if cargo nextest --version >/dev/null 2>&1; then
  [ $# -gt 0 ] || set -- --workspace
  exec cargo nextest run --profile "${NEXTEST_PROFILE:-default}" "$@"
fi
[ $# -gt 0 ] || set -- --workspace
exec cargo test "$@"
