#!/bin/bash
# Runs a newer Docker Engine beside the installed one, on Debian 12, as root, without touching the system's packages.
#   newer-engine.sh trixie|sid start|stop|kill|status|clean        trixie: 26.1.5   sid: 28.5.2
# Socket: /run/engine-<suite>.sock. `kill` is SIGKILL to the daemon alone (for fault tests); `start` afterwards brings it back.
# Everything lies in /opt/engine-<suite> (programs) and /var/lib/engine-<suite> (data); `clean` removes both.
# Environment:
#   NETNS=1       give the engine its own network namespace with the engine's defaults (docker0, iptables on). Without it the
#                 engine shares the host's network: own bridge, iptables off. One of the two is needed: never --bridge=none.
#   DOCKERD_ARGS  more arguments, for example --live-restore
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
suite=${1:-} verb=${2:-}
case $suite in
  trixie) net=172.26.0.1/16 ;;
  sid)    net=172.28.0.1/16 ;;
  *) echo "usage: $0 trixie|sid start|stop|kill|status|clean" >&2; exit 2 ;;
esac
name=engine-$suite
opt=/opt/$name data=/var/lib/$name run=/run/$name sock=/run/$name.sock log=/var/log/$name.log bridge=br-${suite:0:6}

alive() {                                   # a killed daemon may stay a zombie for a while
  [ -s "$run.pid" ] && grep -qs '^Name:.dockerd' "/proc/$(cat "$run.pid")/status" &&
    ! grep -qs '^State:.[ZX]' "/proc/$(cat "$run.pid")/status"
}

fetch() {                                   # download, unpack, point the programs at their own libc
  [ -e "$opt/.done" ] && return
  rm -rf "$opt"; mkdir -p "$opt/apt/lists/partial" "$opt/apt/cache/archives/partial" "$opt/deb" "$opt/root" "$opt/bin"
  # the mirror is the one that this machine's apt uses for Debian's main archive
  uri=$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(CREATED_BY)' | awk '$2=="Debian" && $3=="Packages"{print $1; exit}')
  [ -n "$uri" ] || { echo "no Debian mirror in the apt configuration" >&2; exit 1; }
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$opt/apt/list"
  local apt=(-qq -o Dir::Etc::sourcelist="$opt/apt/list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$opt/apt/lists"
             -o Dir::State::status=/dev/null -o Dir::Cache="$opt/apt/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  # library and tini packages differ between the suites: take those that exist
  (cd "$opt/deb"; for p in docker.io containerd runc crun tini tini-static libc6 libseccomp2 libcap2 libsystemd0 libjson-c5 \
      libyajl2 libblake3-0; do apt-get "${apt[@]}" download $p 2>/dev/null || true; done)
  for d in "$opt"/deb/*.deb; do dpkg -x "$d" "$opt/root"; done
  local libs=$opt/root/usr/lib/x86_64-linux-gnu b
  for b in sbin/dockerd sbin/docker-proxy bin/containerd bin/containerd-shim-runc-v2 bin/ctr sbin/runc bin/runc bin/crun \
           bin/tini-static; do
    [ -f "$opt/root/usr/$b" ] && [ ! -L "$opt/root/usr/$b" ] || continue
    cp "$opt/root/usr/$b" "$opt/bin/"
    b=$opt/bin/${b##*/}
    # programs that run on the system's libc stay untouched; the others (runc, crun) get the unpacked one
    if ldd "$b" 2>&1 | grep -q 'not found'; then
      patchelf --set-interpreter "$libs/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libs" "$b"
    fi
  done
  ln -sf tini-static "$opt/bin/docker-init"
  rm -rf "$opt/deb" "$opt/apt"; touch "$opt/.done"
}

start() {
  alive && { echo "$name runs already"; return; }
  # `command -v` with several names succeeds when one of them is there.
  if ! command -v patchelf >/dev/null || ! command -v iptables >/dev/null; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends patchelf iptables >/dev/null
  fi
  fetch
  mkdir -p "$data" "$run"; rm -f "$run.pid"
  # its containerd died with a killed daemon; as a zombie it would cost the start 10 s
  local c; c=$(cat "$run/containerd/containerd.pid" 2>/dev/null || echo 0)
  grep -qs '^State:.[^ZX]' "/proc/$c/status" || rm -f "$run/containerd/containerd.pid"
  local enter=() args=(--data-root "$data" --exec-root "$run" --pidfile "$run.pid" -H "unix://$sock"
    --add-runtime "crun=$opt/bin/crun")
  if [ "${NETNS:-0}" = 1 ]; then
    [ -e "/run/netns/$name" ] || ip netns add "$name"
    ip -n "$name" link set lo up
    enter=(nsenter "--net=/run/netns/$name")
  else
    [ -e "/sys/class/net/$bridge" ] || { ip link add "$bridge" type bridge; ip addr add "$net" dev "$bridge"; }
    ip link set "$bridge" up
    args+=(--bridge "$bridge" --iptables=false)
  fi
  # dockerd starts its own containerd, found through PATH. It re-executes itself, so it needs the full path.
  # shellcheck disable=SC2086
  PATH=$opt/bin:$PATH setsid nohup "${enter[@]}" "$opt/bin/dockerd" "${args[@]}" ${DOCKERD_ARGS:-} >>"$log" 2>&1 </dev/null &
  for _ in $(seq 300); do
    curl -sf --unix-socket "$sock" http://d/_ping >/dev/null 2>&1 && {
      curl -s --unix-socket "$sock" http://d/version | grep -o '"Version":"[^"]*","ApiVersion[^,]*,"MinAPIVersion[^,]*'; return; }
    sleep 0.1
  done
  tail -5 "$log" >&2; exit 1
}

stop() {                                    # $1: signal
  alive || { echo "$name does not run"; return; }
  local p; p=$(cat "$run.pid"); kill "-$1" "$p"
  for _ in $(seq 300); do alive || return 0; sleep 0.1; done
  echo "$name still stops" >&2; exit 1
}

case $verb in
  start) start ;;
  stop) stop TERM ;;
  kill) stop KILL ;;
  status) if alive; then echo "runs, pid $(cat "$run.pid"), $sock"; else echo stopped; fi ;;
  clean) if alive; then stop TERM; fi
    ip link del "$bridge" 2>/dev/null || true; ip netns del "$name" 2>/dev/null || true
    awk -v d="$data" -v r="$run/" '$2==d || index($2,d"/")==1 || index($2,r)==1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount
    rm -rf "$opt" "$data" "$run" "$sock" ;;
  *) echo "usage: $0 trixie|sid start|stop|kill|status|clean" >&2; exit 2 ;;
esac
