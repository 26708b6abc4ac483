"""sync: which entries are missing, different, stale or not to be believed; and that only our own are touched."""

from __future__ import annotations

import bz2
import tarfile
from collections.abc import Collection, Iterator

import pytest
from attrs import evolve

from l8s_core.errors import InvalidValue
from l8s_core.layout import host_block
from l8s_core.model import ContainerInfo, Endpoint, HostBlock, Profile
from l8s_core.sync import KEY_LIMIT, EntryState, _host_key, entry_state
from l8s_core.testing import FakeBackend, FakeServer

PROFILE = Profile(name="dev", remote_host="build.example.com", remote_user="root")
ENDPOINT = Endpoint(user="root", host="build.example.com", port=22, socket="/s")


def info(name: str, port: int = 2200, **labels: str) -> ContainerInfo:
    prefix = labels.get("prefix", "dev")
    all_labels = {"managed": "true", "prefix": prefix, "name": name, "ssh-port": str(port), **labels}
    return ContainerInfo(
        id="1",
        name=f"{prefix}-{name}",
        image="i",
        state="running",
        labels={f"l8s.{key.replace('_', '-')}": value for key, value in all_labels.items()},
        ports={port: 22},
    )


def entry(name: str, **changes: object) -> HostBlock:
    return evolve(host_block(info(name), PROFILE, ENDPOINT, identity_file="/k"), **changes)


def compared(entries: Collection[HostBlock], infos: Collection[ContainerInfo], *others: str) -> EntryState:
    return entry_state(entries, infos, PROFILE, ENDPOINT, other_prefixes=others)


def aliases(blocks: Collection[HostBlock]) -> list[str]:
    return [block.alias for block in blocks]


def test_what_fits_is_left_alone_whatever_key_it_offers() -> None:
    state = compared([entry("x")], [info("x")])
    assert (state.missing, state.different, state.stale, state.skipped) == ((), (), (), ())
    assert list(state.wanted) == ["dev-x"]


def test_missing_different_and_stale() -> None:
    state = compared([entry("y", port=1), entry("z")], [info("x"), info("y", 2201)])
    assert aliases(state.missing) == ["dev-x"]
    assert aliases(state.different) == ["dev-y"]
    assert state.different[0].port == 2201
    assert aliases(state.stale) == ["dev-z"]


@pytest.mark.parametrize(
    "foreign",
    [
        entry("z", alias="prod-z"),
        entry("z", hostname="other.example.com"),
        entry("z", proxy_jump="bastion"),
        entry("z", alias="dev-eu-z"),
    ],
)
def test_entries_of_others_are_never_stale(foreign: HostBlock) -> None:
    assert compared([foreign], [], "prod", "dev-eu").stale == ()


def test_a_container_of_an_unknown_longer_prefix_keeps_its_entry() -> None:
    other = entry("z", alias="dev-eu-z")
    assert compared([other], [info("z", prefix="dev-eu")]).stale == ()


@pytest.mark.parametrize(
    ("lying", "reason"),
    [
        (info("x", user="-oProxyCommand=x"), "labels are not l8s's"),
        (info("x", user="a\nHost *"), "labels are not l8s's"),
        (info("x", ssh_port="99999"), "labels are not l8s's"),
        (evolve(info("x"), name="dev-y"), "name another container"),
        (evolve(info("x"), ports={}), "does not lead to its sshd"),
        (evolve(info("x"), ports={2200: 8080}), "does not lead to its sshd"),
    ],
)
def test_labels_that_lie_give_no_entry(lying: ContainerInfo, reason: str) -> None:
    state = compared([], [lying])
    assert state.missing == ()
    assert [reason in skipped.reason for skipped in state.skipped] == [True]


class Sends(FakeBackend):
    """A backend whose every download is ``data``."""

    data = b""

    def download(self, name: str, path: str) -> Iterator[bytes]:
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]


def archived(content: bytes, **changes: object) -> bytes:
    member = tarfile.TarInfo("ssh_host_ed25519_key.pub")
    member.size = len(content)
    for key, value in changes.items():
        setattr(member, key, value)
    return member.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512) + b"\0" * 1024


BOMB = bz2.compress(archived(b"\0" * 1024**2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 600,
        BOMB,
        archived(b"not a key"),
        archived(b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        archived(b"", type=tarfile.DIRTYPE),
        archived(b"x", size=KEY_LIMIT + 1),
        archived(b"x" * 2 * KEY_LIMIT),
    ],
)
def test_a_host_key_that_is_none_is_refused_and_never_unpacked(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bz2, "BZ2Decompressor", None)
    backend = Sends(PROFILE, FakeServer())
    backend.data = data
    with pytest.raises(InvalidValue):
        _host_key(backend, "dev-x")
