# ruff: noqa: D102  (the tests' names say what they check)
"""The contract suite of an `SSHConfigWriter`.

Subclass it in a test module and override one fixture::

    from l8s_core.testing.ssh_config_writer_suite import SSHConfigWriterContract

    class TestMyWriter(SSHConfigWriterContract):
        @pytest.fixture
        def make_writer(self, tmp_path):
            return lambda: MyWriter(tmp_path)     # each call: another one on the same, empty place

A writer that works on the home directory needs a temporary one there (``monkeypatch.setenv("HOME", ...)``).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from l8s_core.contracts import SSHConfigWriter
from l8s_core.model import HostBlock

BLOCK = HostBlock(
    alias="dev-myapp",
    hostname="build.example.com",
    port=2200,
    user="dev",
    host_key_alias="dev-myapp.l8s",
    known_hosts_file="/home/me/.l8s/known_hosts",
    identity_file="/home/me/.l8s/keys/0123456789abcdef.pub",
)
OTHER = evolve(BLOCK, alias="prod-db", hostname="2001:db8::1", port=2201, proxy_jump="me@bastion.example.com:2222")


class SSHConfigWriterContract:
    """Inherit from it in a test class; see the module."""

    @pytest.fixture
    def make_writer(self) -> Callable[[], SSHConfigWriter]:
        """A function that constructs a writer; all of them write to the same, at first empty, place."""
        raise NotImplementedError("override the fixture make_writer")

    @pytest.fixture
    def writer(self, make_writer: Callable[[], SSHConfigWriter]) -> SSHConfigWriter:
        """A writer that has written nothing yet."""
        return make_writer()

    @staticmethod
    def write(writer: SSHConfigWriter, *add: HostBlock, remove: tuple[str, ...] = ()) -> None:
        """Plan and apply."""
        writer.apply(writer.plan(add=add, remove=remove))

    def test_it_is_a_writer(self, writer: SSHConfigWriter) -> None:
        assert isinstance(writer, SSHConfigWriter)

    def test_at_first_no_alias_is_ours(self, writer: SSHConfigWriter) -> None:
        assert list(writer.blocks()) == []

    def test_a_plan_writes_nothing(self, writer: SSHConfigWriter) -> None:
        plan = writer.plan(add=[BLOCK])
        assert plan.files
        assert plan.add == (BLOCK,)
        assert list(writer.blocks()) == []
        for change in plan.files:
            assert change.before != change.after
            assert change.summary
            assert (change.path.read_bytes() if change.path.exists() else None) == change.before

    def test_added_blocks_are_read_back(
        self, writer: SSHConfigWriter, make_writer: Callable[[], SSHConfigWriter]
    ) -> None:
        self.write(writer, BLOCK, OTHER)
        for reader in (writer, make_writer()):
            assert sorted(reader.blocks(), key=lambda block: block.alias) == [BLOCK, OTHER]

    @pytest.mark.parametrize(
        "block",
        [
            evolve(BLOCK, host_key_checking=False),
            evolve(BLOCK, forward_agent=True),
            evolve(BLOCK, identity_file=""),
            evolve(BLOCK, known_hosts_file="/home/some one/.l8s/known_hosts"),
        ],
    )
    def test_every_setting_is_read_back(self, writer: SSHConfigWriter, block: HostBlock) -> None:
        self.write(writer, block)
        assert list(writer.blocks()) == [block]

    def test_when_all_is_as_it_should_be_nothing_is_planned(self, writer: SSHConfigWriter) -> None:
        self.write(writer, BLOCK)
        assert writer.plan(add=[BLOCK]).files == ()
        assert writer.plan(remove=["dev-unknown"]).files == ()
        assert writer.plan().files == ()

    def test_applying_twice_is_fine(self, writer: SSHConfigWriter) -> None:
        plan = writer.plan(add=[BLOCK])
        writer.apply(plan)
        writer.apply(plan)
        assert list(writer.blocks()) == [BLOCK]

    def test_adding_an_alias_again_replaces_it(self, writer: SSHConfigWriter) -> None:
        self.write(writer, BLOCK, OTHER)
        self.write(writer, evolve(BLOCK, port=2299))
        assert {block.alias: block.port for block in writer.blocks()} == {"dev-myapp": 2299, "prod-db": 2201}

    def test_removing_leaves_the_others(self, writer: SSHConfigWriter) -> None:
        self.write(writer, BLOCK, OTHER)
        self.write(writer, remove=("dev-myapp",))
        assert list(writer.blocks()) == [OTHER]
        self.write(writer, remove=("prod-db",))
        assert list(writer.blocks()) == []

    def test_a_plan_that_has_aged_loses_nothing(
        self, writer: SSHConfigWriter, make_writer: Callable[[], SSHConfigWriter]
    ) -> None:
        old = writer.plan(add=[BLOCK])
        self.write(make_writer(), OTHER)
        writer.apply(old)
        assert {block.alias for block in writer.blocks()} == {"dev-myapp", "prod-db"}

    def test_no_writer_comes_between(self, make_writer: Callable[[], SSHConfigWriter]) -> None:
        blocks = [evolve(BLOCK, alias=f"dev-app{number}", port=2200 + number) for number in range(12)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda block: self.write(make_writer(), block), blocks))
        assert {block.alias for block in make_writer().blocks()} == {block.alias for block in blocks}
