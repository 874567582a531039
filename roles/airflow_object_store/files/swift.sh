#!/bin/sh
# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# Runs Swift in a pod, on its volume, with the configuration beside this file: all of its servers or none. Of what ends, the
# cluster starts all anew.
set -eu
readonly files=/etc/swift secrets=/run/secrets/airstack

for needed in memcached swift-ring-builder swift-account-server swift-container-server swift-object-server swift-object-updater swift-proxy-server; do
  if ! command -v "$needed" >/dev/null; then
    echo "The image has no $needed. Name one in airflow_object_store_kubernetes.image that has Swift and memcached." >&2
    exit 1
  fi
done

# Extended attributes hold what an object is: without them, each write would fail.
mkdir -p "$DEVICES/d1" "$RINGS"
if ! python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.airstack", b"yes")' "$DEVICES/d1"; then
  echo "The volume has no extended attributes, which Swift needs. Take one with ext4 or xfs, and not NFS." >&2
  exit 1
fi

cd "$RINGS"
for ring in $PORTS; do
  kind=${ring%:*}
  rm -f "$kind.builder"
  swift-ring-builder "$kind.builder" create 6 1 1
  swift-ring-builder "$kind.builder" add "r1z1-127.0.0.1:${ring#*:}/d1" 1
  swift-ring-builder "$kind.builder" rebalance
done >/dev/null
cd /

programs=
run() {
  "$@" &
  programs="$programs $!"
}

# A shell that has yet to become its program may lose a signal, so each is told until it is gone.
stop() {
  trap - TERM INT
  # shellcheck disable=SC2086 # several processes
  kill $programs 2>/dev/null || true
  for program in $programs; do
    while kill "$program" 2>/dev/null; do
      sleep 0.1
    done
  done
  exit "$1"
}
trap 'stop 0' TERM INT

# One after the other: what kill says of several differs from shell to shell.
ends() {
  for program in $programs; do
    kill -0 "$program" 2>/dev/null || return 0
  done
  return 1
}

fail() {
  echo "One of the store's programs has ended. What it said stands above." >&2
  stop 1
}

run memcached -l 127.0.0.1 -U 0 -m 16
for ring in $PORTS; do
  kind=${ring%:*}
  run "swift-$kind-server" "$files/$kind-server.conf" -v
done
run swift-object-updater "$files/object-server.conf" -v

# Who asks the proxy before they answer is told, and told again from its memory, that there is no such bucket.
for ring in $PORTS; do
  until python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)' "${ring#*:}" 2>/dev/null; do
    if ends; then
      fail
    fi
    sleep 0.5
  done
done
run swift-proxy-server "$secrets/proxy-server.conf" -v

until ends; do
  sleep 2 &
  wait "$!" || true
done
fail
