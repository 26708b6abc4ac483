"""An exec stream, frames and mark: whatever the pieces in which it comes, the same bytes come out, or an error."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l8s_podman.exec_stream import CHUNK, HEADER, STREAMS, Mark, frames
from l8s_podman.streams import BrokenOff, LinkLost

Frame = tuple[int, bytes]
DATA = st.just(b"") | st.binary(max_size=12) | st.binary(max_size=300)
FRAMES = st.lists(st.tuples(st.sampled_from(sorted(STREAMS)), DATA), max_size=20)
SIZES = st.lists(st.integers(1, 9) | st.integers(1, 400), min_size=1, max_size=20)
"""Less than a header, and more than a frame."""

SAMPLE: list[Frame] = [(1, b""), (1, b"ab"), (2, b""), (2, b"\x01\0\0\0"), (1, b"c"), (2, b"")]
"""With frames of nothing, and with data that looks like a header."""


class Pieces(io.RawIOBase):
    """A connection that hands over its bytes in pieces of the given sizes, again and again."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._sizes, self._turn = data, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        size = min(len(buffer), self._sizes[self._turn % len(self._sizes)])
        self._turn += 1
        piece, self._data = self._data[:size], self._data[size:]
        buffer[: len(piece)] = piece
        return len(piece)


def wire(parts: Sequence[Frame]) -> bytes:
    return b"".join(HEADER.pack(kind, len(data)) + data for kind, data in parts)


def read(data: bytes, sizes: Sequence[int] = (4096,)) -> list[tuple[str, bytes]]:
    return list(frames(io.BufferedReader(Pieces(data, sizes))))


def by_stream(parts: Sequence[tuple[str, bytes]]) -> dict[str, bytes]:
    return {name: b"".join(data for stream, data in parts if stream == name) for name in STREAMS.values()}


def reference(data: bytes) -> tuple[list[tuple[str, bytes]], bool]:
    """The frames of ``data`` as they are when all of it is there at once, and whether it ends where a frame does."""
    found = []
    while len(data) >= 8 and data[0] in STREAMS:
        length = int.from_bytes(data[4:8], "big")
        found.append((STREAMS[data[0]], data[8 : 8 + length]))
        if len(data) < 8 + length:
            return found, False
        data = data[8 + length :]
    return found, not data


def check(data: bytes, sizes: Sequence[int]) -> None:
    """What is read from ``data``, in pieces of these sizes, is what is in it; and an error where it ends too early."""
    wanted, whole = reference(data)
    seen: list[tuple[str, bytes]] = []
    lost = False
    try:
        for item in frames(io.BufferedReader(Pieces(data, sizes))):
            seen.append(item)
    except (BrokenOff, LinkLost):
        lost = True
    assert lost != whole
    assert all(piece for _, piece in seen), "a piece of nothing would look like the end"
    assert joined(seen) == joined(wanted)


def joined(parts: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Without the borders between pieces of one stream, and without pieces of nothing."""
    found: list[tuple[str, bytes]] = []
    for stream, data in parts:
        if data and found and found[-1][0] == stream:
            found[-1] = (stream, found[-1][1] + data)
        elif data:
            found.append((stream, data))
    return found


def test_every_way_to_split_a_short_output() -> None:
    data = wire([(1, b"a"), (2, b"")])
    assert len(data) == 17
    for borders in range(2 ** (len(data) - 1)):
        # bit n: whether there is a border after byte n
        cuts = [0, *(n + 1 for n in range(len(data) - 1) if borders >> n & 1), len(data)]
        sizes = [end - start for start, end in pairwise(cuts)]
        assert read(data, sizes) == [("stdout", b"a")]


def test_every_two_borders_and_every_end_of_a_longer_output() -> None:
    data = wire(SAMPLE)
    for end in range(len(data) + 1):
        for size in (1, 2, 7, 8, 9, 4096):
            check(data[:end], [size])
    for first in range(1, len(data)):
        for second in range(1, len(data) - first + 1):
            check(data, [first, second, 4096])


def test_no_other_kind_of_frame_is_output() -> None:
    for kind in set(range(256)) - set(STREAMS):
        for data in (b"", b"x"):
            with pytest.raises(LinkLost, match=f"kind {kind}$"):
                read(HEADER.pack(kind, len(data)) + data)


def test_the_header_is_the_protocols() -> None:
    assert HEADER.pack(2, 0x01020304) == b"\x02\0\0\0\x01\x02\x03\x04"
    assert STREAMS == {1: "stdout", 2: "stderr"}


@given(FRAMES, SIZES)
def test_any_pieces_give_the_same_bytes_in_the_same_order(parts: list[Frame], sizes: list[int]) -> None:
    assert joined(read(wire(parts), sizes)) == joined([(STREAMS[kind], data) for kind, data in parts])


@given(FRAMES.filter(bool), SIZES, st.data())
def test_a_cut_is_never_an_end(parts: list[Frame], sizes: list[int], data: st.DataObject) -> None:
    whole = wire(parts)
    cut = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    ends = {len(wire(parts[:count])) for count in range(len(parts) + 1)}
    if cut in ends:
        read(whole[:cut], sizes)  # between two frames it cannot be told from an end: the exit code is asked for
    else:
        with pytest.raises(BrokenOff, match="middle of a frame"):
            read(whole[:cut], sizes)


@given(FRAMES, st.integers(min_value=0, max_value=255).filter(lambda kind: kind not in STREAMS), st.binary(max_size=20))
def test_an_unknown_kind_is_refused_after_what_came_before(parts: list[Frame], kind: int, data: bytes) -> None:
    seen: list[tuple[str, bytes]] = []
    source = frames(io.BufferedReader(Pieces(wire(parts) + HEADER.pack(kind, len(data)) + data, (64,))))

    def read_on() -> None:
        for item in source:
            seen.append(item)

    with pytest.raises(LinkLost, match=f"kind {kind}$"):
        read_on()
    assert by_stream(seen) == by_stream([(STREAMS[number], piece) for number, piece in parts])


@given(
    st.lists(
        st.builds(lambda kind, length: HEADER.pack(kind, length), st.integers(0, 3), st.integers(0, 30))
        | st.binary(max_size=30)
    ).map(b"".join),
    SIZES,
)
def test_any_bytes_are_read_as_the_protocol_says(data: bytes, sizes: list[int]) -> None:
    check(data, sizes)


def test_a_huge_frame_comes_in_small_pieces() -> None:
    data = b"x" * (CHUNK * 5 + 1)
    pieces = read(wire([(1, data)]), (CHUNK * 3,))
    assert max(len(piece) for _, piece in pieces) <= CHUNK
    assert b"".join(piece for _, piece in pieces) == data


def test_a_frame_that_claims_four_gigabytes_costs_nothing() -> None:
    with pytest.raises(BrokenOff):
        read(HEADER.pack(1, 0xFFFFFFFF) + b"tiny")


@given(
    pieces=st.lists(st.sampled_from([b"", b"\0", b"ab", b"\0ab", b"\0a", b"b\0", b"x", b"\0ab\0"]), max_size=12),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
)
def test_a_mark_is_taken_out_once_wherever_its_stream_is_cut(pieces: list[bytes], sizes: list[int]) -> None:
    text = b"".join(pieces)
    mark = Mark("ab")
    found = b""
    place = turn = 0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        found += mark.without(text[place : place + size])
        assert len(found) >= min(place + size, len(text)) - 2 * len(b"\0ab\0")  # little is held back
        place, turn = place + size, turn + 1
    found += mark.rest()
    assert mark.seen == (b"\0ab\0" in text)
    assert found == text.replace(b"\0ab\0", b"", 1)
