from __future__ import annotations

import pytest
from attrs import evolve, frozen

from l8s_core.errors import ConfigError
from l8s_core.model import Profile
from l8s_core.options import check_options, structured_options


@frozen
class Options:
    region: str
    retries: int = 3
    verbose: bool = False


def profile(**options: object) -> Profile:
    return Profile(name="dev", remote_host="server.example.com", remote_user="root", options=options)


def test_options_become_a_typed_value() -> None:
    assert structured_options(profile(region="eu", verbose=True), Options) == Options("eu", 3, True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "region"),
        ({"region": "eu", "regoin": 1}, "regoin"),
        ({"region": 1}, "region"),
        ({"region": "eu", "retries": "3"}, "retries"),
        ({"region": "eu", "retries": True}, "retries"),
        ({"region": "eu", "verbose": "false"}, "verbose"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        check_options(profile(**options), Options)
    assert caught.value.exit_code == 2


def test_a_backend_without_options_takes_none() -> None:
    check_options(profile(), None)
    with pytest.raises(ConfigError, match=r"takes no options.*region"):
        check_options(profile(region="eu"), None)


@pytest.mark.parametrize("kind", [None, Options])
def test_the_refusal_says_where_the_options_are(kind: type | None) -> None:
    written = evolve(profile(**{"a\x1b": 1}), sources={"options": "~/.l8s/config.yaml:4"})
    with pytest.raises(ConfigError, match=r"profile dev \(~/.l8s/config.yaml:4\)"):
        check_options(written, kind)
