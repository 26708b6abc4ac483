"""Layering, choosing and editing profiles, for any mapping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from l8s_core import config
from l8s_core.contracts import ConfigDocument
from l8s_core.errors import ConfigError
from l8s_core.model import Profile
from l8s_core.testing import strategies

servers = st.fixed_dictionaries(
    {"remote_host": strategies.hosts(), "remote_user": strategies.remote_users()},
    optional={
        "remote_port": strategies.ports(),
        "base_image": strategies.images(),
        "container_user": strategies.container_users(),
        "labels": strategies.labels(),
        "forward_agent": st.booleans(),
    },
)
profiles = st.dictionaries(st.sampled_from(["dev", "staging", "prod", "x"]), servers, max_size=4)
defaults = st.fixed_dictionaries(
    {}, optional={"ssh_start_port": st.integers(1024, 65000), "labels": strategies.labels()}
)

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(config.SETTINGS), inner, max_size=3)
    ),
    max_leaves=8,
)
keys = st.sampled_from([*config.SETTINGS, "profiles", "active_profile", "top", "remote_hots"]) | st.text(max_size=5)

whole = servers | st.builds(lambda top, named: {**top, "profiles": named}, defaults, profiles)
nearly = st.builds(lambda data, key, value: {**data, key: value}, whole, keys, junk)
"""A good file, but for one key: of random mappings hardly one is good enough to be read at all."""


def parse(data: object, plugins: tuple[tuple[str, Profile], ...] = ()) -> config.Config:
    assert isinstance(data, dict)
    return config.parse(ConfigDocument(location="the file", exists=True, data=data), plugins)


@given(whole | nearly | st.dictionaries(keys, junk, max_size=5))
def test_any_mapping_is_read_or_refused_with_places(data: dict[str, object]) -> None:
    try:
        found = parse(data)
    except ConfigError as error:
        assert "the file: " in error.message
        assert error.message.replace("\n", "").isprintable()
    else:
        for name in found.names():
            try:
                assert (
                    found.profile(name).remote_host == {**data, **data.get("profiles", {}).get(name, {})}["remote_host"]
                )  # type: ignore[attr-defined]
            except ConfigError as error:
                assert "lacks" in error.hints[0] or "container_prefix" in error.message


@given(defaults, profiles)
def test_each_value_comes_from_the_nearest_layer(top: dict[str, object], named: dict[str, dict[str, object]]) -> None:
    found = parse({**top, "profiles": named})
    for name, own in named.items():
        profile = found.profile(name)
        plain = Profile(name=name, remote_host="h", remote_user="u")
        for key in config.SETTINGS:
            if key == "labels":
                expected: object = {**dict(top.get("labels", {})), **dict(own.get("labels", {}))}  # type: ignore[call-overload]
            else:
                expected = own.get(key, top.get(key, getattr(plain, key)))
            assert getattr(profile, key) == expected
            assert (profile.sources[key] == "default") == (key not in own and key not in top)


@given(servers, servers)
def test_a_flat_file_never_changes_a_plugins_profile(flat: dict[str, object], supplied: dict[str, object]) -> None:
    profile = Profile(name="staging", **supplied)  # type: ignore[arg-type]
    found = parse(flat, (("acme", profile),))
    assert found.profile("staging") == profile
    assert found.profile("dev") == Profile(name="dev", **flat)  # type: ignore[arg-type]


@given(profiles, st.booleans(), st.sampled_from(["dev", "staging", "new"]), servers)
def test_adding_keeps_the_others_and_the_choice(
    named: dict[str, dict[str, object]], flat: bool, name: str, server: dict[str, object]
) -> None:
    data: dict[str, object] = dict(named["dev"]) if flat and "dev" in named else {"profiles": named} if named else {}
    before = parse(data)
    result = config.with_profile(data, name, server, replace=True)
    after = parse(result)
    for other in before.names():
        if other != name:
            assert after.profile(other) == before.profile(other)
    assert after.profile(name).remote_host == server["remote_host"]
    if len(before.names()) == 1:
        chosen = config.choose(before, flag=None, environ={}).name
        assert config.choose(after, flag=None, environ={}).name == chosen
    if name not in before.names():
        again = parse(config.without_profile(result, name))
        assert again.names() == before.names()
        assert [again.profile(other) for other in again.names()] == [before.profile(other) for other in before.names()]


@given(profiles, st.sampled_from(["dev", "staging", "none"]))
def test_what_is_chosen_exists(named: dict[str, dict[str, object]], active: str) -> None:
    found = parse(config.with_active({"profiles": named}, active))
    try:
        chosen = config.choose(found, flag=None, environ={})
    except ConfigError:
        assert active not in named
    else:
        assert chosen.name == active
        assert found.profile(chosen.name)
