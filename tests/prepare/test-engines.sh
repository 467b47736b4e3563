#!/usr/bin/env bash
# The tests of the engine, the pod runner and the crash test on Docker 26.1 (Debian trixie) and 28.5 (Debian sid), beside the machine's own engine.
set -euo pipefail
cd "$(dirname "$0")/../.."
failed=0
for suite in trixie sid; do
  tests/prepare/newer-engine.sh "$suite" start
  export DOCKER_HOST=unix:///run/engine-$suite.sock
  tests/prepare/engine.sh images
  printf '\n== %s\n' "$(docker version --format '{{.Server.Version}}')"
  tests/run.sh --no-fail-fast --package jobd-tests --test engine --test jobs --test multi --test upstream_pods --test start_up --test crash || failed=1
  unset DOCKER_HOST
  tests/prepare/newer-engine.sh "$suite" stop
done
exit "$failed"
