"""Whatever is given to `l8s_core.names`: it is refused with a message, or what comes out is safe."""

from __future__ import annotations

import re
import subprocess
import unicodedata

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from l8s_core import names
from l8s_core.errors import InvalidValue
from l8s_core.testing import strategies

WORDS = [
    names.container_name,
    names.profile_name,
    names.prefix,
    names.plugin_name,
    names.container_user,
    names.remote_user,
    names.server_group,
    names.host,
    names.socket_path,
    names.label_key,
    names.image,
    names.branch,
    names.remote_name,
    names.fingerprint,
    names.host_key_alias,
    names.environment_name,
]
NUMBERS = [names.port, names.start_port, names.pids, names.memory, names.cpus]

alphabet = st.sampled_from("abzAZ019-_./:@%~^*[]{}\\'\"$`;&|<>() \t\n\r\0\x1b\x7f\u202e\u2028é=,!?#+")
texts = st.one_of(
    st.text(alphabet, max_size=30),
    st.text(max_size=20),
    st.text("ab0-.:/", max_size=12),
    strategies.hosts(),
    strategies.images(),
    strategies.branches(),
    strategies.container_names(),
)
LIKELY = {
    names.container_name: strategies.container_names(),
    names.profile_name: strategies.profile_names(),
    names.prefix: strategies.profile_names(),
    names.plugin_name: strategies.container_names(),
    names.container_user: strategies.container_users(),
    names.remote_user: strategies.remote_users(),
    names.server_group: strategies.container_users(),
    names.host: strategies.hosts(),
    names.socket_path: st.from_regex(r"(/[a-zA-Z0-9._-]{1,12}){1,4}", fullmatch=True),
    names.label_key: st.from_regex(r"[a-z0-9]([a-zA-Z0-9._/-]{0,30}[a-zA-Z0-9])?", fullmatch=True),
    names.image: strategies.images(),
    names.branch: strategies.branches(),
    names.remote_name: strategies.container_names(),
    names.fingerprint: st.from_regex(r"SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]", fullmatch=True),
    names.host_key_alias: strategies.container_names().map("{}.l8s".format),
    names.environment_name: st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True),
}
"""What each check mostly accepts: of random text it would accept next to nothing, and the test would show nothing."""

any_example = settings(phases=[Phase.generate])
some = settings(max_examples=settings().max_examples // 3)
"""For tests that start a process, and for those that run once for each of many functions."""


def test_there_are_likely_words_for_every_check():
    assert set(LIKELY) == set(WORDS)


def accepts(check, text):
    try:
        return check(text) == text
    except InvalidValue:
        return False


@pytest.mark.parametrize("check", WORDS, ids=lambda check: check.__name__)
def test_likely_words_are_accepted_and_random_ones_refused(check):
    """Both ways through the next test are gone."""
    find(LIKELY[check], lambda text: accepts(check, text), settings=any_example)
    find(texts, lambda text: not accepts(check, text), settings=any_example)


@pytest.mark.parametrize("check", WORDS, ids=lambda check: check.__name__)
@some
@given(data=st.data())
def test_an_accepted_word_is_safe_anywhere(check, data):
    word = LIKELY[check]
    spoilt = st.builds(lambda text, at, more: text[:at] + more + text[at:], word, st.integers(0, 40), alphabet)
    text = data.draw(word | spoilt | texts)
    try:
        result = check(text)
    except InvalidValue as error:
        assert error.message.isprintable()
        return
    assert result == text
    assert result
    assert not result.startswith("-")
    assert not any(character.isspace() or unicodedata.category(character).startswith("C") for character in result)
    if check is not names.branch:  # git allows all sorts; a branch is an argument, and quoted in a shell
        assert not set(result) & set("'\"$`;&|<>()\\*?!#,")


@given(texts)
def test_an_accepted_path_or_value_has_no_control_character(text):
    for check in (names.local_path, names.label_value):
        try:
            result = check(text)
        except InvalidValue:
            continue
        assert result == text
        assert result.isprintable()


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=5),
    st.lists(st.integers(), max_size=2),
    texts,
)


@pytest.mark.parametrize(
    "check", [*WORDS, *NUMBERS, names.repository, names.labels, names.label_argument], ids=lambda c: c.__name__
)
@some
@given(value=anything)
def test_nothing_but_a_refusal_is_raised(check, value):
    try:
        check(value)
    except InvalidValue as error:
        assert error.message.isprintable()
        assert all(hint.isprintable() for hint in error.hints)


@given(strategies.repositories() | texts | texts.map("https://{}".format) | texts.map("ssh://{}".format))
def test_an_accepted_repository_is_safe_for_git(text):
    try:
        repository = names.repository(text)
    except InvalidValue:
        return
    url = repository.url
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    assert not url.startswith("-")
    assert re.match("[A-Za-z0-9+.-]*::", url) is None
    assert ":" in url
    if url.startswith("http"):
        assert "@" not in url.partition("//")[2].partition("/")[0]
    for part in (repository.username, repository.password):
        assert part is None or part.isprintable()


@given(st.text())
def test_printable_is_printable_and_leaves_printable_text_alone(text):
    result = names.printable(text)
    assert result.isprintable()
    assert (result == text) == text.isprintable()
    assert names.printable_lines(text).replace("\n", "").replace("\t", "").isprintable()


@some
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), min_size=1, max_size=6
    )
)
def test_shell_words_reach_the_command_as_they_were(argv):
    script = "printf '%s\\0' " + names.shell_words(argv)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(word.encode() + b"\0" for word in argv)
