#!/bin/sh
# Run as root in a build: install what l8s needs where the base lacks it, and make the user ($1).
set -eu
user=$1
if ! { command -v sshd || test -x /usr/sbin/sshd; } >/dev/null || ! command -v git >/dev/null; then
  echo "installing sshd and git"
  if command -v dnf >/dev/null; then
    dnf -y install openssh-server git shadow-utils util-linux
    dnf clean all
  elif command -v apt-get >/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openssh-server git ca-certificates
    rm -rf /var/lib/apt/lists/*
  elif command -v apk >/dev/null; then
    apk add --no-cache openssh git
  else
    echo "this base has no sshd and git, and none of dnf, apt-get and apk to install them with" >&2
    exit 1
  fi
fi
if ! id -u "$user" >/dev/null 2>&1; then
  echo "making the user $user"
  shell=/bin/sh
  [ ! -x /bin/bash ] || shell=/bin/bash
  if command -v useradd >/dev/null; then
    useradd --create-home --shell "$shell" --password '*' "$user"
  else
    adduser -D -s "$shell" "$user"
  fi
fi
if [ -d /etc/sudoers.d ] && [ "$user" != root ]; then
  echo "letting $user use sudo"
  printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" >/etc/sudoers.d/l8s
  chmod 440 /etc/sudoers.d/l8s
fi
# Host keys of an image would be shared by all its containers; each container makes its own.
rm -f /etc/ssh/ssh_host_*
