#!/bin/sh
# Run as root after the first start: wait for sshd, clone the repository as the user, say the host key.
# Standard input holds the repository's user name and password, a line each (empty when there are none): they are in
# the environment of one git process and nowhere else. Standard output is for the laptop, standard error for people.
set -u
. /etc/l8s/settings
IFS= read -r L8S_GIT_USERNAME || :
IFS= read -r L8S_GIT_PASSWORD || :

sh /etc/l8s/ready || exit

as_user() { su -s /bin/sh -c 'cd / && exec "$0" "$@"' -- "$L8S_USER" "$@"; }

project=/workspace/project
if [ ! -e "$project/.git" ]; then
  if ! command -v git >/dev/null; then
    if [ -n "$L8S_REPOSITORY" ]; then echo "the image has no git" >&2; exit 75; fi
    as_user mkdir -p "$project" || exit 76
  elif [ -n "$L8S_REPOSITORY" ]; then
    rm -rf "$project.clone"
    helper=
    if [ -n "$L8S_GIT_USERNAME$L8S_GIT_PASSWORD" ]; then
      export L8S_GIT_USERNAME L8S_GIT_PASSWORD
      helper='!f() { test "$1" != get || printf "username=%s\npassword=%s\n" "$L8S_GIT_USERNAME" "$L8S_GIT_PASSWORD"; }; f'
    fi
    export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND='ssh -o BatchMode=yes'
    set -- -c credential.helper= -c "credential.helper=$helper" clone --progress
    [ -z "$L8S_BRANCH" ] || set -- "$@" "--branch=$L8S_BRANCH"
    if ! as_user git "$@" -- "$L8S_REPOSITORY" "$project.clone" >&2; then
      rm -rf "$project.clone"
      exit 76
    fi
    rmdir "$project" 2>/dev/null
    if [ -e "$project" ]; then
      rm -rf "$project.clone"
      echo "$project exists already and is not a git repository" >&2
      exit 76
    fi
    as_user mv "$project.clone" "$project" || exit 76
  else
    as_user git -c init.defaultBranch=main init -q "$project" >&2 || exit 76
    # Whatever branch is pushed first is the one that is wanted: check it out.
    as_user tee "$project/.git/hooks/post-receive" >/dev/null <<'HOOK' || exit 76
#!/bin/sh
# Made by l8s: the first branch that is pushed to this project is checked out.
git rev-parse --quiet --verify HEAD >/dev/null && exit 0
while read -r _ _ ref; do
  case $ref in
    refs/heads/*)
      unset GIT_DIR
      cd .. && git checkout --quiet "${ref#refs/heads/}"
      exit
      ;;
  esac
done
HOOK
    as_user chmod 755 "$project/.git/hooks/post-receive" || exit 76
  fi
fi
if [ -e "$project/.git" ]; then
  # A push to the branch that is checked out updates the files, if none was changed there.
  as_user git -C "$project" config receive.denyCurrentBranch updateInstead || exit 76
fi
printf 'l8s-host-key %s\n' "$(cut -d' ' -f1,2 </var/lib/l8s/ssh_host_ed25519_key.pub)"
