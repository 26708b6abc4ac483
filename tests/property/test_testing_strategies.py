"""What the shipped strategies draw is acceptable everywhere, and the fakes keep whatever it is."""

from __future__ import annotations

from hypothesis import given

from l8s_core import names, provision
from l8s_core.model import ContainerSpec, HostBlock, Profile
from l8s_core.testing import FakeSSHConfigWriter, strategies


@given(strategies.profiles())
def test_profiles_pass_names(profile: Profile) -> None:
    names.profile_name(profile.name)
    names.host(profile.remote_host)
    names.remote_user(profile.remote_user)
    names.container_user(profile.container_user)
    names.prefix(profile.container_prefix)
    names.start_port(profile.ssh_start_port)
    names.image(profile.base_image)
    names.labels(profile.labels)


@given(strategies.container_specs(), strategies.profiles())
def test_container_specs_are_acceptable_wishes(spec: ContainerSpec, profile: Profile) -> None:
    assert provision.validated(spec, profile).alias == f"{profile.container_prefix}-{spec.name}"


@given(strategies.host_blocks())
def test_host_blocks_are_kept(block: HostBlock) -> None:
    writer = FakeSSHConfigWriter()
    writer.apply(writer.plan(add=[block]))
    assert list(writer.blocks()) == [block]
    assert names.port(block.port) == block.port
    assert names.host_key_alias(block.host_key_alias)
