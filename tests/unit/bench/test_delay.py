"""The delaying proxy: as late as it should be, in order, whole, as fast as without it, and over when either end is."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bench import delay
from bench.delay import Link, serve

ROUND_TRIP = 0.1

TRIES = 5
"""How often something is timed that must not be late: on a busy machine any one run may be."""


def read(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := end.recv(size - len(data))):
        data += more
    return data


@contextmanager
def proxied(answer: Callable[[socket.socket], None], round_trip: float) -> Iterator[socket.socket]:
    """A connection to a server that runs ``answer`` once, ``round_trip`` seconds away."""
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as listener:

        def far() -> None:
            end, _ = target.accept()
            with end:
                answer(end)

        def near() -> None:
            end, _ = listener.accept()
            serve(end, target.getsockname(), round_trip)

        threads = [threading.Thread(target=far), threading.Thread(target=near)]
        for thread in threads:
            thread.start()
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            yield client
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "the proxy did not end with its connection"


def echo(end: socket.socket) -> None:
    while data := end.recv(1 << 16):
        end.sendall(data)


def test_a_question_and_its_answer_take_a_round_trip() -> None:
    with proxied(echo, ROUND_TRIP) as client:
        client.sendall(b"?")
        read(client, 1)  # once the connection stands
        took = []
        for _ in range(TRIES):
            begun = time.monotonic()
            client.sendall(b"?")
            assert read(client, 1) == b"?"
            took.append(time.monotonic() - begun)
    assert min(took) >= ROUND_TRIP
    assert min(took) < ROUND_TRIP * 1.5


def test_a_servers_first_word_comes_two_round_trips_after_connecting() -> None:
    """One for the handshake that the proxy cannot delay, one and a half until accept(), half for the way back."""
    took = []
    for _ in range(TRIES):
        begun = time.monotonic()
        with proxied(lambda end: end.sendall(b"SSH-2.0-"), ROUND_TRIP) as client:
            assert read(client, 8) == b"SSH-2.0-"
            took.append(time.monotonic() - begun)
    assert 2 * ROUND_TRIP <= min(took) < 2.5 * ROUND_TRIP


def test_what_the_client_says_first_is_there_when_the_server_accepts() -> None:
    """The client believes itself connected a round trip early; its first answer is not late for that."""
    took = []
    for _ in range(TRIES):
        begun = time.monotonic()
        with proxied(echo, ROUND_TRIP) as client:
            client.sendall(b"first")
            assert read(client, 5) == b"first"
            took.append(time.monotonic() - begun)
    assert 2 * ROUND_TRIP <= min(took) < 2.5 * ROUND_TRIP


def test_chunks_are_under_way_together() -> None:
    """Twenty words within a round trip come back within one, and not one after the other."""
    with proxied(echo, ROUND_TRIP) as client:
        client.sendall(b"?")
        read(client, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = []
        for _ in range(TRIES):
            begun = time.monotonic()
            for number in range(20):
                client.sendall(bytes([number]))
            assert read(client, 20) == bytes(range(20))
            took.append(time.monotonic() - begun)
        assert min(took) < 2 * ROUND_TRIP


def test_throughput_is_not_the_window_over_the_round_trip() -> None:
    """64 MiB over a long line: with one chunk under way and one waiting it would take 25 s."""
    size = 64 * 2**20
    got: list[int] = []

    def swallow(end: socket.socket) -> None:
        total = 0
        while data := end.recv(1 << 20):
            total += len(data)
        got.append(total)
        end.sendall(b"done")

    with proxied(swallow, 4 * ROUND_TRIP) as client:
        block = os.urandom(2**20)
        begun = time.monotonic()
        for _ in range(size // len(block)):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        assert read(client, 4) == b"done"
        took = time.monotonic() - begun
    assert got == [size]
    assert took < 10


def test_bytes_arrive_whole_and_in_order() -> None:
    sent = os.urandom(3 * 2**20)
    with proxied(echo, 0.02) as client:
        threading.Thread(target=client.sendall, args=[sent]).start()
        assert read(client, len(sent)) == sent


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as client,
    ):
        serve(listener.accept()[0], address, 0.0)
        assert client.recv(1) == b""


def test_a_server_that_ends_is_noticed_half_a_round_trip_later() -> None:
    with proxied(lambda end: None, ROUND_TRIP) as client:
        begun = time.monotonic()
        assert client.recv(1) == b""
        assert time.monotonic() - begun >= ROUND_TRIP


def test_the_whole_program_ends_with_its_standard_input() -> None:
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as listener:
        listening = [(listener, target.getsockname(), 0.0)]
        thread = threading.Thread(target=delay.accept_until_closed, args=[listening, reader])
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=10):
            target.settimeout(10)
            target.accept()[0].close()
        os.close(writer)
        thread.join(10)
        assert not thread.is_alive()
    os.close(reader)


@pytest.mark.parametrize("link", [Link("10.0.0.1", "10.0.0.2", 0.05), Link("10.0.0.1", "10.0.0.2", 0.0)])
def test_a_link_is_what_its_text_says(link: Link) -> None:
    assert Link.parse(str(link)) == link
