"""The frames of an exec stream: whatever the pieces in which they come, the same bytes come out, or an error."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l8s_podman.exec_stream import CHUNK, HEADER, STREAMS, frames
from l8s_podman.streams import BrokenOff, LinkLost

Frame = tuple[int, bytes]
FRAMES = st.lists(st.tuples(st.sampled_from(sorted(STREAMS)), st.binary(max_size=300)), max_size=20)
SIZES = st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=20)


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


def test_the_header_is_the_protocols() -> None:
    assert HEADER.pack(2, 0x01020304) == b"\x02\0\0\0\x01\x02\x03\x04"
    assert STREAMS == {1: "stdout", 2: "stderr"}


@given(FRAMES, SIZES)
def test_any_pieces_give_the_same_bytes(parts: list[Frame], sizes: list[int]) -> None:
    assert by_stream(read(wire(parts), sizes)) == by_stream([(STREAMS[kind], data) for kind, data in parts])


@given(FRAMES, SIZES)
def test_the_order_of_the_streams_is_kept(parts: list[Frame], sizes: list[int]) -> None:
    def turns(sequence: Sequence[tuple[str, bytes]]) -> list[str]:
        found: list[str] = []
        for stream, data in sequence:
            if data and found[-1:] != [stream]:
                found.append(stream)
        return found

    assert turns(read(wire(parts), sizes)) == turns([(STREAMS[kind], data) for kind, data in parts])


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


@given(st.binary(max_size=200))
def test_garbage_ends(data: bytes) -> None:
    with suppress(BrokenOff, LinkLost):
        assert sum(len(piece) for _, piece in read(data)) <= len(data)


def test_a_huge_frame_comes_in_small_pieces() -> None:
    data = b"x" * (CHUNK * 5 + 1)
    pieces = read(wire([(1, data)]), (CHUNK * 3,))
    assert max(len(piece) for _, piece in pieces) <= CHUNK
    assert b"".join(piece for _, piece in pieces) == data


def test_a_frame_that_claims_four_gigabytes_costs_nothing() -> None:
    with pytest.raises(BrokenOff):
        read(HEADER.pack(1, 0xFFFFFFFF) + b"tiny")
