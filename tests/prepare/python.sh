#!/usr/bin/env bash
# Makes a Python environment with what tests compare jobd with: croniter, an independent implementation of cron. Prints its interpreter.
# Changes nothing where it is there already.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${CARGO_TARGET_DIR:-target}/python
if ! "$dir/bin/python" -c 'import croniter' 2>/dev/null; then
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] || { echo 'prepare: python3-venv is missing, and installing it needs root' >&2; exit 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
  fi
  echo 'prepare: installing croniter for the schedule test' >&2
  python3 -m venv "$dir"
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check croniter
fi
echo "$dir/bin/python"
