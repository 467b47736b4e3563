#!/usr/bin/env bash
# Prepares a machine for jobd's tests and its demo: a container engine and a few local images.
#
#   engine.sh            everything below
#   engine.sh engine     only the engine: where one answers, nothing is changed; on a bare Debian 12 docker.io,
#                        iptables and busybox-static are installed and dockerd is started
#   engine.sh tools      only the programs that tests call: sqlite3 and jq
#   engine.sh images     only the images: a static busybox under the names that tests and examples use
#   engine.sh stop       ends the dockerd that this script started (and no other)
#
# DOCKER_HOST names another engine than unix:///var/run/docker.sock (unix sockets only).
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:${PATH} LC_ALL=C DEBIAN_FRONTEND=noninteractive

socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
socket=${socket#unix://}
state=/var/run/jobd-test-engine
log=/var/log/jobd-test-engine.log

say() { printf 'prepare: %s\n' "$*" >&2; }
api() { curl --silent --fail --max-time 60 --unix-socket "$socket" "$@"; }
answers() { api --output /dev/null http://engine/_ping 2>/dev/null; }

# Installs the packages that are not there yet.
install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] || { say "these packages are missing, and installing them needs root: ${missing[*]}"; exit 1; }
  say "installing ${missing[*]}"
  apt-get update -qq
  # The package's own start-up fails where no init system runs; the daemon is started below.
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

engine() {
  command -v curl >/dev/null || install curl ca-certificates
  if answers; then
    say "the engine at $socket answers; nothing to do"
    return
  fi
  [ "$socket" = /var/run/docker.sock ] || { say "no engine answers at $socket"; exit 1; }
  install docker.io iptables
  [ "$(id -u)" = 0 ] || { say 'starting dockerd needs root'; exit 1; }
  # A machine without an init system may not have the cgroup hierarchies mounted that containers need.
  if ! mountpoint -q /sys/fs/cgroup; then
    mount -t tmpfs -o nosuid,nodev,noexec cgroup /sys/fs/cgroup
    local controller
    for controller in $(awk '!/^#/ && $4 == 1 {print $1}' /proc/cgroups); do
      mkdir -p "/sys/fs/cgroup/$controller"
      mountpoint -q "/sys/fs/cgroup/$controller" || mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || rmdir "/sys/fs/cgroup/$controller"
    done
  fi
  mkdir -p "$state"
  # A pid file of an engine that was killed keeps a new one from starting.
  if [ -s /var/run/docker.pid ] && ! grep -qs dockerd "/proc/$(cat /var/run/docker.pid)/comm"; then rm -f /var/run/docker.pid; fi
  say 'starting dockerd'
  setsid nohup dockerd >>"$log" 2>&1 </dev/null &
  echo $! >"$state/pid"
  local tries
  for tries in $(seq 600); do
    answers && { say "dockerd answers after $((tries / 10)) s"; return; }
    kill -0 "$(cat "$state/pid")" 2>/dev/null || break
    sleep 0.1
  done
  say "dockerd does not answer; the end of $log:"
  tail -n 20 "$log" >&2
  exit 1
}

# One image of a static busybox under several names: tests tag it as the images that manifests commonly name.
images() {
  local wanted=(busybox:1.36 busybox:latest jobd.test/busybox:1 jobd.test/pi:1) name missing=()
  for name in "${wanted[@]}"; do
    api --output /dev/null "http://engine/images/$name/json" 2>/dev/null || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && { say 'the images are there; nothing to do'; return; }
  install busybox-static
  local root
  root=$(mktemp --directory)
  # shellcheck disable=SC2064
  trap "rm -rf '$root'" RETURN
  mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root" "$root/usr/bin" "$root/usr/sbin" "$root/sbin"
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  local applet
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnobody:x:65534:\n' >"$root/etc/group"
  for name in "${missing[@]}"; do
    tar --directory "$root" --create . | api --request POST --header 'Content-Type: application/x-tar' --upload-file - --output /dev/null \
      "http://engine/images/create?fromSrc=-&repo=${name%:*}&tag=${name##*:}&changes=CMD%20%5B%22sh%22%5D&changes=ENV%20PATH%3D%2Fusr%2Flocal%2Fsbin%3A%2Fusr%2Flocal%2Fbin%3A%2Fusr%2Fsbin%3A%2Fusr%2Fbin%3A%2Fsbin%3A%2Fbin"
    say "made image $name"
  done
}

# What tests call besides the programs that every Debian has. kubectl is not Debian's: its tests name it when it is missing.
tools() {
  local tool missing=()
  for tool in sqlite3 jq; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
}

stop() {
  [ -s "$state/pid" ] || { say 'this script started no engine'; return; }
  local pid
  pid=$(cat "$state/pid")
  grep -qs dockerd "/proc/$pid/comm" && kill -TERM "$pid"
  rm -f "$state/pid"
}

case ${1:-all} in
  all) engine; tools; images ;;
  engine) engine ;;
  tools) tools ;;
  images) images ;;
  stop) stop ;;
  *) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
