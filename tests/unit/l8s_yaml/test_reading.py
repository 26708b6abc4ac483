from __future__ import annotations

import pytest

from l8s_core.errors import ConfigError
from l8s_yaml import reading

FILE = "~/.l8s/config.yaml"


def read(data):
    return reading.read(reading.decode(data if isinstance(data, bytes) else data.encode(), FILE), FILE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing yet\n", {}),
        ("---\n", {}),
        ("---\na: 1\n...\n", {"a": 1}),
        ("\ufeffa: b\n", {"a": "b"}),
        ("a: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
        ("a:\nb: ~\nc: null\n", {"a": None, "b": None, "c": None}),
        ("a: true\nb: False\nc: yes\nd: off\n", {"a": True, "b": False, "c": "yes", "d": "off"}),
        ("a: 0\nb: -12\nc: 1.5\nd: 10.0.0.1\n", {"a": 0, "b": -12, "c": 1.5, "d": "10.0.0.1"}),
        ("a: '1'\nb: \"true\"\nc: '0o22'\nd: '2024-01-01'\n", {"a": "1", "b": "true", "c": "0o22", "d": "2024-01-01"}),
        ("'1': a\n'null': b\n'<<': c\n", {"1": "a", "null": "b", "<<": "c"}),
        ("a: {b: [1, x], c: {}}\n", {"a": {"b": [1, "x"], "c": {}}}),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", {"a": "x\ny\n", "b": "x y"}),
        ("a: fe80::1%eth0\nb: ~/.ssh/id\n", {"a": "fe80::1%eth0", "b": "~/.ssh/id"}),
    ],
)  # fmt: skip
def test_what_is_read(text, expected):
    assert read(text).plain() == expected
    assert repr(read(text).plain()) == repr(expected)  # 1 is not True, nor 1.0


@pytest.mark.parametrize(
    ("text", "line", "problem", "advice"),
    [
        ("a: 1\nb: *x\n", 2, "alias *x", "Write the value out"),
        ("a: &x 1\n", 1, "anchor &x", "Write the value out"),
        ("a: &x\n  b: 1\n", 1, "anchor &x", "Write the value out"),
        ("b:\n  <<: {a: 1}\n", 2, "merges another mapping", "Write the keys out"),
        ("a: !!int '1'\n", 1, "tag", "Remove the tag"),
        ("a: ! x\n", 1, "tag !", "Remove the tag"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "tag", "Remove the tag"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is there twice, first in line 1", "Keep one of them"),
        ("x: {a: 1, a: 1}\n", 1, "'a' is there twice", "Keep one"),
        ("1: a\n", 1, "the key 1 is not text", "Write it in quotes"),
        ("true: a\n", 1, "the key True is not text", "Write it in quotes"),
        (": a\n", 1, "the key None is not text", "Write it in quotes"),
        ("? [a]\n: b\n", 1, "a key must be one word", "Write key: value"),
        ("a: 1\n---\nb: 2\n", 2, "second document", "remove the ---"),
        ("%YAML 1.1\n---\na: 1\n", 2, "% directive", "Remove the line"),
        ("- a\n", 1, "does not hold keys and values", "Write remote_host: server.example.com"),
        ("hello\n", 1, "does not hold keys and values", "Write remote_host: server.example.com"),
        ("a: 1\nb: 0o22\n", 2, "'0o22' is a number that can be misread", 'decimal number, or text in quotes: "0o22"'),
        ("a: 022\n", 1, "'022' is a number that can be misread", '"022"'),
        ("a: 0x1F\n", 1, "misread", '"0x1F"'),
        ("a: 1_000\n", 1, "misread", '"1_000"'),
        ("a: 1e3\n", 1, "misread", '"1e3"'),
        ("a: 10:30\n", 1, "misread", '"10:30"'),
        ("a: .inf\n", 1, "misread", '".inf"'),
        ("a: " + "9" * 16 + "\n", 1, "misread", "quotes"),
        ("a: " + "9" * 5000 + "\n", 1, "misread", "quotes"),
        ("a: 2024-01-01\n", 1, "'2024-01-01' is a date", '"2024-01-01"'),
        ("a: 2024-01-01 10:00:00\n", 1, "is a date", "quotes"),
        ("a: {b: {c: {d: {e: {f: {g: {h: {}}}}}}}}\n", 1, "nested deeper than 8 levels", "Write it flatter"),
        ("a: b: c\n", 1, "mapping values are not allowed here", "Write one  key: value  a line"),
        ("a: @x\n", 1, "cannot start any token", "in quotes"),
        ("a:\n\tb: 1\n", 2, "cannot start any token", "Indent with spaces"),
        ("a: 'x\n", 1, "end of stream", "Write one  key: value"),
        ("a: [1\n", 2, "expected", "Write one  key: value"),
        (b"a: 1\nb: \xff\n", 2, "byte 9 of the file is not UTF-8", "Save the file as UTF-8"),
        (b"a: 1\nb: \x00\n", 2, r"control character: \x00", "Remove it"),
        ("\ufeffa: 1\n\ufeffb: 2\n", 2, r"control character: \ufeff", "Remove it"),
        ("a: 1\nb\n", 2, "could not find expected ':'", "Write one  key: value"),
        ("a: !" + "x" * 5000 + " b\n", 1, "it has the tag !xxx", "Remove the tag"),
        ("a: \x1b[2J\n", 1, r"control character: \x1b", "Remove it"),
        ("a: 1\n# \u2028b: 2\n", 2, r"control character: \u2028", "Remove it"),
        ("a: 1\rb: 2\n", 1, r"control character: \x0d", "Remove it"),
        ('a: 1\nb: "\\U0010ffff \\U00110000"\n', 2, r"\U00110000 is no character", r"ends at \U0010ffff"),
        ('a: 1\nb:\n- "\\Ua0018d09"\n', 3, r"\Ua0018d09 is no character", r"ends at \U0010ffff"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_what_is_refused_says_the_line_the_finding_and_what_to_write(text, line, problem, advice):
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = caught.value.message
    assert message.startswith(f"{FILE}:{line}: ")
    assert problem in message
    assert advice in message
    assert message.replace("\n", "").isprintable()
    assert len(message) < 500
    assert caught.value.hints == (f"Correct it in {FILE}",)


def test_eight_levels_are_enough_and_allowed():
    assert read("a: {b: {c: {d: {e: {f: {g: {}}}}}}}\n").plain()


def test_a_large_file_is_refused_by_its_size():
    exactly = b"#" * reading.LIMIT
    assert read(exactly).plain() == {}
    with pytest.raises(ConfigError, match="65537 bytes, at most 65536"):
        read(exactly + b"#")


def test_every_key_and_item_has_its_line():
    text = "# head\na: 1\n\nprofiles:\n  dev:\n    # note\n    labels: {x: '1',\n      y: '2'}\n  list:\n  - p\n  - q\n"
    assert reading.lines(read(text)) == {
        ("a",): 2,
        ("profiles",): 4,
        ("profiles", "dev"): 5,
        ("profiles", "dev", "labels"): 7,
        ("profiles", "dev", "labels", "x"): 7,
        ("profiles", "dev", "labels", "y"): 8,
        ("profiles", "list"): 9,
        ("profiles", "list", "0"): 10,
        ("profiles", "list", "1"): 11,
    }
