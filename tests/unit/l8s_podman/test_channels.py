"""One caller's use of a shared connection: counted, served from channels opened ahead, and ended without a race."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko
import pytest

from l8s_core.errors import OutcomeUnknown
from l8s_podman.channels import SPARES, Channels, Ready
from l8s_podman.streams import ChannelSocket


class FakeChannel:
    """A channel that is open until it is closed; closing waits for ``gate``."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.closed = self.eof_received = False
        self._gate = gate

    def get_transport(self) -> Any:
        return type("Transport", (), {"is_active": lambda self: True})()

    def recv_ready(self) -> bool:
        return False

    def close(self) -> None:
        if self._gate is not None:
            assert self._gate.wait(10)
        self.closed = True


class FakeLink:
    where, dead = "box", False

    def __init__(self, error: Exception | None = None, gate: threading.Event | None = None) -> None:
        self.opened: list[FakeChannel] = []
        self.error, self.gate = error, gate

    def streamlocal(self, path: str) -> FakeChannel:
        if self.error is not None:
            raise self.error
        self.opened.append(FakeChannel(self.gate))
        return self.opened[-1]

    def command(self, words: list[str]) -> FakeChannel:
        return self.streamlocal("")

    def run(self, words: list[str], **options: Any) -> str:
        options["on_open"](FakeChannel())
        return "ran"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def made(link: FakeLink) -> tuple[Channels, Ready]:
    ready = Ready(link, "/run/podman.sock")  # type: ignore[arg-type]
    return Channels(link, ready), ready  # type: ignore[arg-type]


def test_each_wait_for_an_answer_is_counted() -> None:
    channels, _ = made(FakeLink())
    channels.streamlocal("/s")
    assert channels.round_trips == 1
    channels.command(["true"])
    channels.run(["true"])
    assert channels.round_trips == 5
    channels.asked()
    assert channels.round_trips == 6


def test_channels_are_opened_ahead_and_cost_nothing() -> None:
    link = FakeLink()
    channels, ready = made(link)
    assert channels.ready() is None, "nothing is opened before it is asked for"
    ready.keep()
    until(lambda: len(link.opened) == SPARES)
    link.opened[0].eof_received = True  # Podman's service has ended
    taken = channels.ready()
    assert taken is not None
    assert taken.idle
    assert link.opened[0].closed
    assert channels.round_trips == 0
    until(lambda: len(link.opened) == SPARES + 2)
    ready.close()
    assert all(channel.closed for channel in link.opened[2:])


def test_channels_to_a_service_that_ends_are_closed_and_others_opened() -> None:
    link = FakeLink()
    channels, ready = made(link)
    ready.keep()
    until(lambda: len(ready._spares) == SPARES)
    channels.forget_ready()
    assert all(channel.closed for channel in link.opened[:SPARES])
    until(lambda: len(ready._spares) == SPARES)
    assert not any(channel.closed for channel in link.opened[SPARES:])
    ready.close()


def test_one_that_was_being_opened_meanwhile_is_not_relied_on_either() -> None:
    link = FakeLink()
    opening, go_on = threading.Event(), threading.Event()
    streamlocal = link.streamlocal

    def slowly(path: str) -> FakeChannel:
        opening.set()
        assert go_on.wait(10)
        return streamlocal(path)

    link.streamlocal = slowly  # type: ignore[method-assign]
    channels, ready = made(link)
    ready.keep()
    assert opening.wait(10)
    channels.forget_ready()
    go_on.set()
    until(lambda: len(ready._spares) == SPARES)
    assert [channel.closed for channel in link.opened] == [True, False, False]
    ready.close()


def test_where_forwarding_is_refused_nobody_tries_again_ahead() -> None:
    link = FakeLink(paramiko.ChannelException(1, "administratively prohibited"))
    channels, ready = made(link)
    ready.keep()
    until(lambda: ready._wanted == 0)
    assert channels.ready() is None


def test_an_interrupt_closes_what_is_waited_for_and_only_then() -> None:
    link = FakeLink()
    channels, _ = made(link)
    channel = channels.streamlocal("/s")
    channels.interrupt()
    assert not channel.closed, "no call runs"
    with channels.call():
        channels.interrupt()
        assert not channel.closed, "this part is seen to its answer"
        with pytest.raises(KeyboardInterrupt), channels.cuttable():
            pass
    with channels.call(), channels.cuttable():
        pass

    def cut() -> None:
        with channels.call(), channels.cuttable():
            channels.interrupt()
            assert channel.closed
            raise OutcomeUnknown("the output broke off")

    with pytest.raises(KeyboardInterrupt):
        cut()


def test_an_error_of_its_own_stays_one() -> None:
    channels, _ = made(FakeLink())
    with pytest.raises(OutcomeUnknown), channels.call(), channels.cuttable():
        raise OutcomeUnknown("the connection broke")


def test_what_follows_an_interrupt_waits_until_everything_is_closed() -> None:
    gate = threading.Event()
    link = FakeLink(gate=gate)
    channels, ready = made(link)
    streams = [ChannelSocket(link.streamlocal("/s")) for _ in range(2)]  # type: ignore[arg-type]
    for stream in streams:
        channels._open.add(stream)
    order: list[str] = []
    with channels.call(), channels.cuttable():
        interrupting = threading.Thread(target=lambda: (channels.interrupt(), order.append("closed")))
        interrupting.start()
        until(lambda: channels.interrupted)

        def stop() -> None:
            with channels.call():
                order.append("stopping")

        stopping = threading.Thread(target=stop)
        stopping.start()
        stopping.join(0.1)
        assert order == []
        gate.set()
        interrupting.join(10)
        stopping.join(10)
    assert sorted(order) == ["closed", "stopping"]
    assert all(channel.closed for channel in link.opened)
    ready.close()
