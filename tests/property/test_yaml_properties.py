"""Whatever is in the file: it is read or refused, quickly; and an edit does what it says and loses no comment."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from l8s_core import config
from l8s_core.errors import ConfigError
from l8s_yaml import plain, reading, writing

LOCATION = "~/.l8s/config.yaml"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.sampled_from(
    [
        "remote_host",
        "remote_user",
        "labels",
        "a",
        "yes",
        "1",
        "null",
        "- x",
        "a: b",
        "#c",
        "é",
        "",
        "x y",
        "<<",
        "~",
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**14), 10**14),
    st.floats(0, 1000).map(lambda number: round(number, 3)).filter(lambda number: "e" not in str(number)),
    texts,
    st.sampled_from(
        [
            "yes",
            "0o22",
            "007",
            "2024-01-01",
            "1e3",
            "null",
            "~",
            "true",
            "- a",
            "a # b",
            "'",
            '"',
            "a: b",
            "@x",
            "10:30",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
data = st.dictionaries(keys, values, max_size=5)
comments = st.sampled_from(["# one", "#two", "  # three", "      # four", "", "   "])


def load(text: str) -> dict[str, object]:
    found = reading.read(reading.decode(text.encode(), LOCATION), LOCATION).plain()
    assert isinstance(found, dict)
    return found


@st.composite
def files(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A config file with comments strewn in, and what it holds."""
    wanted = draw(data)
    lines = writing.rewrite("", wanted, LOCATION).splitlines()
    strewn: list[str] = []
    for line in lines:
        strewn += draw(st.lists(comments, max_size=2))
        strewn.append(line + draw(st.sampled_from(["", "", " # end", "  "])))
    strewn += draw(st.lists(comments, max_size=2))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return ending.join(strewn) + draw(st.sampled_from([ending, ""])), wanted


def comment_lines(text: str) -> list[str]:
    return sorted(line.strip() for line in text.splitlines() if line.lstrip().startswith("#"))


@given(data)
def test_what_was_written_is_read(wanted: dict[str, object]) -> None:
    assert writing.same(load(writing.rewrite("", wanted, LOCATION)), wanted)


@given(files(), data)
def test_an_edit_does_what_it_says_and_keeps_every_comment(
    file: tuple[str, dict[str, object]], wanted: dict[str, object]
) -> None:
    text, before = file
    assert writing.same(load(text), before)
    merged = {**before, **wanted}
    for target in (wanted, merged, {key: merged[key] for key in sorted(merged)[1:]}):
        after = writing.rewrite(text, target, LOCATION)
        assert writing.same(load(after), target)
        assert [line for line in comment_lines(text) if line not in comment_lines(after)] == []
        assert len(comment_lines(after)) >= len(comment_lines(text))


@given(files())
def test_an_edit_that_changes_nothing_gives_the_same_text(file: tuple[str, dict[str, object]]) -> None:
    text, before = file
    assert writing.rewrite(text, before, LOCATION) == text


settings_ = st.fixed_dictionaries(
    {
        "remote_host": st.sampled_from(["a.example", "10.0.0.1", "fe80::1%eth0"]),
        "remote_user": st.just("root"),
    },
    optional={
        "labels": st.dictionaries(st.sampled_from(["a", "b"]), texts, max_size=2),
        "forward_agent": st.booleans(),
    },
)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["dev", "staging", "prod"]), settings_),
        st.tuples(st.just("remove"), st.sampled_from(["dev", "staging", "prod"]), st.none()),
        st.tuples(st.just("use"), st.sampled_from(["dev", "staging", "prod"]), st.none()),
    ),
    max_size=6,
)


@given(settings_, st.lists(comments, min_size=2, max_size=8), edits)
def test_a_history_of_profile_edits_keeps_comments_and_stays_readable(
    flat: dict[str, object], notes: list[str], history: list[tuple[str, str, dict[str, object] | None]]
) -> None:
    lines = writing.rewrite("", flat, LOCATION).splitlines()
    for number, note in enumerate(notes):
        lines.insert(number * 2 % (len(lines) + 1), note)
    text = "\n".join(lines)
    first = comment_lines(text)
    for verb, name, given_settings in history:
        try:
            before = load(text)
            if verb == "add":
                wanted = config.with_profile(before, name, given_settings or {}, replace=True)
            elif verb == "remove":
                wanted = config.without_profile(before, name)
            else:
                wanted = config.with_active(before, name)
        except ConfigError:
            continue
        text = writing.rewrite(text, wanted, LOCATION)
        assert load(text) == wanted
        assert comment_lines(text) == first


@st.composite
def profile_files(draw: st.DrawFn) -> str:
    """A config file with several profiles and comments anywhere, with either line end, and perhaps none at the end."""
    wanted = {
        # without it the second profile makes the first one active, and that stays
        "active_profile": "dev",
        **draw(st.fixed_dictionaries({}, optional={"forward_agent": st.booleans(), "container_user": st.just("dev")})),
        "profiles": draw(st.fixed_dictionaries({"dev": settings_}, optional={"staging": settings_, "prod": settings_})),
    }
    strewn: list[str] = []
    for line in writing.rewrite("", wanted, LOCATION).splitlines():
        strewn += [*draw(st.lists(comments, max_size=2)), line + draw(st.sampled_from(["", "", " # end", "  "]))]
    ending = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    strewn += draw(st.lists(comments, max_size=2))
    return ending.join(strewn) + draw(st.sampled_from([ending, ""]))


@given(profile_files(), settings_)
def test_adding_a_profile_and_removing_it_is_the_identity(text: str, given_settings: dict[str, object]) -> None:
    added = writing.rewrite(text, config.with_profile(load(text), "new", given_settings), LOCATION)
    lines = iter(added.splitlines())
    assert all(line in lines for line in text.splitlines()), "only lines are added"
    assert writing.rewrite(added, config.without_profile(load(added), "new"), LOCATION) == text


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"a: \xff")
@example(b"\xef\xbb\xbfa: 1")
@example(b"? [a]: b")
@example(b"a: !!python/object:os.system x")
def test_any_bytes_are_read_or_refused(found: bytes) -> None:
    try:
        root = reading.read(reading.decode(found, LOCATION), LOCATION)
    except ConfigError as error:
        assert error.message.startswith(LOCATION)
        assert error.message.isprintable() or error.message.replace("\n", "").isprintable()
    else:
        assert isinstance(root.plain(), dict)


tokens = st.lists(
    st.sampled_from(
        [
            "a",
            "b: ",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\n",
            "\n  ",
            "\n    ",
            "'",
            '"',
            "#",
            " # c",
            "|",
            ">",
            "&x ",
            "*x",
            "!!int ",
            "<<: ",
            "? ",
            "---\n",
            "...\n",
            "%YAML 1.1\n",
            "0o22",
            "1",
            "\t",
            "\\",
            "@",
            "`",
            "\r\n",
            "~",
            "null",
            "é",
            "|2-\n",
        ]
    ),
    max_size=40,
).map("".join)


@st.composite
def yaml_soup(draw: st.DrawFn) -> str:
    """Pieces of YAML in any order, of which hardly any is a file; or a few of them in the middle of a good one."""
    soup = draw(tokens)
    if draw(st.booleans()):
        return soup
    text, _ = draw(files())
    at = draw(st.integers(0, len(text)))
    return text[:at] + soup[: draw(st.integers(0, 6))] + text[at:]


@example('a: "\\U0a018cd6"\n')
@example('a: "\\Ua0018d09"\n')
@given(yaml_soup())
def test_anything_like_yaml_is_read_or_refused_and_can_be_changed_or_is_left_alone(text: str) -> None:
    try:
        before = load(text)
    except ConfigError:
        return
    for wanted in ({**before, "new": "x"}, {"new": {"x": 1}}, {}):
        try:
            after = writing.rewrite(text, wanted, LOCATION)
        except ConfigError as error:
            assert "cannot be changed without harm" in error.message
        else:
            assert load(after) == wanted


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 60_000,
        "{" * 60_000,
        "a: " + "[" * 60_000,
        "- " * 30_000,
        "\n".join(" " * depth + "a:" for depth in range(300)),
        "{a: " * 15_000,
        "? " * 30_000,
        "a: " + "9" * 60_000,
        "a: 1" + "_" * 60_000 + "1",
        "a: " + "1:" * 30_000,
        "a: &x [1]\n" + "b: *x\n" * 5_000,
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
        "a: " + "!" * 60_000,
        "a: '" + "x\n" * 30_000,
        'a: "' + "\\" * 59_999,
        "#" * 65_000 + "\n[",
        "".join(f"k{number}: 1\n" for number in range(5_000)) + "k1: 1\n",
    ],
    ids=lambda text: text[:12].replace("\n", "."),
)
def test_a_hostile_file_is_refused_quickly(hostile: str) -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError):
        load(hostile)
    assert time.monotonic() - start < 5


SIMPLE_WORDS = "true False null ~ ~/.ssh/id 192.0.2.7 0 007 22 1e3 2024-01-01 1.5 a: # 'q' | [a] {} &a *a !t on x#y ~a"
OTHER_WORDS = ("e" * 41, "1.2.3." + "4" * 50, '"a b"', '"a\\n"', '"a" # "b"', "x # y", "")
plain_words = st.one_of(
    st.text("abeEfFnNlLuUrtsTRxy019._/~@+:-", min_size=1, max_size=18),
    st.sampled_from([*SIMPLE_WORDS.split(), *OTHER_WORDS]),
)
plain_lines = st.builds(
    lambda indent, key, gap, value, tail: f"{' ' * indent}{key}:{' ' * gap}{value}{tail}",
    st.sampled_from([0, 0, 0, 2, 2, 4, 1]),
    st.one_of(st.sampled_from(["remote_host", "profiles", "dev", "labels", "null", "yes", "a", "b"]), plain_words),
    st.sampled_from([1, 1, 1, 0, 2]),
    plain_words,
    st.sampled_from(["", "", "", "  ", " # why", "\r", "\t"]),
)
plain_texts = st.builds(
    lambda lines, end: "\n".join(lines) + end,
    st.lists(
        st.one_of(
            plain_lines, st.sampled_from(["profiles:", "  dev:", "# a comment", "", "  # b", "---", "- x", "    a: b"])
        ),
        max_size=7,
    ),
    st.sampled_from(["\n", "", "\n\n"]),
)


@given(st.one_of(plain_texts, texts))
@example("remote_host: build.example.com\nremote_user: root\n")
@example("active_profile: dev\nprofiles:\n  dev:\n    remote_host: 192.0.2.7\n    remote_port: 2222\n")
@example("a: b\n  c: d\n")
@example("a:\n    b: c\n  d: e\n")
@example("a: b\na: c\n")
@example("a: b:\n")
@example("a:b\n")
@example("a: 1:30\n")
@example("a: 1.2.3." + "4" * 50)
@example("a: " + "e" * 41)
@example("null: a\n")
@example("a: ~\n")
@example("a: true # b\n")
@example('a: "b" # "c"\n')
def test_what_is_read_without_the_parser_is_what_the_parser_reads(text: str) -> None:
    simple = plain.read(text.encode("utf-8"))
    if simple is None:
        return  # for the parser
    root = reading.read(reading.decode(text.encode("utf-8"), LOCATION), LOCATION)
    assert simple == (root.plain(), reading.lines(root))
    assert [type(value) for value in simple[0].values()] == [type(value) for value in root.plain().values()]
