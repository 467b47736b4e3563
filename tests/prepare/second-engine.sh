#!/usr/bin/env bash
# A second engine beside the machine's own, for tests that kill it (D-1402). Needs root and the installed dockerd.
#   second-engine.sh start|kill|stop|clean DIR [ARGUMENT...]     socket: DIR/docker.sock; `kill` is SIGKILL to the daemon alone
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
verb=${1:?verb} dir=${2:?directory}
shift 2
bridge=br-second
socket=$dir/docker.sock

alive() { # A killed daemon may stay a zombie for a while.
  [ -s "$dir/pid" ] && grep -qs '^Name:.dockerd' "/proc/$(cat "$dir/pid")/status" &&
    ! grep -qs '^State:.[ZX]' "/proc/$(cat "$dir/pid")/status"
}

signal() {
  alive || return 0
  local pid
  pid=$(cat "$dir/pid")
  kill "-$1" "$pid"
  for _ in $(seq 600); do alive || return 0; sleep 0.1; done
  echo 'second engine: does not end' >&2
  exit 1
}

case $verb in
  start)
    mkdir -p "$dir"
    [ -e "/sys/class/net/$bridge" ] || { ip link add "$bridge" type bridge; ip addr add 172.29.0.1/16 dev "$bridge"; }
    ip link set "$bridge" up
    rm -f "$dir/pid"
    # The containerd of a killed daemon died with it; its pid file would cost the start 10 s.
    grep -qs '^State:.[^ZX]' "/proc/$(cat "$dir/run/containerd/containerd.pid" 2>/dev/null || echo 0)/status" ||
      rm -f "$dir/run/containerd/containerd.pid"
    # Never --bridge=none: that deletes the first engine's docker0.
    setsid nohup dockerd --data-root "$dir/data" --exec-root "$dir/run" --pidfile "$dir/pid" --host "unix://$socket" \
      --bridge "$bridge" --iptables=false "$@" >>"$dir/log" 2>&1 </dev/null &
    for _ in $(seq 600); do
      curl --silent --fail --output /dev/null --unix-socket "$socket" http://engine/_ping && exit 0
      sleep 0.1
    done
    tail -n 20 "$dir/log" >&2
    exit 1
    ;;
  kill) signal KILL ;;
  stop) signal TERM ;;
  clean)
    signal TERM
    # dockerd's own containerd may outlive it for a moment and hold mounts.
    awk -v dir="$dir/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort --reverse | xargs --no-run-if-empty umount --lazy
    ip link del "$bridge" 2>/dev/null || true
    rm -rf "$dir"
    ;;
  *) sed -n '2,4p' "$0" >&2; exit 2 ;;
esac
