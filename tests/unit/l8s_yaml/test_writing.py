from __future__ import annotations

import pytest

from l8s_core import names
from l8s_core.errors import ConfigError
from l8s_yaml import reading, writing

FILE = "~/.l8s/config.yaml"

HAND_WRITTEN = """\
# My servers.   Two spaces stay.

active_profile: dev      # the usual

profiles:
    # the old machine
    dev:
        remote_host: 'dev.example.com'   # in the cellar
        remote_user: "root"
        labels: {team:   blue}

    # the new one
    staging:
        remote_host: staging.example.com
        # by and by
        remote_user: podman
# the end
"""


def load(text):
    return reading.read(text, FILE).plain()


def rewrite(text, wanted):
    after = writing.rewrite(text, wanted, FILE)
    assert load(after) == wanted
    return after


def test_a_changed_value_changes_its_line_only_and_keeps_its_quotes():
    data = load(HAND_WRITTEN)
    data["active_profile"] = "staging"
    data["profiles"]["dev"]["remote_host"] = "it's.example.com"
    data["profiles"]["dev"]["remote_user"] = "me"
    assert rewrite(HAND_WRITTEN, data) == HAND_WRITTEN.replace(
        "active_profile: dev ", "active_profile: staging "
    ).replace("'dev.example.com'", "'it''s.example.com'").replace('"root"', '"me"')


def test_a_new_profile_takes_the_files_own_indentation_and_comes_after_the_last_one():
    data = load(HAND_WRITTEN)
    data["profiles"]["prod"] = {"remote_host": "p", "labels": {"a": "1"}}
    expected = '    prod:\n        remote_host: p\n        labels:\n            a: "1"\n'
    assert rewrite(HAND_WRITTEN, data) == HAND_WRITTEN.replace("# the end\n", expected + "# the end\n")


def test_a_new_key_in_the_middle_of_the_file():
    data = load(HAND_WRITTEN)
    data["profiles"]["dev"]["remote_port"] = 2222
    assert rewrite(HAND_WRITTEN, data) == HAND_WRITTEN.replace(
        "{team:   blue}\n", "{team:   blue}\n        remote_port: 2222\n"
    )


def test_new_keys_of_several_levels_at_one_place_each_land_in_their_own_mapping():
    text = "profiles:\n  dev:\n    a: b\nlast: x\n"
    wanted = {"profiles": {"dev": {"a": "b", "c": "d"}, "new": {"e": "f"}}, "last": "z"}
    expected = "profiles:\n  dev:\n    a: b\n    c: d\n  new:\n    e: f\nlast: z\n"
    assert rewrite(text, wanted) == expected
    text = text.removesuffix("last: x\n")
    assert rewrite(text, wanted) == expected


def test_a_removed_profile_leaves_its_comments():
    data = load(HAND_WRITTEN)
    del data["profiles"]["staging"]
    assert rewrite(HAND_WRITTEN, data) == HAND_WRITTEN.replace(
        "    staging:\n        remote_host: staging.example.com\n        # by and by\n        remote_user: podman\n",
        "        # by and by\n",
    )


def test_the_last_key_gone_leaves_an_empty_mapping():
    assert rewrite("profiles:\n  dev:\n    a: b\n", {"profiles": {}}) == "profiles: {}\n"
    assert rewrite("a: b\n# x\n", {}) == "# x\n"


def test_a_flat_file_moves_under_a_profile_as_it_is():
    flat = "# the server\nremote_host: 'h'  # quoted\n\nremote_user:   root\nlabels:\n  a: |\n    x\n    y\n"
    wanted = {"active_profile": "dev", "profiles": {"dev": load(flat), "prod": {"remote_host": "p"}}}
    assert rewrite(flat, wanted) == (
        "active_profile: dev\n"
        "profiles:\n"
        "  dev:\n"
        "    # the server\n"
        "    remote_host: 'h'  # quoted\n"
        "\n"
        "    remote_user:   root\n"
        "    labels:\n"
        "      a: |\n"
        "        x\n"
        "        y\n"
        "  prod:\n"
        "    remote_host: p\n"
    )


def test_a_flat_file_with_an_active_profile_moves_without_that_line():
    flat = "active_profile: dev # x\n# why\nremote_host: h\n"
    wanted = {"active_profile": "dev", "profiles": {"dev": {"remote_host": "h"}, "p": {"remote_host": "p"}}}
    assert rewrite(flat, wanted) == (
        "active_profile: dev\nprofiles:\n  dev:\n    # why\n    remote_host: h\n  p:\n    remote_host: p\n"
    )


def test_a_first_key_is_put_above_the_comments_that_belong_to_the_next():
    text = "# head\n\n# about the host\nremote_host: h\n"
    assert rewrite(text, {"active_profile": "x", "remote_host": "h"}) == (
        "# head\n\nactive_profile: x\n# about the host\nremote_host: h\n"
    )


def test_carriage_returns_stay_and_are_used():
    text = "a: 1\r\nb: 2\r\n"
    assert rewrite(text, {"a": 1, "b": 2, "c": {"d": 3}}) == text + "c:\r\n  d: 3\r\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_without_a_final_newline_it_stays_without(ending):
    text = f"a: 1{ending}b: 2"
    longer = rewrite(text, {"a": 1, "b": 2, "c": {"d": 3}})
    assert longer == f"{text}{ending}c:{ending}  d: 3"
    assert rewrite(longer, {"a": 1, "b": 2}) == text
    assert rewrite(text, {"a": 3, "b": 2}) == f"a: 3{ending}b: 2"


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("", {"a": "b"}, "a: b\n"),
        ("# only\n", {"a": "b"}, "# only\na: b\n"),
        ("a:\nb: 1\n", {"a": "x", "b": 1}, "a: x\nb: 1\n"),
        ("a: 1 # c\n", {"a": {"b": 2}}, "a:\n  b: 2\n"),
        ("a: {b: 1} # c\n", {"a": {"b": 2}}, "a:\n  b: 2\n"),
        ("a: |\n  x\n  y\nb: 1\n", {"a": "z", "b": 1}, "a: z\nb: 1\n"),
        ("{a: 1,\n # c\n b: 2}\n", {"a": 1}, " # c\na: 1\n"),
        ("a:\n- 1\n- 2\n", {"a": [1, "x: y"]}, 'a: [1, "x: y"]\n'),
        ("---\na: 1\n", {"a": 2}, "---\na: 2\n"),
        ("  a: 1\n", {"a": 1, "b": 2}, "  a: 1\n  b: 2\n"),
        ("a: 'x'\n", {"a": 5}, "a: 5\n"),
        ("a: 'x'\n", {"a": "x\ny"}, 'a: "x\\x0ay"\n'),
    ],
)
def test_other_shapes(text, wanted, expected):
    assert rewrite(text, wanted) == expected


def test_the_same_data_gives_the_same_text_whatever_its_shape():
    for text in (HAND_WRITTEN, "{a: [1,2]}", "a: 'x'", "", "a:   1\n\n\n"):
        assert writing.rewrite(text, load(text), FILE) == text


def test_types_count():
    assert rewrite("a: 1\n", {"a": True}) == "a: true\n"
    assert rewrite("a: 1\n", {"a": 1.0}) == "a: 1.0\n"


def test_a_change_that_would_do_harm_is_refused():
    with pytest.raises(ConfigError, match="cannot be changed without harm"):
        writing.rewrite("? a\n: 1\n", {"a": 1, "b": {"c": "d"}}, FILE)


def test_a_document_that_ends_is_continued_before_its_end():
    assert rewrite("a: 1\n...\n", {"a": 1, "b": 2}) == "a: 1\nb: 2\n...\n"


@pytest.mark.parametrize(
    "value",
    [object(), {1: "a"}, b"x", float("nan"), float("inf"), 10**16, 10**5000, 1e300, {"a", "b"}],
    ids=lambda value: names.shown(value),
)
def test_what_yaml_cannot_hold_exactly_is_refused(value):
    with pytest.raises(ConfigError, match="cannot be written"):
        writing.rewrite("", {"a": value}, FILE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("~/.ssh/id_ed25519", "~/.ssh/id_ed25519"),
        ("localhost/l8s-fedora:latest", "localhost/l8s-fedora:latest"),
        ("two words", "two words"),
        ("2001:db8::1", "2001:db8::1"),
        ("true", '"true"'),
        ("No", '"No"'),
        ("1", '"1"'),
        ("0o22", '"0o22"'),
        ("2024-01-01", '"2024-01-01"'),
        ("", '""'),
        ("~", '"~"'),
        ("a: b", '"a: b"'),
        ("a:", '"a:"'),
        ("a #b", '"a #b"'),
        ("- a", '"- a"'),
        ('q"\\', '"q\\"\\\\"'),
        ("a\n\x1b\u202e\U000e0001", '"a\\x0a\\x1b\\u202e\\U000e0001"'),
        (None, "null"),
        (True, "true"),
        (22, "22"),
        (0.5, "0.5"),
    ],
)
def test_scalars(value, expected):
    assert writing.scalar(value) == expected
    assert load(f"a: {expected}\n") == {"a": value}
