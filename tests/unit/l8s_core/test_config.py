from __future__ import annotations

import copy

import pytest
from attrs import evolve, fields

from l8s_core import config
from l8s_core.config import ProfileLayer, choose, parse, with_active, with_profile, without_profile
from l8s_core.contracts import ConfigDocument
from l8s_core.errors import ConfigError, PluginError
from l8s_core.model import Profile

FILE = "~/.l8s/config.yaml"
SERVER = {"remote_host": "server.example.com", "remote_user": "root"}
STAGING = Profile(
    name="staging",
    remote_host="staging.example.com",
    remote_user="podman",
    container_user="acme",
    labels={"team": "acme", "tier": "2"},
)


def document(data, **lines):
    """A document; ``profiles__dev=3`` puts a key in a line."""
    return ConfigDocument(
        location=FILE, exists=True, data=data, lines={tuple(key.split("__")): line for key, line in lines.items()}
    )


def refusal(data, **lines):
    with pytest.raises(ConfigError) as caught:
        parse(document(data, **lines))
    assert caught.value.exit_code == 2
    return caught.value.message


def test_every_setting_of_a_profile_can_be_written_in_a_config():
    settings = {item.name for item in fields(Profile)} - {"name", "sources"}
    assert set(config.SETTINGS) == settings == {item.name for item in fields(ProfileLayer)}


def test_a_flat_file_is_one_profile_named_dev_with_defaults():
    found = parse(document(SERVER, remote_host=1, remote_user=2))
    assert found.names() == ("dev",)
    profile = found.profile("dev")
    assert profile == Profile(name="dev", **SERVER)
    assert profile.alias("myapp") == "dev-myapp"
    assert profile.sources["remote_user"] == f"{FILE}:2"
    assert profile.sources["remote_socket"] == "default"
    assert set(profile.sources) == set(config.SETTINGS)


def test_every_value_reaches_the_profile():
    settings = {
        **SERVER,
        "remote_port": 2222,
        "remote_socket": "/run/x.sock",
        "ssh_key_path": "~/.ssh/key",
        "base_image": "quay.io/x:1",
        "container_user": "me",
        "container_prefix": "box",
        "ssh_start_port": 3000,
        "labels": {"team": "blue"},
        "backend": "fake",
        "ssh_config_writer": "nowhere",
        "options": {"deep": [1, {"a": None}]},
        "host_key_checking": False,
        "forward_agent": True,
    }
    assert set(settings) == set(config.SETTINGS)
    assert parse(document(settings)).profile("dev") == Profile(name="dev", **settings)


def test_top_level_keys_are_defaults_of_every_profile():
    data = {"remote_user": "root", "labels": {"a": "1", "b": "1"}, "profiles": {
        "dev": {"remote_host": "dev.example.com"},
        "prod": {"remote_host": "prod.example.com", "remote_user": "ops", "labels": {"b": "2", "c": "2"}},
    }}  # fmt: skip
    found = parse(document(data, remote_user=1, labels=2, profiles__prod__labels=9))
    assert found.names() == ("dev", "prod")
    assert found.profile("dev").remote_user == "root"
    prod = found.profile("prod")
    assert prod.remote_user == "ops"
    assert prod.labels == {"a": "1", "b": "2", "c": "2"}
    assert prod.container_prefix == "prod"
    assert prod.sources["labels"] == f"{FILE}:2, {FILE}:9"


def test_a_profile_named_dev_under_profiles_is_like_any_other():
    assert parse(document({"profiles": {"staging": SERVER}})).names() == ("staging",)


def test_a_plugins_profile_lies_between_the_top_level_and_the_files_own():
    data = {"container_user": "top", "base_image": "top", "profiles": {"staging": {"labels": {"tier": "9"}}}}
    profile = parse(document(data, base_image=2), [("acme", STAGING)]).profile("staging")
    assert profile.remote_host == "staging.example.com"
    assert profile.container_user == "acme"
    assert profile.base_image == "top"
    assert profile.labels == {"team": "acme", "tier": "9"}
    assert profile.sources["remote_host"] == "plugin acme"
    assert profile.sources["base_image"] == f"{FILE}:2"
    assert profile.sources["remote_port"] == "default"


def test_a_flat_file_leaks_nothing_into_a_plugins_profile():
    found = parse(document({**SERVER, "base_image": "mine", "labels": {"x": "y"}}), [("acme", STAGING)])
    assert found.names() == ("dev", "staging")
    assert found.profile("staging") == STAGING
    assert found.profile("dev").base_image == "mine"


def test_a_flat_file_wins_over_a_plugins_dev():
    plugin = evolve(STAGING, name="dev", container_prefix="dev")
    profile = parse(document({"remote_user": "me"}), [("acme", plugin)]).profile("dev")
    assert (profile.remote_host, profile.remote_user, profile.container_user) == ("staging.example.com", "me", "acme")


def test_two_plugins_with_one_profile_are_named_only_when_it_is_used():
    found = parse(document(SERVER), [("acme", STAGING), ("other", STAGING)])
    assert found.profile("dev").remote_host == "server.example.com"
    with pytest.raises(PluginError, match="more than one plugin: acme and other"):
        found.profile("staging")


def test_a_plugins_bad_values_are_named_with_the_plugin_only_when_they_are_used():
    bad = evolve(STAGING, remote_host="a b", labels={"X": "1"})
    found = parse(document(SERVER), [("acme", bad)])
    assert found.profile("dev")
    with pytest.raises(PluginError) as caught:
        found.profile("staging")
    assert "Plugin acme supplies profile 'staging'" in caught.value.message
    assert "remote_host: " in caught.value.message
    assert "labels.X: " in caught.value.message


def test_a_profile_without_a_server_gets_the_seeds_words_and_what_is_missing():
    found = parse(document({"profiles": {"dev": {"remote_host": "h"}}}, profiles__dev=3))
    with pytest.raises(ConfigError) as caught:
        found.profile("dev")
    assert caught.value.message.startswith("l8s requires remote server configuration.")
    assert FILE in caught.value.message
    assert caught.value.hints == (f"Profile dev at {FILE}:3 lacks remote_user",)


def test_an_unknown_profile_lists_the_choices():
    found = parse(document({"profiles": {"dev": SERVER, "prod": SERVER}}), [("acme", STAGING)])
    with pytest.raises(ConfigError) as caught:
        found.profile("stagin")
    assert "dev, prod, staging" in caught.value.message
    assert "Did you mean staging?" in caught.value.hints


def test_two_profiles_with_one_prefix_are_both_named():
    data = {"profiles": {"dev": SERVER, "prod": {**SERVER, "container_prefix": "dev"}, "test": SERVER}}
    found = parse(document(data))
    for name in ("dev", "prod"):
        with pytest.raises(ConfigError) as caught:
            found.profile(name)
        assert "dev" in caught.value.message
        assert "prod" in caught.value.message
        assert "container_prefix" in caught.value.message
    assert found.profile("test")


def test_two_profiles_of_one_prefix_are_refused_with_both_places():
    data = {"profiles": {"dev": SERVER, "prod": {**SERVER, "container_prefix": "dev"}}}
    found = parse(document(data, profiles__dev=2, profiles__prod__container_prefix=8))
    with pytest.raises(ConfigError, match=r":2: profiles dev and prod \(.*:8\) share the container_prefix dev"):
        found.profile("dev")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"remote_hst": "x"}, "remote_hst: there is no such key\n    Did you mean remote_host?"),
        ({"remote-host": "x"}, "Did you mean remote_host?"),
        ({"zzz": 1}, "The keys are: remote_host, remote_user"),
        ({"remote_port": "22"}, "remote_port: '22' is text, not a number\n    Write it without quotes: 22"),
        ({"remote_port": 22.0}, "remote_port: port 22.0 is refused"),
        ({"remote_port": True}, "remote_port: port True is refused"),
        ({"remote_port": 70000}, "from 1 to 65535"),
        ({"remote_user": 5}, 'remote_user: 5 is not text\n    Write it in quotes: "5"'),
        ({"remote_host": True}, 'Write it in quotes: "true"'),
        ({"remote_host": None}, "remote_host: it has no value\n    Write one, or remove the line"),
        ({"remote_host": ["a"]}, "remote_host: host a list is refused: it must be text"),
        ({"remote_host": "ssh://h"}, "remote-only"),
        ({"forward_agent": "false"}, "forward_agent: 'false' is neither true nor false\n    Write true or false"),
        ({"forward_agent": 0}, "forward_agent: 0 is neither true nor false"),
        ({"host_key_checking": None}, "it has no value"),
        ({"labels": "a=b"}, "labels: 'a=b' is not a mapping\n    Write it like labels: {team: blue}"),
        ({"labels": {"a": 1}}, 'labels.a: 1 is not text\n    Write it in quotes: "1"'),
        ({"labels": {"l8s.x": "1"}}, "labels.l8s.x: label 'l8s.x' is refused"),
        ({"labels": {"a": None}}, "labels.a: it has no value"),
        ({"labels": {1: "a"}}, "labels: the key 1 is not text"),
        ({"options": []}, "options: a list is not a mapping"),
        ({"backend": "../x"}, "backend: plugin name '../x' is refused"),
        ({"active_profile": 1}, "active_profile: 1 is not text"),
        ({"active_profile": "A B"}, "active_profile: profile name 'A B' is refused"),
        ({"profiles": []}, "profiles: a list is not a mapping"),
        ({"profiles": None}, "profiles: it has no value"),
        ({"profiles": {"dev": None}}, "profiles.dev: it has no value"),
        ({"profiles": {"Dev": {}}}, "profiles.Dev: profile name 'Dev' is refused"),
        ({"profiles": {"dev": {"active_profile": "x"}}}, "profiles.dev.active_profile: it belongs to the top level"),
        ({"profiles": {"dev": {"remote_usr": "x"}}}, "Did you mean remote_user?"),
        ({"top": {}}, "top: there is no such key"),
        ({"a\x1b[2J": 1}, r"a\x1b[2J: there is no such key"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_what_to_write(data, expected):
    message = refusal(data)
    assert expected in message
    assert message.replace("\n", "").isprintable()


def test_of_very_many_problems_the_first_are_told_and_long_keys_are_cut():
    keys = ["k" * 5000, *(f"k{number}" for number in range(500))]
    message = refusal(dict.fromkeys(keys, 1), **{key: line for line, key in enumerate(keys, 1)})
    assert message.startswith("The config has 501 problems. The first 10:\n")
    assert "k" * 80 + "...: there is no such key" in message
    assert len(message) < 5000


def test_all_problems_are_told_at_once_in_the_files_order_and_each_with_its_line():
    message = refusal(
        {"remote_hst": "x", "profiles": {"dev": {"remote_port": "1", "labels": {"A": "b"}}, "x y": {}}},
        remote_hst=1, profiles__dev__remote_port=5, profiles__dev__labels__A=4,
    )  # fmt: skip
    lines = [line for line in message.splitlines() if not line.startswith(" ")]
    assert lines[0] == "The config has 4 problems."
    places = [line.split(": ")[:2] for line in lines[1:]]
    assert places == [
        [FILE, "profiles.x y"],
        [f"{FILE}:1", "remote_hst"],
        [f"{FILE}:4", "profiles.dev.labels.A"],
        [f"{FILE}:5", "profiles.dev.remote_port"],
    ]


def test_choosing_flag_variable_active_and_only_in_that_order():
    data = {"active_profile": "b", "profiles": dict.fromkeys("abcd", SERVER)}
    found = parse(document(data, active_profile=2))
    both = {"L8S_PROFILE": "c"}
    assert choose(found, flag="d", environ=both) == config.Choice("d", "--profile")
    assert choose(found, flag=None, environ=both) == config.Choice("c", "L8S_PROFILE")
    assert choose(found, flag=None, environ={"L8S_PROFILE": ""}) == config.Choice("b", f"active_profile in {FILE}:2")
    only = parse(document(SERVER), [("acme", STAGING)])
    assert choose(only, flag=None, environ={}) == config.Choice("dev", "the only profile")
    plugins = parse(document({}), [("acme", STAGING)])
    assert choose(plugins, flag=None, environ={}) == config.Choice("staging", "the only profile")


@pytest.mark.parametrize(
    ("data", "flag", "environ", "expected"),
    [
        (
            {"profiles": {"a": SERVER, "b": SERVER}},
            "c",
            {},
            "There is no profile 'c'. The choices are: a, b\n(--profile",
        ),
        ({"profiles": {"a": SERVER}}, None, {"L8S_PROFILE": "c"}, "(L8S_PROFILE names it)"),
        ({"active_profile": "c", "profiles": {"a": SERVER}}, None, {}, f"(active_profile in {FILE} names it)"),
        ({"profiles": {"a": SERVER}}, "", {}, "There is no profile ''"),
        ({"profiles": {"a": SERVER, "b": SERVER}}, None, {}, "There are several profiles and none is active: a, b"),
        ({}, None, {}, "l8s requires remote server configuration."),
        ({}, "a", {}, "l8s requires remote server configuration."),
        ({"profiles": {}}, None, {}, "l8s requires remote server configuration."),
    ],
)
def test_a_choice_that_cannot_be_made_says_what_there_is(data, flag, environ, expected):
    with pytest.raises(ConfigError) as caught:
        choose(parse(document(data)), flag=flag, environ=environ)
    assert expected in caught.value.message
    assert "several" not in expected or "Choose one for good: l8s profile use NAME" in caught.value.hints


NEW = {"remote_host": "new.example.com", "remote_user": "root"}


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        ({}, "dev", NEW),
        ({}, "prod", {"active_profile": "prod", "profiles": {"prod": NEW}}),
        (SERVER, "prod", {"active_profile": "dev", "profiles": {"dev": SERVER, "prod": NEW}}),
        ({**SERVER, "active_profile": "x"}, "prod", {"active_profile": "x", "profiles": {"dev": SERVER, "prod": NEW}}),
        ({"profiles": {"a": SERVER}}, "prod", {"active_profile": "a", "profiles": {"a": SERVER, "prod": NEW}}),
        (
            {"active_profile": "b", "profiles": {"a": SERVER, "b": SERVER}},
            "prod",
            {"active_profile": "b", "profiles": {"a": SERVER, "b": SERVER, "prod": NEW}},
        ),
        (
            {"base_image": "x", "profiles": {}},
            "dev",
            {"active_profile": "dev", "base_image": "x", "profiles": {"dev": NEW}},
        ),
    ],
)
def test_adding_a_profile(data, name, expected):
    before = copy.deepcopy(data)
    result = with_profile(data, name, NEW)
    assert result == expected
    assert data == before
    found = parse(document(result))
    assert found.profile(name).remote_host == "new.example.com"
    if "active_profile" not in data:
        assert choose(found, flag=None, environ={}).name == (
            name if not data or data.get("profiles") == {} else found.names()[0]
        )


def test_replacing_a_profile_lays_the_settings_over_it_and_none_takes_out():
    settings = {"remote_host": "new.example.com", "remote_port": None}
    old = {**SERVER, "remote_port": 2222, "labels": {"a": "b"}}
    merged = {**SERVER, "remote_host": "new.example.com", "labels": {"a": "b"}}
    assert with_profile(old, "dev", settings, replace=True) == merged
    nested = {"active_profile": "prod", "profiles": {"prod": old}}
    assert with_profile(nested, "prod", settings, replace=True) == {
        "active_profile": "prod",
        "profiles": {"prod": merged},
    }


@pytest.mark.parametrize(
    ("data", "name"),
    [(SERVER, "dev"), ({"profiles": {"a": SERVER}}, "a"), ({}, "A B"), ({}, ""), ({"profiles": []}, "a")],
)
def test_a_profile_that_cannot_be_added(data, name):
    with pytest.raises(ConfigError):
        with_profile(data, name, NEW)


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (SERVER, "dev", {}),
        ({**SERVER, "active_profile": "dev"}, "dev", {}),
        ({**SERVER, "active_profile": "staging"}, "dev", {"active_profile": "staging"}),
        ({"active_profile": "a", "profiles": {"a": SERVER, "b": SERVER}}, "a", {"profiles": {"b": SERVER}}),
        (
            {"active_profile": "a", "profiles": {"a": SERVER, "b": SERVER}},
            "b",
            {"active_profile": "a", "profiles": {"a": SERVER}},
        ),
        ({"profiles": {"a": SERVER}}, "a", {}),
        ({"base_image": "x", "profiles": {"a": SERVER}}, "a", {"base_image": "x", "profiles": {}}),
    ],
)
def test_removing_a_profile(data, name, expected):
    result = without_profile(data, name)
    assert result == expected
    assert name not in parse(document(result)).names()


@pytest.mark.parametrize(
    ("data", "choices"), [({}, "none"), (SERVER, "dev"), ({"profiles": {"a": {}, "b": {}}}, "a, b")]
)
def test_removing_a_profile_that_is_not_there_lists_the_choices(data, choices):
    with pytest.raises(ConfigError, match=f"The choices are: {choices}"):
        without_profile(data, "x")


def test_setting_the_active_profile():
    assert list(with_active(SERVER, "staging")) == ["active_profile", *SERVER]
    assert with_active({"profiles": {}, "active_profile": "a"}, "b") == {"profiles": {}, "active_profile": "b"}
    with pytest.raises(ConfigError):
        with_active(SERVER, "A B")
