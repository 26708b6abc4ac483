"""What runs over a hijacked exec connection: input in, output frames out, and stopping a command that will not end.

The frames are those of the attach protocol: eight bytes, of which the first is the stream (1 stdout, 2 stderr) and the
last four the length of what follows, big-endian. Not here: creating the exec session (`l8s_podman.backend`).
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

from l8s_core.model import StreamName
from l8s_podman.streams import BrokenOff, ChannelSocket, LinkLost

HEADER = struct.Struct(">B3xI")
STREAMS: dict[int, StreamName] = {1: "stdout", 2: "stderr"}
CHUNK = 256 * 1024
"""Bytes that are read and passed on at once."""

MARKER = "L8S_EXEC_ID"
"""An environment variable with a random value: every process that a command leaves behind has it."""

STOP_SCRIPT = """
marked() {
  for file in $(grep -lF "$1" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/}; echo "${pid%/environ}"
  done
}
children() {
  for file in /proc/[0-9]*/stat; do
    { read -r line < "$file"; } 2>/dev/null || continue
    pid=${line%% *}; rest=${line##*) }; set -- "$1" $rest; parent=$3
    case " $1 " in *" $pid "*) ;; *" $parent "*) echo "$pid";; esac
  done
}
everyone() {
  all=$(marked "$1" | tr '\\n' ' ')
  while more=$(children "$all" | tr '\\n' ' ') && [ -n "$more" ]; do all="$all $more"; done
  echo $all
}
signal=TERM
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  pids=$(everyone "$1")
  [ -n "$pids" ] || exit 0
  if [ "$round" -le 1 ] || [ "$round" -gt 20 ]; then kill -"$signal" $pids 2>/dev/null; fi
  [ "$round" -lt 20 ] || signal=KILL
  sleep 0.1
done
exit 1
"""
"""POSIX sh, run as root in the container: end every process with the marker and what descends from one.

TERM first, KILL after two seconds; exit status 0 when none is left."""


READ_ALL_SCRIPT = r"""
mark=$1
shift
exec 9>&2 2>/dev/null
trap : HUP INT TERM
(exec 2>&9 9>&-; exec "$@")
code=$?
printf '\000%s\000' "$mark" >&9
exec 9>&-
PATH=/usr/bin:/bin:$PATH cat >/dev/null
exit "$code"
"""
"""POSIX sh: run a command, say so when it has ended, and read what it left of its input.

sh's own words go nowhere: it would tell of the signal that ended a command."""


def reading_all(argv: Sequence[str], mark: str) -> tuple[list[str], Mark]:
    """``argv`` as a command that leaves no input unread, and what finds in its stderr that it has ended.

    Podman loses output of a command that leaves input unread (decision 0024). ``mark`` is a word that nobody can guess.
    """
    return ["/bin/sh", "-c", READ_ALL_SCRIPT, "l8s", mark, *argv], Mark(mark)


class Mark:
    """Takes the mark out of a stderr that comes in pieces."""

    def __init__(self, mark: str) -> None:
        self._mark = f"\0{mark}\0".encode()
        self._held = b""
        self.seen = False

    def without(self, data: bytes) -> bytes:
        """``data``, and what was held back before it, without the mark; held back is what may be its beginning."""
        data = self._held + data
        self._held = b""
        if self.seen:
            return data
        before, mark, after = data.partition(self._mark)
        if mark:
            self.seen = True
            return before + after
        last = data.rfind(b"\0")
        if last >= 0 and self._mark.startswith(data[last:]):
            data, self._held = data[:last], data[last:]
        return data

    def rest(self) -> bytes:
        """What was held back, at the stream's end."""
        held, self._held = self._held, b""
        return held


def frames(reader: IO[bytes]) -> Iterator[tuple[StreamName, bytes]]:
    """The output, piece by piece, until its end. Pieces are at most `CHUNK` long, however long or short the frames.

    conmon sends frames of 8 KiB. What came in at once is taken apart at once, and those of one stream are passed on as
    one piece.

    Raises:
        BrokenOff: it ended in the middle of a frame.
        LinkLost: it is no such stream.
    """
    head = b""  # of a frame, as far as it has come
    left = 0  # bytes still to come of the frame
    stream: StreamName = "stdout"
    while data := reader.read1(CHUNK):  # type: ignore[attr-defined]
        view = memoryview(data)
        place, end = 0, len(data)
        pieces: list[memoryview] = []
        while place < end:
            if left:
                piece = view[place : place + left]
                pieces.append(piece)
                place += len(piece)
                left -= len(piece)
                continue
            missing = HEADER.size - len(head)
            head += data[place : place + missing]
            place += missing
            if len(head) < HEADER.size:
                break
            kind, left = HEADER.unpack(head)
            head = b""
            found = STREAMS.get(kind)
            if pieces and found != stream:
                yield stream, b"".join(pieces)
                pieces = []
            if found is None:
                raise LinkLost(f"the output has a frame of the unknown kind {kind}")
            stream = found
        if pieces:
            yield stream, b"".join(pieces)
    if head or left:
        raise BrokenOff("the output ended in the middle of a frame")


class Feed:
    """Sends a command's input, then the end of it, from a thread of its own: output must be read meanwhile.

    The thread is a daemon: when the command ends first, nobody waits for a person to type on.
    """

    def __init__(self, stream: ChannelSocket, source: bytes | IO[bytes]) -> None:
        self._stream = stream
        self._source: Any = io.BytesIO(source) if isinstance(source, bytes) else source
        self._lock = threading.Lock()
        self._sending = False
        self._over = False
        threading.Thread(target=self._pump, name="l8s-stdin", daemon=True).start()

    def stop(self) -> None:
        """Send the end of the input: now, or after the piece that is on its way."""
        with self._lock:
            last = not self._over and not self._sending
            self._over = True
        if last:
            self._end()

    def _pump(self) -> None:
        read = getattr(self._source, "read1", None) or self._source.read
        try:
            while (data := read(CHUNK)) and self._begin():
                self._stream.sendall(data)
                if not self._go_on():
                    self._end()
                    return
        except (OSError, ValueError, EOFError):
            return  # the command ended, and with it the interest in its input
        self.stop()

    def _begin(self) -> bool:
        """Whether a piece may be sent; then it is on its way."""
        with self._lock:
            self._sending = not self._over
            return self._sending

    def _go_on(self) -> bool:
        """After a piece: whether the input goes on. If not, nobody has sent its end."""
        with self._lock:
            self._sending = False
            return not self._over

    def _end(self) -> None:
        with suppress(OSError, EOFError):
            self._stream.shutdown_write()
