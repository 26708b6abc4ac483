#!/bin/sh
# l8s cp, in the container, as its user: write a tar archive of one file or tree to standard output.
#   send PATH
# PATH, which is not empty, is as printf's %b wants it. One that ends with a slash, . or .. means the directory that it leads to; else a
# symbolic link is sent as such. Exit codes: 66 there is no such thing, 67 something changed while it was read.
set -u
path=$(printf '%bx' "$1") && path=${path%x}
case /$path in
  */ | */. | */..) directory=$path member=. ;;
  *)
    case $path in */*) directory=${path%/*}/ ;; *) directory=. ;; esac
    member=${path##*/}
    [ -e "$path" ] || [ -h "$path" ] || { printf 'l8s: there is no %s\n' "$path" >&2; exit 66; }
    ;;
esac
case $directory in /*) ;; *) directory=./$directory ;; esac # no option of cd
[ -d "$directory" ] || { printf 'l8s: there is no directory %s\n' "${directory#./}" >&2; exit 66; }
command -v tar >/dev/null || { echo "l8s: the image has no tar" >&2; exit 127; }
cd "$directory" || exit 66
# GNU tar sends holes as holes, and writes in larger pieces.
if tar --version 2>/dev/null | grep -q GNU; then
  tar --format=gnu --sparse -b 128 -c -f - -- "$member"
  code=$?
  [ "$code" != 1 ] || exit 67
  exit "$code"
fi
exec tar -c -f - -- "$member"
