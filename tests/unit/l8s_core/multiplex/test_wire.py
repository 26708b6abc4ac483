"""Frames between a command and a holder: whole or not at all, in whatever pieces they come."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l8s_core.multiplex.wire import BEAT, CHUNK, DATA, LIMIT, MESSAGE, OUT, Wire, WireClosed, parse


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    near, far = socket.socketpair()
    wire = Wire(near)
    wire.settimeout(5)
    yield wire, far
    wire.close()
    far.close()


def test_what_is_said_is_received(pair: tuple[Wire, socket.socket]) -> None:
    wire, far = pair
    other = Wire(far)
    other.say({"call": "list", "é": [1, None]})
    other.send(OUT, b"x" * 10_000)
    other.beat()
    kind, content = wire.receive()
    assert (kind, parse(content)) == (MESSAGE, {"call": "list", "é": [1, None]})
    assert wire.receive() == (OUT, b"x" * 10_000)
    assert wire.receive() == (BEAT, b"")


def test_what_is_long_comes_in_pieces(pair: tuple[Wire, socket.socket]) -> None:
    wire, far = pair
    data = bytes(range(256)) * (CHUNK * 5 // 2 // 256)
    threading.Thread(target=Wire(far).send, args=(DATA, data), daemon=True).start()
    found = b""
    while len(found) < len(data):
        kind, content = wire.receive()
        assert kind == DATA
        assert len(content) <= CHUNK
        found += content
    assert found == data


@given(st.lists(st.binary(max_size=50), max_size=5), st.data())
def test_frames_survive_any_chunking_and_a_cut_is_never_an_end(contents: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(struct.pack(">cI", DATA, len(content)) + content for content in contents)
    cut = data.draw(st.integers(0, len(whole)))
    near, far = socket.socketpair()
    wire = Wire(near)
    try:
        for byte in whole[:cut]:
            far.sendall(bytes([byte]))
        far.close()
        found = []
        with pytest.raises(WireClosed):
            while True:
                found.append(wire.receive()[1])
        assert found == contents[: len(found)]
        assert sum(5 + len(content) for content in found) <= cut
    finally:
        wire.close()


@pytest.mark.parametrize("said", [struct.pack(">cI", DATA, LIMIT + 1), b"\xff" * 5, b"M"])
def test_what_is_no_frame_ends_it(pair: tuple[Wire, socket.socket], said: bytes) -> None:
    wire, far = pair
    far.sendall(said)
    far.close()
    with pytest.raises(WireClosed):
        wire.receive()


def test_silence_ends_it(pair: tuple[Wire, socket.socket]) -> None:
    wire, _ = pair
    wire.settimeout(0.05)
    with pytest.raises(WireClosed):
        wire.receive()


def test_a_sign_of_life_never_waits(pair: tuple[Wire, socket.socket]) -> None:
    wire, far = pair
    other = Wire(far)
    for _ in range(5_000):  # nobody reads; a socket takes a few hundred of them
        other.beat()
    assert wire.receive() == (BEAT, b"")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_a_message_that_is_none(content: bytes) -> None:
    with pytest.raises(WireClosed):
        parse(content)
