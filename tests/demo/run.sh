#!/usr/bin/env bash
# The demo: an engine where none runs, the release binary, a daemon, the example job, its output, and everything stopped.
set -euo pipefail
cd "$(dirname "$0")/../.."
step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

step 'An engine and an image'
tests/prepare/engine.sh engine
if ! docker image inspect busybox:1.36 >/dev/null 2>&1; then
  # With a registry in reach the engine pulls it by itself; without one a local image takes the name.
  docker pull --quiet busybox:1.36 2>/dev/null || tests/prepare/engine.sh images
fi

step 'The program'
make build
jobd=${CARGO_TARGET_DIR:-target}/release/jobd

dir=$(mktemp --directory)
pid=
stop() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  local left
  left=$(docker ps --all --quiet --filter "label=jobd.instance=${instance:-none}")
  # shellcheck disable=SC2086
  [ -z "$left" ] || docker rm --force $left >/dev/null
  awk -v dir="$dir/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort --reverse | xargs --no-run-if-empty umount
  rm -rf "$dir"
}
trap stop EXIT

step 'A daemon'
"$jobd" serve --data-dir "$dir" --no-listen 2>"$dir.log" &
pid=$!
api() { curl --silent --show-error --unix-socket "$dir/jobd.sock" "http://localhost$1" "${@:2}"; }
for _ in $(seq 200); do
  api /readyz >/dev/null 2>&1 && break
  kill -0 "$pid" 2>/dev/null || { cat "$dir.log"; exit 1; }
  sleep 0.05
done
instance=$(sqlite3 "$dir/jobd.db" "SELECT instance_id FROM meta" 2>/dev/null || true)
echo "ready, with its API on $dir/jobd.sock"

step 'kubectl apply -f examples/pi.yaml, by curl'
jobs=/apis/batch/v1/namespaces/default/jobs
api "$jobs" --fail-with-body --request POST --header 'Content-Type: application/yaml' --data-binary @examples/pi.yaml >/dev/null
table='Accept: application/json;as=Table;v=v1;g=meta.k8s.io'
state=
for _ in $(seq 600); do
  state=$(api "$jobs/pi" --header "$table" | tr -d '\n ' | sed 's/.*"cells":\["\([^]]*\)\].*/\1/; s/"//g')
  printf '\r%-60s' "$(printf '%s' "$state" | cut -d, -f1-4)"
  case $state in *,Complete,* | *,Failed,*) break ;; esac
  sleep 0.2
done
echo

step 'What it printed'
pod=$(api "/api/v1/namespaces/default/pods?labelSelector=job-name%3Dpi" | grep -o '"name": "pi-[a-z0-9]*"' | head -n 1 | cut -d '"' -f 4)
api "/api/v1/namespaces/default/pods/$pod/log" | fold --width 100

step 'The job'
api "$jobs/pi" | sed -n '/"status": {/,$p'

step 'Its events'
# Cells in quotes: last seen, type, reason, object, subobject, source, message.
api "/api/v1/namespaces/default/events" --header "$table" | tr -d '\n' | sed "s/\\\\\"/'/g" | grep -o '"cells": *\[[^]]*\]' |
  awk -F'"' '{printf "%-6s %-8s %-18s %-16s %s\n", $4, $6, $8, $10, $16}'
case $state in *,Complete,*) ;; *) echo 'the job did not complete; the log:'; cat "$dir.log"; exit 1 ;; esac
