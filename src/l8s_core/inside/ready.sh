#!/bin/sh
# Wait until sshd listens. Exits with the code of whatever kept it from starting, and its reason on standard error.
set -u
start=$(cut -d' ' -f22 /proc/1/stat)
tries=0
until [ -e "/run/l8s/ready-$start" ] && grep -qs ':0016 [0-9A-F:]* 0A ' /proc/net/tcp /proc/net/tcp6; do
  if [ -e "/run/l8s/failed-$start" ]; then
    { read -r code; read -r reason; } <"/run/l8s/failed-$start"
    echo "$reason" >&2
    exit "$code"
  fi
  tries=$((tries + 1))
  if [ "$tries" -gt 300 ]; then echo "sshd did not start within 30 s" >&2; exit 74; fi
  sleep 0.1
done
