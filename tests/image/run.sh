#!/usr/bin/env bash
# The image under docker compose as its users run it: jobs with every kind of volume by kubectl and by curl, `down` and `up` again under a
# running job, `jobd doctor` inside. Once with docker-compose 1.29 and once with compose v2 where it is installed (JOBD_COMPOSE names
# programs instead, separated by `:`). Needs the image (`make image`), kubectl and curl; installs docker-compose where neither is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
say() { printf 'image: %s\n' "$*"; }
fail() { printf 'image: FAILED: %s\n' "$*" >&2; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"; }

binary=${CARGO_TARGET_DIR:-target}/image/jobd
size=$(stat --format %s "$binary")
[ "$size" -lt 20000000 ] || fail "the binary has $size bytes; 20 MB are the limit"
if ldd "$binary" 2>/dev/null | grep -q '=>'; then fail 'the binary is not static'; fi
say "the static binary has $size bytes"

programs=()
if [ -n "${JOBD_COMPOSE:-}" ]; then
  IFS=: read -ra programs <<<"$JOBD_COMPOSE"
else
  if docker compose version >/dev/null 2>&1; then programs+=('docker compose'); fi
  if [ ${#programs[@]} -eq 0 ] && ! command -v docker-compose >/dev/null; then
    [ "$(id -u)" = 0 ] || fail 'neither docker-compose nor the compose plugin is there, and installing one needs root'
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker-compose >/dev/null
  fi
  if command -v docker-compose >/dev/null; then programs+=(docker-compose); fi
fi

dir=
clean() {
  [ -n "$dir" ] || return 0
  compose down --timeout 30 >/dev/null 2>&1 || true
  local instance left
  instance=$(sqlite3 "$dir/data/jobd.db" 'SELECT instance_id FROM meta' 2>/dev/null || echo none)
  left=$(docker ps --all --quiet --filter "label=jobd.instance=$instance")
  # shellcheck disable=SC2086
  [ -z "$left" ] || docker rm --force $left >/dev/null
  rm -rf "$dir" "/run/jobd/$instance"
  dir=
}
trap clean EXIT

# Waits until a command succeeds.
until_true() {
  local what=$1 ends=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$ends" ] || { compose logs | tail -n 20; fail "waited 60 s for $what"; }
    sleep 0.1
  done
}

api() { curl --silent --show-error --fail-with-body --unix-socket "$JOBD_DATA_DIR/jobd.sock" "http://localhost$1" "${@:2}"; }
succeeded() { api "/apis/batch/v1/namespaces/default/jobs/$1" | tr -d ' \n' | grep '"succeeded":1' ; }
ready() { api "/apis/batch/v1/namespaces/default/jobs/$1" | tr -d ' \n' | grep '"ready":1'; }
kube() { kubectl --kubeconfig "$dir/kubeconfig" --cache-dir "$dir/cache" "$@"; }
up() {
  compose up --detach >/dev/null 2>&1 || { compose up --detach; fail 'compose up'; }
  until_true 'the API' api /readyz
  # Port 0 is another one at each start.
  compose exec -T jobd /jobd kubeconfig >"$dir/kubeconfig"
}

# A job that reads what it mounts, one line each.
manifest() {
  cat <<END
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      volumes:
        - {name: settings, configMap: {name: settings}}
        - {name: password, secret: {secretName: password}}
        - {name: scratch, emptyDir: {}}
        - {name: made, hostPath: {path: "$dir/made/here", type: DirectoryOrCreate}}
        - {name: given, hostPath: {path: "$dir/given", type: Directory}}
      containers:
        - name: main
          image: busybox:1.36
          command: [sh, -c, "cat /settings/greeting /password/word /given/file; echo; echo kept > /scratch/a; cat /scratch/a; echo $1 > /made/mark; echo sub > /sub/mark"]
          volumeMounts:
            - {name: settings, mountPath: /settings}
            - {name: password, mountPath: /password}
            - {name: scratch, mountPath: /scratch}
            - {name: made, mountPath: /made}
            - {name: given, mountPath: /given}
            - {name: given, mountPath: /sub, subPath: deep/er}
END
}
said=$'hello, open sesame, given\nkept'

check() {
  dir=$(mktemp --directory /tmp/jobd-image.XXXXXX)
  mkdir "$dir/given"
  printf 'given' >"$dir/given/file"
  export JOBD_DATA_DIR=$dir/data JOBD_LISTEN=127.0.0.1:0 COMPOSE_PROJECT_NAME=jobd-image-$$
  up
  kube create configmap settings --from-literal=greeting='hello, ' >/dev/null
  kube create secret generic password --from-literal=word='open sesame, ' >/dev/null

  manifest by-kubectl | kube apply -f - >/dev/null
  kube wait --for=condition=complete --timeout=60s job/by-kubectl >/dev/null || fail "$(kube describe pods)"
  same 'the log of the job by kubectl' "$(kube logs job/by-kubectl)" "$said"
  same 'the directory that was made on the host' "$(cat "$dir/made/here/mark")" by-kubectl
  same 'the sub path of a host directory' "$(cat "$dir/given/deep/er/mark")" sub

  manifest by-curl | api /apis/batch/v1/namespaces/default/jobs --header 'Content-Type: application/yaml' --data-binary @- >/dev/null
  until_true 'the job by curl' succeeded by-curl
  local pod
  pod=$(kube get pods -l job-name=by-curl -o jsonpath='{.items[0].metadata.name}')
  same 'the log of the job by curl' "$(api "/api/v1/namespaces/default/pods/$pod/log")" "$said"

  # A running job outlives `down`, and everything is there after `up`.
  kube create job long --image=busybox:1.36 -- sh -c 'echo begun; until test -e /tmp/end; do sleep 0.1; done; echo done' >/dev/null
  until_true 'the long job to run' ready long
  local container
  container=$(docker ps --quiet --filter "label=jobd.instance=$(sqlite3 "$dir/data/jobd.db" 'SELECT instance_id FROM meta')")
  compose down --timeout 30 >/dev/null 2>&1
  same 'the container after `down`' "$(docker inspect --format '{{.State.Running}}' "$container")" true
  if api /readyz 2>/dev/null; then fail '`down` did not stop jobd'; fi
  up
  same 'the jobs after `up`' "$(kube get jobs -o jsonpath='{range .items[*]}{.metadata.name}={.status.succeeded} {end}')" 'by-curl=1 by-kubectl=1 long= '
  same 'an old log after `up`' "$(kube logs job/by-kubectl)" "$said"
  docker exec "$container" touch /tmp/end
  kube wait --for=condition=complete --timeout=60s job/long >/dev/null
  same 'the log of the long job' "$(kube logs job/long)" $'begun\ndone'
  same 'its pods and restarts' "$(kube get pods -l job-name=long -o jsonpath='{.items[*].status.containerStatuses[*].restartCount}')" 0
  compose exec -T jobd /jobd doctor >"$dir/doctor" || fail "doctor: $(cat "$dir/doctor")"
  compose logs >"$dir/log" 2>&1
  grep -q serves "$dir/log" || fail 'compose logs show nothing'
  local complaints
  complaints=$(grep -E ' (WARN|ERROR) ' "$dir/log" || true)
  same 'what the daemon complains of' "$complaints" ''
  clean
}

for program in "${programs[@]}"; do
  # shellcheck disable=SC2086
  compose() { command $program --file docker-compose.yml "$@"; }
  say "with $(compose version --short 2>/dev/null || compose version | head -n 1)"
  check
done
say "passed with ${#programs[@]} version(s) of compose"
