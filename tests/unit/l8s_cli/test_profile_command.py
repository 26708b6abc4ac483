"""profile: all of it offline."""

from __future__ import annotations

from typing import Any

import pytest

from l8s_core.hookspecs import hookimpl
from l8s_core.model import Profile

TWO = {
    "active_profile": "lab",
    "profiles": {
        "dev": {"remote_host": "dev.example.com", "remote_user": "root"},
        "lab": {"remote_host": "lab.example.com", "remote_user": "ops", "labels": {"team": "blue"}},
    },
}


@pytest.fixture
def two(l8s: Any) -> Any:
    l8s.data = TWO
    return l8s


def data(l8s: Any) -> Any:
    return dict(l8s.session.store.load().data)


def test_list_marks_the_active_one_and_says_why(two: Any) -> None:
    result = two("profile", "list")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "SERVER", "FROM"]
    assert lines[1].split()[:2] == ["dev", "root@dev.example.com"]
    assert lines[2].split()[:3] == ["*", "lab", "ops@lab.example.com"]
    assert "active_profile" in result.stderr
    two.environ["L8S_PROFILE"] = "dev"
    two.session.environ = two.environ
    assert two.json("profile", "list", kind="profiles")["reason"] == "L8S_PROFILE"
    assert two.json("profile", "list", "--profile", "lab", kind="profiles")["active"] == "lab"
    assert two.server.opened == 0


def test_list_without_a_configuration(l8s: Any) -> None:
    l8s.data = {}
    result = l8s("profile", "list")
    assert result.exit_code == 0
    assert "l8s init" in result.stderr


def test_list_with_none_active(l8s: Any) -> None:
    l8s.data = {"profiles": TWO["profiles"]}
    result = l8s("profile", "list")
    assert result.exit_code == 0
    assert "*" not in result.stdout
    assert "None is in use" in result.stderr
    assert l8s("profile", "current").exit_code == 2


def test_list_shows_a_profile_that_is_not_usable(l8s: Any) -> None:
    l8s.data = {"active_profile": "dev", "profiles": {"dev": {"remote_user": "root"}}}
    result = l8s("profile", "list")
    assert result.exit_code == 0
    assert "(not usable)" in result.stdout


def test_list_has_profiles_of_plugins(two: Any) -> None:
    class Staging:
        @hookimpl
        def l8s_profiles(self) -> Any:
            yield Profile(name="staging", remote_host="staging.example.com", remote_user="root")

    two.plugins.append((Staging(), "acme"))
    assert "plugin acme" in two("profile", "list").stdout


def test_show_has_sources(two: Any) -> None:
    result = two("profile", "show")
    assert result.stdout.splitlines()[0].split() == ["SETTING", "VALUE", "FROM"]
    shown = two.json("profile", "show", "lab", kind="profile")
    assert shown["name"] == "lab"
    assert shown["settings"]["remote_host"] == {"value": "lab.example.com", "source": "~/.l8s/config.yaml"}
    assert shown["settings"]["ssh_start_port"] == {"value": 2200, "source": "default"}
    assert shown["settings"]["labels"]["value"] == {"team": "blue"}
    assert two.server.opened == 0


def test_show_of_nothing(two: Any) -> None:
    assert two("profile", "show", "labb").exit_code == 2


def test_current_prints_the_name_alone(two: Any) -> None:
    result = two("profile", "current")
    assert result.stdout == "lab\n"
    assert "active_profile" in result.stderr
    assert two.json("profile", "current", kind="current-profile")["name"] == "lab"


def test_add(two: Any) -> None:
    result = two("profile", "add", "new", "--host", "new.example.com", "--port", "2222", "--image", "localhost/x:1")
    assert result.exit_code == 0, result.stderr
    assert data(two)["profiles"]["new"] == {
        "remote_host": "new.example.com",
        "remote_user": "root",
        "remote_port": 2222,
        "base_image": "localhost/x:1",
    }
    assert "l8s profile use new" in result.stderr
    assert two.server.opened == 0


@pytest.mark.parametrize(
    "words",
    [
        ("new",),
        ("New", "--host", "h"),
        ("lab", "--host", "h"),
        ("new", "--host", "ssh://h"),
        ("new", "--host", "h", "--user", "-x"),
        ("new", "--host", "h", "--port", "70000"),
        ("new", "--host", "h", "--socket", "x"),
        ("new", "--host", "h", "--image", "-x"),
    ],
    ids=" ".join,
)
def test_add_refuses(two: Any, words: tuple[str, ...]) -> None:
    assert two("profile", "add", *words).exit_code == 2
    if two.session is not None:
        assert data(two) == TWO


def test_add_refuses_this_machine(two: Any) -> None:
    assert two("profile", "add", "new", "--host", "localhost").exit_code == 3


def test_use(two: Any) -> None:
    assert two("profile", "use", "dev").exit_code == 0
    assert data(two)["active_profile"] == "dev"
    two.environ["L8S_PROFILE"] = "dev"
    assert "comes first" in two("profile", "use", "lab").stderr
    assert two("profile", "use", "nope").exit_code == 2


def test_remove(two: Any) -> None:
    assert two("profile", "remove", "lab").exit_code == 0
    assert "lab" not in data(two)["profiles"]
    assert two("profile", "remove", "lab").exit_code == 2


def test_profile_alone_prints_help(l8s: Any) -> None:
    result = l8s("profile")
    assert result.exit_code == 0
    assert "Usage: l8s profile" in result.stdout
