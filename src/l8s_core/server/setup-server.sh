#!/usr/bin/env bash
# Turns this machine into a server for l8s: Podman as root behind the system's podman.socket, reached through SSH.
#
#   On the server, as root:      ./setup-server.sh
#   From the laptop:             ssh root@SERVER 'bash -s' < scripts/setup-server.sh
#
# Meant for an LXC container or a virtual machine that holds nothing else: whoever reaches the socket is root here.
# Fedora, Debian 12 or later, Ubuntu 24.04 or later. Safe to run twice: what is there already is left alone.
# Cut off half way (a lost connection), it goes on to its end; run again, it waits for that end, and mends what a power
# cut left of dpkg's work. "--look" changes nothing and needs no root: it prints what there is, for l8s.
# "--group NAME" lets a group of this machine use the socket as well, "--member USER" puts someone into it (both may be
# left out, --member may be repeated). Whoever is in that group is root here.
# It never edits sshd_config, image policy, registries or firewall rules, and pulls no image.
set -euo pipefail

readonly SOCKET=/run/podman/podman.sock
readonly FLOOR=4.3 # the oldest Podman that l8s is tested with
readonly DROP_IN=/etc/systemd/system/podman.socket.d/l8s-group.conf
readonly STATE=/run/l8s-setup  # root's alone: the lock, and the output of the run that is under way
readonly OPTIONS="Options: --look (change nothing) or --brief (do not say what to do next) first; then --group, --member"
readonly PATIENCE=600          # seconds to wait for another setup, and for whoever else installs packages
# recommended only by Debian's podman, and needed for containers with published ports: the network stack, the firewall
# tools that it drives, and registries' certificates
readonly DEBIAN_PACKAGES="podman netavark aardvark-dns iptables nftables ca-certificates openssh-server"
# Fedora's podman brings its network stack and runtime along
readonly FEDORA_PACKAGES="podman openssh-server"
warnings=0
group=
members=()

say() { printf '%s\n' "$*"; }
step() { printf '\n==> %s\n' "$*"; }
warn() {
  warnings=$((warnings + 1))
  printf 'WARNING: %s\n' "$*" >&2
}
die() {
  printf 'ERROR: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

at_least() { # VERSION FLOOR
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1) = "$2" ]]
}

need_root() {
  [[ $(id -u) -eq 0 ]] || die "this must run as root on the server." "Run: sudo $0    or: ssh root@SERVER 'bash -s' < scripts/setup-server.sh"
}

check_machine() {
  [[ -d /run/systemd/system ]] || die "systemd does not run here, and podman.socket needs it." \
    "Use an LXC container or a virtual machine that boots with systemd."
  # shellcheck source=/dev/null
  . /etc/os-release
  case " ${ID:-} ${ID_LIKE:-} " in
    *" fedora "* | *" rhel "*) family=dnf ;;
    *" debian "* | *" ubuntu "*) family=apt ;;
    *) die "${PRETTY_NAME:-this system} is neither Fedora, Debian nor Ubuntu." \
      "Install podman (at least $FLOOR) and openssh-server by hand; docs/REMOTE_SETUP.md lists every step." ;;
  esac
  say "System:   ${PRETTY_NAME:-$ID}"
  local virt
  virt=$(systemd-detect-virt 2>/dev/null) || virt=none
  say "Runs in:  $virt"
  if [[ $virt = none ]]; then
    warn "this looks like a bare machine. Whoever may use l8s here is root here:" \
      "put the server into an LXC container or a virtual machine of its own."
  fi
}

options() { # those of the command line, after its first word
  while [[ $# -gt 0 ]]; do
    [[ $# -ge 2 ]] || die "$1 wants a value."
    case $1 in
      --group) group=$2 ;;
      --member) members+=("$2") ;;
      *) die "there is no option $1." "$OPTIONS" ;;
    esac
    shift 2
  done
  [[ -z $group || $group =~ ^[a-z_][a-z0-9_-]{0,31}$ ]] || die "not a name for a group: $group"
  [[ -n $group || ${#members[@]} -eq 0 ]] || die "--member wants --group as well." "$OPTIONS"
}

missing_packages() { # those of the named that are not installed
  local package
  for package in "$@"; do
    case $family in
      dnf) rpm -q "$package" >/dev/null 2>&1 || echo "$package" ;;
      apt) [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) = installed ]] || echo "$package" ;;
    esac
  done
}

patiently() { # COMMAND...: again while another program has the packages' locks
  local end=$((SECONDS + PATIENCE)) said
  said=$(mktemp "$STATE/said.XXXXXX")
  while true; do
    if "$@" </dev/null 2>"$said"; then
      cat "$said" >&2
      break
    fi
    cat "$said" >&2
    if ((SECONDS > end)) || ! grep -qiE 'could not get lock|locked by another|unable to lock' "$said"; then
      rm -f "$said"
      return 1
    fi
    say "Another program is installing packages; waiting for it."
    sleep 3
  done
  rm -f "$said"
}

mend_dpkg() { # what a power cut in the middle of an installation leaves, and apt-get refuses to work with
  [[ -n $(dpkg --audit 2>&1) || -n $(find /var/lib/dpkg/updates -type f -print -quit) ]] || return 0
  say "An installation was interrupted; finishing it."
  patiently dpkg --configure -a || say "dpkg --configure -a failed; apt-get tries to repair the rest."
  patiently apt-get -o DPkg::Lock::Timeout="$PATIENCE" install -y -q --fix-broken
}

install_packages() { # the packages of those named that are not installed yet
  local missing=()
  mapfile -t missing < <(missing_packages "$@")
  if [[ ${#missing[@]} -eq 0 ]]; then
    say "Installed already: $*"
    return 0
  fi
  say "Installing: ${missing[*]}"
  case $family in
    dnf) dnf install -y "${missing[@]}" </dev/null ;;
    apt)
      export DEBIAN_FRONTEND=noninteractive LC_ALL=C
      mend_dpkg
      # refreshed only when something is missing, so that a second run works offline
      patiently apt-get update -q
      patiently apt-get -o DPkg::Lock::Timeout="$PATIENCE" install -y -q --no-install-recommends "${missing[@]}"
      ;;
  esac
}

install_podman() {
  step "Podman"
  local packages
  case $family in dnf) packages=$FEDORA_PACKAGES ;; apt) packages=$DEBIAN_PACKAGES ;; esac
  # shellcheck disable=SC2086
  install_packages $packages
  local version
  version=$(podman --version | awk '{print $3}')
  at_least "$version" "$FLOOR" || die "Podman $version is too old; l8s needs $FLOOR or later." \
    "Use Fedora, Debian 12 or later, or Ubuntu 24.04 or later."
  say "Podman $version"
}

enable_unit() { # UNIT: started now and at every boot
  if systemctl is-enabled --quiet "$1" 2>/dev/null && systemctl is-active --quiet "$1"; then
    say "$1: enabled already"
  else
    systemctl enable --now "$1"
    say "$1: enabled"
  fi
}

enable_units() {
  step "Socket, and containers that come back after a reboot"
  enable_unit podman.socket
  enable_unit podman-restart.service
}

drop_in() { # what podman.socket is told about the group
  printf '%s\n' \
    "# Made by l8s server setup --group: members of this group may use Podman, and so are root on this machine." \
    "# To end that, delete this file and run: systemctl daemon-reload && chmod 0700 ${SOCKET%/*} && systemctl restart podman.socket" \
    "[Socket]" "SocketGroup=$group" "SocketMode=0660" \
    "# the socket's directory is closed to everyone but root when the machine has started" \
    "ExecStartPost=/bin/chgrp $group ${SOCKET%/*}" "ExecStartPost=/bin/chmod 0710 ${SOCKET%/*}"
}

in_group() { # USER: whether the group is one of theirs, from their next login on
  id -nG -- "$1" 2>/dev/null | tr ' ' '\n' | grep -qxF -- "$group"
}

everyone_in_group() { # also those whose first group it is
  {
    getent group "$group" | cut -d: -f4 | tr ',' '\n'
    getent passwd | awk -F: -v gid="$(getent group "$group" | cut -d: -f3)" 'gid != "" && $4 == gid {print $1}'
  } | sed '/^$/d' | sort -u
}

socket_is_open() { # to the group, now and after the next start
  [[ -f $DROP_IN && $(<"$DROP_IN") = "$(drop_in)" ]] &&
    [[ $(stat -c '%a %G' "${SOCKET%/*}" "$SOCKET" 2>/dev/null) = "710 $group"$'\n'"660 $group" ]]
}

open_to_group() {
  [[ -n $group ]] || return 0
  step "The group $group, whose members may use the socket and so are root here"
  local member
  for member in "${members[@]}"; do
    id -- "$member" >/dev/null 2>&1 || die "there is no user $member here." "Make one: adduser $member"
  done
  if ! getent group "$group" >/dev/null; then
    groupadd --system "$group"
    say "Group $group: made"
  fi
  for member in "${members[@]}"; do
    if in_group "$member"; then
      say "$member: a member already"
    else
      usermod --append --groups "$group" "$member"
      say "$member: a member from the next login on"
    fi
  done
  if socket_is_open; then
    say "$SOCKET: open to the group already"
  else
    mkdir -p "${DROP_IN%/*}"
    drop_in >"$DROP_IN.new"
    chmod 0644 "$DROP_IN.new"
    mv "$DROP_IN.new" "$DROP_IN"
    systemctl daemon-reload
    # the same without a restart, which would cut off whoever uses Podman now
    chgrp "$group" "${SOCKET%/*}" "$SOCKET"
    chmod 0710 "${SOCKET%/*}"
    chmod 0660 "$SOCKET"
    say "$SOCKET: open to the group"
  fi
  # with the groups of a new login
  for member in "${members[@]}"; do
    runuser -u "$member" -- test -r "$SOCKET" -a -w "$SOCKET" || die "$member still may not use $SOCKET." \
      "Look at: namei -l $SOCKET; id $member"
    say "$member may use it"
  done
}

api_version() { # what the service behind the socket says it is
  timeout 60 podman --url "unix://$SOCKET" version --format '{{.Server.Version}}' </dev/null
}

prove_socket() {
  step "Proof"
  [[ -S $SOCKET ]] || die "Podman socket not found at $SOCKET." "Look at: systemctl status podman.socket"
  local version
  if ! version=$(api_version 2>/dev/null); then
    # a socket whose package was removed or replaced stays "active" without listening; systemd says so in its journal
    say "The socket does not answer; restarting it."
    systemctl stop podman.socket podman.service
    systemctl start podman.socket
    version=$(api_version) || die "the socket at $SOCKET is there but does not answer." \
      "Look at: journalctl -u podman.socket -u podman.service -n 50"
  fi
  say "Podman $version answers at $SOCKET"
}

check_sshd() {
  step "SSH"
  local unit running= settings
  for unit in ssh.service sshd.service ssh.socket sshd.socket; do
    if systemctl is-active --quiet "$unit"; then running=$unit; fi
  done
  if [[ -z $running ]]; then
    case $family in dnf) running=sshd.service ;; apt) running=ssh.service ;; esac
    systemctl enable --now "$running"
  fi
  say "$running is running"
  # what holds for root, Match blocks included; read only
  mkdir -p /run/sshd
  if ! settings=$(sshd -T -C user=root,host=laptop,addr=192.0.2.1 2>/dev/null); then
    warn "sshd -T could not be read; check AllowStreamLocalForwarding yourself."
    return 0
  fi
  if grep -qiE '^(allowstreamlocalforwarding (no|remote)|disableforwarding yes)$' <<<"$settings"; then
    warn "sshd forbids forwarding to Unix sockets (AllowStreamLocalForwarding, DisableForwarding)." \
      "l8s still works through 'podman system dial-stdio', but every command takes longer."
  fi
  if grep -qiE '^allowtcpforwarding (no|remote)$' <<<"$settings"; then
    warn "sshd forbids TCP forwarding (AllowTcpForwarding): this server cannot be a jump host."
  fi
  if grep -qiE '^permitrootlogin (no|forced-commands-only)$' <<<"$settings"; then
    warn "sshd forbids root to log in (PermitRootLogin). l8s needs a user who may use $SOCKET." \
      "PermitRootLogin prohibit-password allows keys only."
  fi
}

next_steps() {
  local name address key=/etc/ssh/ssh_host_ed25519_key.pub fingerprint="(no key yet)"
  name=$(uname -n)
  # Podman's own bridges and everything without a way out of the machine come later in this list
  address=$(hostname -I 2>/dev/null | awk '{print $1}') || address=
  [[ -r $key ]] || key=$(find /etc/ssh -name 'ssh_host_*_key.pub' | sort | head -n1)
  if [[ -r $key ]]; then fingerprint=$(ssh-keygen -lf "$key" | awk '{print $2, $NF}'); fi
  step "Setup complete"
  say "Next steps, on your laptop:"
  say "1. Add your SSH key:    ssh-copy-id root@${address:-$name}"
  say "2. Configure l8s:       l8s init"
  say "     Remote host:       ${address:-$name}    (this server calls itself $name)"
  say "     Remote user:       root"
  say "     Remote socket:     $SOCKET"
  say "3. When l8s shows the server's host key, compare it with this one:"
  say "     $fingerprint"
  say ""
  say "Podman runs as root here. What isolates it from everything else is this LXC container or virtual machine."
  if [[ $warnings -gt 0 ]]; then say "There were warnings ($warnings); see above."; fi
}

look() { # what there is, a line for each thing; changes nothing
  local unit sudo=no missing packages answers=no as_root=()
  # shellcheck source=/dev/null
  . /etc/os-release
  case ${ID:-} in fedora) family=dnf packages=$FEDORA_PACKAGES ;; *) family=apt packages=$DEBIAN_PACKAGES ;; esac
  if sudo -n true </dev/null >/dev/null 2>&1; then sudo=yes; fi
  # shellcheck disable=SC2086
  missing=$(missing_packages $packages | tr '\n' ' ')
  [[ $(id -u) -eq 0 ]] || as_root=(sudo -n)
  if [[ -z $missing ]] && "${as_root[@]}" timeout 30 podman --url "unix://$SOCKET" version </dev/null >/dev/null 2>&1; then
    answers=yes
  fi
  printf 'l8s-look %s\n' "uid $(id -u)" "sudo $sudo" "id ${ID:-}" "version ${VERSION_ID:-}" "name ${PRETTY_NAME:-${ID:-}}" \
    "systemd $([[ -d /run/systemd/system ]] && echo yes || echo no)" "missing $missing" "answers $answers" \
    "podman $(podman --version 2>/dev/null </dev/null | awk '{print $3}')" \
    "usable $([[ -r $SOCKET && -w $SOCKET ]] && echo yes || echo no)"
  for unit in podman.socket podman-restart.service; do
    if systemctl is-enabled --quiet "$unit" 2>/dev/null && systemctl is-active --quiet "$unit"; then
      echo "l8s-look $unit yes"
    else
      echo "l8s-look $unit no"
    fi
  done
  [[ -z $group ]] || look_at_group
  echo "l8s-look end yes"
}

look_at_group() {
  local member unknown=() outside=() everyone
  for member in "${members[@]}"; do
    if ! id -- "$member" >/dev/null 2>&1; then
      unknown+=("$member")
    elif ! in_group "$member"; then
      outside+=("$member")
    fi
  done
  everyone=$(everyone_in_group | head -n 50 | tr '\n' ' ')
  # the directory of the socket is root's alone before
  local opened=no sudo=()
  [[ $(id -u) -eq 0 ]] || sudo=(sudo -n)
  if "${sudo[@]}" bash -c "$(declare -p SOCKET DROP_IN group); $(declare -f drop_in socket_is_open); socket_is_open" \
    </dev/null 2>/dev/null; then opened=yes; fi
  printf 'l8s-look %s\n' "group.exists $(getent group "$group" >/dev/null && echo yes || echo no)" \
    "group.gid $(getent group "$group" | cut -d: -f3)" "group.everyone $everyone" "group.unknown ${unknown[*]}" \
    "group.outside ${outside[*]}" "group.socket $opened"
}

work() {
  options "${@:2}"
  say "=== L8s Server Setup ==="
  check_machine
  install_podman
  enable_units
  check_sshd
  prove_socket
  open_to_group
  if [[ ${1:-} != --brief ]]; then next_steps; fi
}

go_on_alone() { # run "work" so that it ends even when whoever watches goes away: dpkg stops when its output is closed
  local worker tails=() code=0
  mkdir -p -m 0700 "$STATE"
  exec 9>"$STATE/lock"
  if ! flock -n 9; then
    say "Another setup of this server is under way; waiting for its end."
    flock -w "$PATIENCE" 9 || die "another setup of this server did not end in $PATIENCE s." "Look at: $STATE/stdout"
  fi
  : >"$STATE/stdout"
  : >"$STATE/stderr"
  # the lock (9) goes along: it is held until the work is done
  setsid bash -c "set -euo pipefail; $(declare -p SOCKET FLOOR STATE PATIENCE DEBIAN_PACKAGES FEDORA_PACKAGES DROP_IN OPTIONS)
    warnings=0 group= members=(); $(declare -f); work \"\$@\"" setup-server.sh "$@" >"$STATE/stdout" 2>"$STATE/stderr" </dev/null &
  worker=$!
  tail -s 0.2 --pid="$worker" -n +1 -f "$STATE/stdout" 9>&- &
  tails+=($!)
  tail -s 0.2 --pid="$worker" -n +1 -f "$STATE/stderr" >&2 9>&- &
  tails+=($!)
  wait "$worker" || code=$?
  wait "${tails[@]}" || true
  rm -f "$STATE/stdout" "$STATE/stderr"
  return "$code"
}

main() {
  case ${1:-} in
    --look | --brief) ;;
    "" | --group | --member) set -- --whole "$@" ;;
    *) die "there is no option $1." "$OPTIONS" ;;
  esac
  options "${@:2}"
  if [[ $1 = --look ]]; then
    look
  else
    need_root
    go_on_alone "$@"
  fi
}

# the last line, so that a script piped through ssh is read whole before anything runs
main "$@"
