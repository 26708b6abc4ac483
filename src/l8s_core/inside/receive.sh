#!/bin/sh
# l8s cp, in the container, as its user: unpack the tar archive on standard input, then give it its name.
#   receive TOKEN WHAT DESTINATION [NAME]
# WHAT: "itself" puts what the archive holds (NAME, at its root) into DESTINATION if that is a directory, and else names
# it DESTINATION; "contents" puts what is in NAME there; "several" needs a directory. The archive's last member is
# .l8s-TOKEN: without it the archive was cut off. DESTINATION and NAME are as printf's %b wants them.
# Nothing has its name before it is whole: everything is unpacked beside it first. Exit codes: 65 cut off, 66 refused.
set -u
token=$1 what=$2
destination=$(printf '%bx' "$3") && destination=${destination%x}
name=$(printf '%bx' "${4-}") && name=${name%x}

refuse() { printf 'l8s: %s\n' "$1" >&2; exit 66; }

# A directory that is not writable cannot be moved to another parent.
move() { # FROM TO NAME-THEN
  if [ ! -h "$1" ] && [ -d "$1" ] && [ ! -w "$1" ]; then
    move_mode=$(stat -c %a "$1") && chmod u+w "$1" && mv -f -- "$1" "$2" || return
    chmod "$move_mode" "$3"
  else
    mv -f -- "$1" "$2"
  fi
}

# Put what is in one directory into another. Files replace files, each at once; directories that are there stay.
merge() { # FROM TO
  [ -w "$1" ] || chmod u+rwx "$1" || return
  find "$1" -mindepth 1 -maxdepth 1 ! -type d -exec sh -c '
    to=$1
    shift
    exec mv -f -- "$@" "$to"' sh "$2/" {} + || return
  for entry in "$1"/*/ "$1"/.[!.]*/ "$1"/..?*/; do
    entry=${entry%/}
    if [ -h "$entry" ] || [ ! -d "$entry" ]; then
      continue
    elif [ -d "$2/${entry##*/}" ] && [ ! -h "$2/${entry##*/}" ]; then
      merge "$entry" "$2/${entry##*/}" || return
    else
      move "$entry" "$2/" "$2/${entry##*/}" || return
    fi
  done
}

case $destination in /*) ;; *) destination=./$destination ;; esac # no option of mkdir or find
parent=
if [ -d "$destination" ]; then
  work=$destination/.l8s-$token.part
else
  [ "$what" != several ] || refuse "${destination#./} is not a directory"
  leaf=$destination
  while [ "$leaf" != "${leaf%/}" ]; do leaf=${leaf%/}; done
  parent=${leaf%/*}/ leaf=${leaf##*/}
  shown=${parent#./}
  [ -d "$parent" ] || refuse "there is no directory ${shown%/}"
  case $leaf in . | ..) refuse "there is no directory ${destination#./}" ;; esac
  work=$parent.l8s-$token.part
fi

clean() {
  chmod -R u+rwx "$work" 2>/dev/null
  rm -rf "$work"
}
trap clean EXIT
trap 'exit 143' HUP INT TERM PIPE
command -v tar >/dev/null || { echo "l8s: the image has no tar" >&2; exit 127; }
mkdir -m 700 "$work" || exit 66
tar -xpo -f - -C "$work" || exit 64
[ -e "$work/.l8s-$token" ] || exit 65
rm -f "$work/.l8s-$token"

if [ -n "$parent" ]; then
  if [ "$destination" != "${destination%/}" ] && { [ -h "$work/$name" ] || [ ! -d "$work/$name" ]; }; then
    refuse "there is no directory ${destination#./}"
  fi
  # What is there is no directory: a file replaces it, also when it is a link, and mv refuses to put a directory there.
  move "$work/$name" "$parent$leaf" "$parent$leaf" || exit 66
elif [ "$what" = contents ]; then
  merge "$work/$name" "$destination" || exit 66
else
  merge "$work" "$destination" || exit 66
fi
