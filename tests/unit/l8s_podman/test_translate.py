"""Every exception of the libraries underneath becomes an error of l8s, and says the right thing about a change."""

from __future__ import annotations

import http.client
import importlib
import itertools
import pkgutil
import warnings
from collections.abc import Callable

import invoke
import paramiko
import podman
import podman.errors
import pytest
import requests
import urllib3

from l8s_core.errors import BackendError, ConnectionFailed, ContainerNotFound, L8sError, OutcomeUnknown
from l8s_podman.streams import BrokenOff, LinkLost
from l8s_podman.translate import translate, translated

LIBRARIES = (podman, requests, urllib3, paramiko, invoke)


def exceptions_of_the_libraries() -> list[type[BaseException]]:
    """Every exception class that is defined in a module of `LIBRARIES`."""
    names = {library.__name__ for library in LIBRARIES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in LIBRARIES:
            for module in pkgutil.walk_packages(library.__path__, f"{library.__name__}.", onerror=lambda name: None):
                if module.name.endswith("__main__"):
                    continue
                try:
                    importlib.import_module(module.name)
                except Exception:
                    continue
    found: set[type[BaseException]] = set()
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        for child in type.__subclasses__(waiting.pop()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return sorted(
        (cls for cls in found if cls.__module__.partition(".")[0] in names),
        key=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
    )


def instance(cls: type[BaseException]) -> BaseException:
    """One of them, with as few arguments as it lets one get away with."""
    for arguments in (("boom",), ()):
        try:
            return cls(*arguments)
        except Exception:
            continue
    return cls.__new__(cls)


@pytest.fixture(scope="module")
def foreign() -> list[type[BaseException]]:
    return exceptions_of_the_libraries()


def test_the_walk_finds_the_exceptions(foreign: list[type[BaseException]]) -> None:
    assert len(foreign) > 80
    assert {
        podman.errors.NotFound,
        podman.errors.PodmanError,
        requests.ConnectionError,
        urllib3.exceptions.ProtocolError,
        paramiko.BadHostKeyException,
        invoke.exceptions.UnexpectedExit,
    } <= set(foreign)


def test_every_one_becomes_an_error_of_l8s(foreign: list[type[BaseException]]) -> None:
    for cls in foreign:
        assert issubclass(cls, Exception), cls  # `translated` lets KeyboardInterrupt and its like through
        for write, dead in itertools.product((False, True), repeat=2):
            with (
                pytest.raises(L8sError) as raised,
                translated("doing it", write=write, where="box", link_dead=_say(dead)),
            ):
                raise instance(cls)
            kind = type(raised.value)
            lost = OutcomeUnknown if write else ConnectionFailed
            assert kind is lost if dead else kind in (lost, BackendError, ConnectionFailed), cls
            assert "box" in raised.value.message, cls
            assert "doing it" in raised.value.message, cls


def _say(value: bool) -> Callable[[], bool]:
    return lambda: value


@pytest.mark.parametrize(
    "error",
    [
        LinkLost("gone"),
        ConnectionResetError("reset"),
        TimeoutError(),
        EOFError(),
        requests.ReadTimeout("slow"),
        urllib3.exceptions.ReadTimeoutError(None, "/", "slow"),  # type: ignore[arg-type]
        paramiko.SSHException("dead"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_leaves_a_change_unknown_and_fails_a_look(error: Exception) -> None:
    written = translate(error, doing="writing", write=True, where="box", link_dead=False)
    looked = translate(error, doing="looking", write=False, where="box", link_dead=False)
    assert (type(written), written.exit_code) == (OutcomeUnknown, 10)
    assert (type(looked), looked.exit_code) == (ConnectionFailed, 4)
    assert any("l8s list" in hint for hint in written.hints)


STREAM_ENDS = [
    BrokenOff("cut"),
    http.client.IncompleteRead(b""),
    http.client.RemoteDisconnected("gone"),
    requests.ConnectionError("gone"),
    requests.exceptions.ChunkedEncodingError("cut"),
    urllib3.exceptions.ProtocolError("cut"),
]


@pytest.mark.parametrize("error", STREAM_ENDS, ids=lambda error: type(error).__name__)
def test_a_stream_that_breaks_off_over_a_living_connection_is_podmans(error: Exception) -> None:
    written = translate(error, doing="writing", write=True, where="box", link_dead=False)
    looked = translate(error, doing="looking", write=False, where="box", link_dead=False)
    assert (type(written), written.exit_code) == (OutcomeUnknown, 10)
    assert (type(looked), looked.exit_code) == (BackendError, 7)
    assert any("podman.service" in hint for hint in looked.hints)


@pytest.mark.parametrize("error", STREAM_ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "cause", [LinkLost("gone"), EOFError(), TimeoutError()], ids=lambda error: type(error).__name__
)
def test_what_http_makes_of_a_lost_connection_is_a_lost_connection(error: Exception, cause: Exception) -> None:
    # the transport may not count as ended yet when its streams have
    try:
        raise error from cause
    except Exception as chained:
        looked = translate(chained, doing="looking", write=False, where="box", link_dead=False)
    finally:
        error.__cause__ = None
    assert (type(looked), looked.exit_code) == (ConnectionFailed, 4)


@pytest.mark.parametrize(
    "error",
    [
        podman.errors.PodmanError("no"),
        podman.errors.NotFound("no"),
        requests.exceptions.InvalidURL("no"),
        invoke.exceptions.ParseError("no"),
        ValueError("no"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_about_the_connection_is_podmans(error: Exception) -> None:
    for write in (False, True):
        found = translate(error, doing="asking", write=write, where="box", link_dead=False)
        assert (type(found), found.exit_code) == (BackendError, 7)


def test_a_refused_channel_leaves_no_doubt() -> None:
    refused = paramiko.ChannelException(2, "Connect failed")
    found = translate(refused, doing="asking", write=True, where="box", link_dead=False)
    assert type(found) is ConnectionFailed
    assert "refused another channel" in found.message


@pytest.mark.parametrize("lost", [True, False])
def test_what_podman_py_wraps_is_judged_by_what_is_inside(lost: bool) -> None:
    try:
        try:
            raise requests.ConnectionError("reset") if lost else requests.exceptions.InvalidURL("odd")
        except OSError as inner:
            raise podman.errors.APIError("http://podman/x", explanation="failed") from inner
    except podman.errors.APIError as error:
        found = translate(error, doing="writing", write=True, where="box", link_dead=False)
    assert type(found) is (OutcomeUnknown if lost else BackendError)


def test_what_is_ours_already_stays_what_it_is() -> None:
    ours = ContainerNotFound("none")
    assert translate(ours, doing="asking", write=True, where="box", link_dead=True) is ours
    with pytest.raises(ContainerNotFound) as raised, translated("asking", write=True, where="box"):
        raise ours
    assert raised.value is ours


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_no_error(error: type[BaseException]) -> None:
    with pytest.raises(error), translated("asking", where="box"):
        raise error


def test_the_innermost_reason_is_told_on_one_short_line() -> None:
    try:
        try:
            raise OSError("the real reason\nand more of it")
        except OSError as inner:
            raise requests.ConnectionError() from inner
    except requests.ConnectionError as error:
        found = translate(error, doing="asking", write=False, where="box", link_dead=False)
    assert "(the real reason)" in found.message
    long = translate(OSError("x" * 10_000), doing="asking", write=False, where="box", link_dead=False)
    assert len(long.message) < 500


def test_causes_in_a_circle_end() -> None:
    first, second = OSError(), OSError()
    first.__cause__, second.__cause__ = second, first
    assert isinstance(translate(first, doing="asking", write=False, where="box", link_dead=False), BackendError)


def test_the_cause_is_kept() -> None:
    with pytest.raises(L8sError) as raised, translated("asking", where="box"):
        raise OSError(5, "input/output error")
    assert isinstance(raised.value.__cause__, OSError)
