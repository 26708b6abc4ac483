#!/bin/sh
# PID 1 of an l8s container, at every start: the user, the ownership of the volumes, the host key, then sshd.
# Every part may find its work done already. When a part cannot be done the reason is left in /run/l8s/failed-* and
# the container keeps running, so that whoever waits for it can read why. The files are named after the moment when
# PID 1 started: those of an earlier start say nothing.
set -u
trap 'exit 143' TERM INT # PID 1 has no default action for a signal
. /etc/l8s/settings
umask 022
start=$(cut -d' ' -f22 /proc/1/stat)
rm -rf /run/l8s
mkdir -p /run/l8s /run/sshd
chmod 755 /run/sshd
complaint=/run/l8s/complaint

fail() { # CODE REASON
  printf '%s\n%s\n' "$1" "$2" >/run/l8s/failing
  mv /run/l8s/failing "/run/l8s/failed-$start"
  while :; do sleep 3600 & wait $!; done
}

sshd=
for candidate in /usr/sbin/sshd /usr/bin/sshd /sbin/sshd /usr/local/sbin/sshd; do
  if [ -x "$candidate" ]; then sshd=$candidate; break; fi
done
[ -n "$sshd" ] || fail 70 "the image has no sshd"
command -v ssh-keygen >/dev/null || fail 70 "the image has no ssh-keygen"

# The user. '*' is no password and no locked account either, which sshd without PAM would refuse.
if ! id -u "$L8S_USER" >/dev/null 2>&1; then
  shell=/bin/sh
  [ ! -x /bin/bash ] || shell=/bin/bash
  if command -v useradd >/dev/null; then
    reason=$(useradd --home-dir "$L8S_HOME" --no-create-home --shell "$shell" --password '*' "$L8S_USER" 2>&1)
  elif command -v adduser >/dev/null; then
    reason=$(adduser -D -H -h "$L8S_HOME" -s "$shell" "$L8S_USER" 2>&1)
  else
    reason="the image has neither useradd nor adduser"
  fi
  id -u "$L8S_USER" >/dev/null 2>&1 || fail 71 "$reason"
fi
if grep -q "^$L8S_USER:!" /etc/shadow 2>/dev/null; then
  sed "s/^$L8S_USER:![^:]*:/$L8S_USER:*:/" /etc/shadow >/run/l8s/shadow && cat /run/l8s/shadow >/etc/shadow
  rm -f /run/l8s/shadow
fi

# The sshd of OpenBSD drops its privileges to this user.
if ! id -u sshd >/dev/null 2>&1; then
  if command -v useradd >/dev/null; then
    useradd --system --home-dir /run/sshd --no-create-home --shell /usr/sbin/nologin sshd >/dev/null 2>&1
  else
    adduser -S -D -H -h /run/sshd sshd >/dev/null 2>&1
  fi
fi

# The volumes. Their top directory is given away last: until then a run that was cut short is done again.
uid=$(id -u "$L8S_USER") && gid=$(id -g "$L8S_USER") || fail 71 "the user $L8S_USER cannot be looked up"
own() { # DIRECTORY
  if [ "$(stat -c %u "$1")" != "$uid" ]; then
    find "$1" -mindepth 1 -xdev -exec chown -h "$uid:$gid" {} + && chown "$uid:$gid" "$1"
  fi
}
if [ "$L8S_HOME" != /root ] && [ -d /etc/skel ] && [ -z "$(ls -A "$L8S_HOME")" ]; then
  cp -R /etc/skel/. "$L8S_HOME"/ 2>"$complaint" || fail 72 "$L8S_HOME cannot be filled: $(head -n 1 "$complaint")"
fi
own "$L8S_HOME" || fail 72 "$L8S_HOME cannot be given to $L8S_USER"
own /workspace || fail 72 "/workspace cannot be given to $L8S_USER"
chmod go-w "$L8S_HOME"

# The host key, made once and kept on its volume.
key=/var/lib/l8s/ssh_host_ed25519_key
if [ ! -s "$key" ]; then
  rm -f "$key.new" "$key.new.pub"
  ssh-keygen -q -t ed25519 -N '' -C '' -f "$key.new" 2>"$complaint" ||
    fail 73 "ssh-keygen made no host key: $(head -n 1 "$complaint")"
  mv "$key.new.pub" "$key.pub" && mv "$key.new" "$key"
fi
chmod 600 "$key"

"$sshd" -t -f /etc/l8s/sshd_config 2>"$complaint" || fail 70 "sshd: $(head -n 1 "$complaint")"
: >"/run/l8s/ready-$start"
exec "$sshd" -D -e -f /etc/l8s/sshd_config
