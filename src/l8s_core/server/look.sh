# What `l8s doctor` looks at on the server; changes nothing, needs no root, and never fails. POSIX sh.
# Called with the socket's path and the image's name. What cannot be found out is left out.
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
say() { printf 'l8s-look %s %s\n' "$1" "$2"; }
yes_if() { if "$@" >/dev/null 2>&1; then echo yes; else echo no; fi; }

say time "$(date +%s)"
say uid "$(id -u)"
if command -v podman >/dev/null; then say podman "$(podman --version | cut -d' ' -f3)"; else say podman none; fi
if [ -d /run/systemd/system ]; then
  for unit in podman.socket podman-restart.service; do
    say "$unit.enabled" "$(systemctl is-enabled "$unit" 2>/dev/null || true)"
    say "$unit.active" "$(systemctl is-active "$unit" 2>/dev/null || true)"
  done
else
  say systemd no
fi
if [ -S "$1" ]; then say socket socket; elif [ -e "$1" ]; then say socket other
elif [ -d "${1%/*}" ] && [ ! -x "${1%/*}" ]; then say socket hidden
else say socket missing; fi
say socket.access "$(if [ -r "$1" ] && [ -w "$1" ]; then echo yes; else echo no; fi)"
say socket.mode "$(stat -c '%a %U %G' "$1" 2>/dev/null)"
place=/var/lib/containers
for place in /var/lib/containers/storage/volumes /var/lib/containers/storage /var/lib/containers /var/lib; do
  [ -d "$place" ] || continue
  say disk "$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 {print $2, $4, $6}')"
  say inodes "$(df -Pi "$place" 2>/dev/null | awk 'NR == 2 {print $2, $4, $6}')"
done
say cgroup "$(stat -fc %T /sys/fs/cgroup 2>/dev/null)"
if [ "$(id -u)" = 0 ]; then
  sshd -T 2>/dev/null | while read -r key value; do
    case $key in
      maxsessions | allowstreamlocalforwarding | disableforwarding) say "sshd.$key" "$value" ;;
    esac
  done
  if command -v podman >/dev/null; then say image "$(yes_if timeout 20 podman image exists "$2")"; fi
fi
say end yes
