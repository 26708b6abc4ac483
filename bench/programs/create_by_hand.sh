#!/usr/bin/env bash
# What a person's script does to get a container to log in to, with podman --remote: run it, give it a user and a key, wait for
# its sshd, note its host key, log in.
#
#   create_by_hand.sh NAME IMAGE HOST PORT KEY KNOWN_HOSTS
#
# It is spared what l8s does besides: the host key is the image's and every container's, it is believed at first sight, the
# port is not looked for, nothing is taken back when something fails.
set -euo pipefail
name=$1 image=$2 host=$3 port=$4 key=$5 known_hosts=$6

podman --remote run --detach --name "$name" --publish "$port:22" \
  --volume "$name-home:/home/dev" --volume "$name-workspace:/workspace" \
  "$image" sh -c 'mkdir -p /run/sshd && exec /usr/sbin/sshd -D'
podman --remote exec --interactive "$name" sh -ec '
  useradd --no-create-home --shell /bin/bash dev
  mkdir -m 700 /home/dev/.ssh
  cat > /home/dev/.ssh/authorized_keys
  chown -R dev: /home/dev /workspace' <"$key.pub"
until ssh-keyscan -t ed25519 -p "$port" "$host" 2>/dev/null >"$known_hosts" && [[ -s $known_hosts ]]; do sleep 0.1; done
ssh -F /dev/null -i "$key" -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile="$known_hosts" -p "$port" "dev@$host" true
