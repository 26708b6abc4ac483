from __future__ import annotations

import subprocess

import pytest

from l8s_core import names
from l8s_core.errors import ConfigError, InvalidValue

DIGEST = "sha256:" + "0123456789abcdef" * 4

ACCEPTED = [
    (names.container_name, "a"),
    (names.container_name, "my-app2"),
    (names.container_name, "a" * 40),
    (names.profile_name, "staging"),
    (names.prefix, "0-x"),
    (names.plugin_name, "acme_Cloud.v2"),
    (names.container_user, "_dev-1"),
    (names.remote_user, "Jane.Doe-2"),
    (names.server_group, "l8s"),
    (names.server_group, "_dev-ops_2"),
    (names.host, "server.example.com"),
    (names.host, "server.example.com."),
    (names.host, "My_Alias"),
    (names.host, "127.1"),
    (names.host, "10.0.0.1"),
    (names.host, "2001:db8::1"),
    (names.host, "fe80::1%eth0"),
    (names.port, 1),
    (names.port, 65535),
    (names.start_port, 1024),
    (names.start_port, 65000),
    (names.socket_path, "/run/podman/podman.sock"),
    (names.socket_path, "/" + "a" * 106),
    (names.local_path, "~/.ssh/my key"),
    (names.local_path, "./-x"),
    (names.label_key, "example.com/team"),
    (names.label_value, ""),
    (names.label_value, "two words - ü"),
    (names.image, "fedora"),
    (names.image, "localhost/l8s-fedora:latest"),
    (names.image, "registry.example.com:5000/a/b__c:v1.2_3"),
    (names.image, f"quay.io/x@{DIGEST}"),
    (names.image, f"quay.io/x:1@{DIGEST}"),
    (names.branch, "feature/login-2"),
    (names.branch, "ünïcode"),
    (names.remote_name, "dev-myapp"),
    (names.pids, 16),
    (names.pids, 4194304),
    (names.fingerprint, "SHA256:" + "aB3+/" * 8 + "xyz"),
    (names.host_key_alias, "l8s-dev-myapp"),
    (names.environment_name, "_A1"),
]

REFUSED = [
    *((check, text) for check in (names.container_name, names.profile_name, names.prefix) for text in (
        "", "-a", "a-", "A", "a b", "a_b", "a.b", "a\n", "ä", "٣", None, 1, b"a")),
    (names.container_name, "a" * 41),
    (names.profile_name, "a" * 21),
    (names.prefix, "a" * 21),
    (names.plugin_name, "../x"),
    (names.plugin_name, "-x"),
    (names.container_user, "1a"),
    (names.container_user, "Root"),
    (names.container_user, "a" * 33),
    (names.server_group, "Domain Users"),
    (names.server_group, "-G"),
    (names.server_group, "a:b"),
    (names.server_group, "a,b"),
    (names.server_group, "0"),
    (names.server_group, "a" * 33),
    (names.remote_user, "-oProxyCommand=x"),
    (names.remote_user, "a;b"),
    (names.remote_user, "a b"),
    (names.remote_user, "$(x)"),
    *((names.host, text) for text in (
        "", "-oProxyCommand=touch x", "a..b", ".", ".a", "a..", "a b", "a\tb", "a;b", "a%eth0", "a/b", "$(x)",
        "`x`", "a,b", "*", "!a",
        "fe80::1%", "fe80::1%a b", "::1%%", "1:2", "[::1", "a" * 64, "a." * 127, "a\u200b", "a\x1b[2J",
        "bücher.example")),
    *((check, value) for check in (names.port, names.start_port, names.pids) for value in (
        True, "22", 22.0, None, 0, -1, 10**7, 10**5000)),
    (names.start_port, 1023),
    (names.start_port, 65001),
    (names.port, 65536),
    (names.pids, 15),
    *((names.socket_path, text) for text in (
        "run/x.sock", "/run/../x", "/run/x/", "/", "/run/a b", "/run/%h", "unix:///run/x", "/" + "a" * 107, "/a\n")),
    *((names.local_path, text) for text in ('a"b', "a\nb", "-i", "~root/x", "", "a\x00b", "a" * 4097)),
    *((names.label_key, text) for text in ("l8s.managed", "A", "a=b", "a b", "-a", "a-", "a" * 129, "")),
    *((names.label_value, text) for text in ("a\nb", "\x1b", "\u202e", "a" * 1025, 1, None)),
    *((names.image, text) for text in (
        "", "-v", "Fedora", "a//b", "a/../b", "/a", "a/", "a:", "a:-x", "a@sha256:12", "a b",
        "a:b:c", f"a@{DIGEST}x", "docker://a",
        "registry:port/x", "a" * 256, "a;b", "a.-b")),
    *((names.branch, text) for text in (
        "", "-x", "a..b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "/a", "a/", "a//b", "a.",
        "a.lock", "a.lock/b",
        ".a", "a/.b", "@", "a@{b", "HEAD", "a\x7fb", "a\u2028b")),
    *((names.remote_name, text) for text in ("", "-x", ".x", "a..b", "a.lock", "a/b", "a b", "x.")),
    *((names.fingerprint, text) for text in ("", "MD5:aa:bb", "SHA256:x", "SHA256:" + "a" * 44, "SHA256:" + "=" * 43)),
    *((names.host_key_alias, text) for text in ("a,b", "*", "!a", "a b", "@revoked", "|1|x")),
    *((names.environment_name, text) for text in ("", "1A", "A-B", "A=B", "A B")),
    *((names.container_account, text) for text in ("", "-u", "a b", ":root", "root:", "a:b:c", "a;b", "\u00f6")),
    *((names.container_directory, text) for text in ("", "a", "./a", "~", "-a", "/a\nb", "/a\u202e", "/" + "a" * 4096)),
    *((names.seconds, text) for text in (
        "", "0", "0.0", "-1", "nan", "inf", "1e3", "1_0", "\u0665", ".5", "5.", "5s", "1" * 8)),
    *((names.port, names.written_number(text)) for text in (
        "\u0662\u0662", "2_2", "+22", "022", "22 ", " 22", "2e1", "0x16", "", "-1", "9" * 5000)),
    *((names.argument, text) for text in ("a\0b", "\udcff")),
    *((names.repository, text) for text in ("C:\\a", "git@h:a\\b")),
]  # fmt: skip


@pytest.mark.parametrize(("check", "value"), ACCEPTED)
def test_accepted_values_come_back_as_they_are(check, value):
    assert check(value) == value


@pytest.mark.parametrize(("check", "value"), REFUSED, ids=lambda value: names.shown(value)[:30])
def test_everything_else_is_refused_in_printable_words(check, value):
    with pytest.raises(InvalidValue) as caught:
        check(value)
    assert isinstance(caught.value, ConfigError)
    assert " is refused: " in caught.value.message
    for text in (caught.value.message, *caught.value.hints):
        assert text.isprintable()
        assert len(text) < 400


def test_a_refusal_names_the_argument_the_value_and_the_rule():
    with pytest.raises(InvalidValue) as caught:
        names.container_name("My App!" * 50)
    assert caught.value.message.startswith("container name 'My App!My")
    assert "350 characters, at most 40" in caught.value.message
    with pytest.raises(InvalidValue) as caught:
        names.container_name("My App!")
    assert "only a-z, 0-9 and -" in caught.value.message
    assert caught.value.hints == ("Write my-app",)


def test_a_long_value_is_cut_to_80_characters():
    assert names.shown("x" * 200) == "'" + "x" * 80 + "'..."
    assert names.shown(10**5000) == "a huge number"
    assert names.shown("\x1b[31m") == r"'\x1b[31m'"
    assert names.shown([1]) == "a list"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("root@server", "Write remote_host: server and remote_user: root"),
        ("server:2222", "Write the port as its own setting: remote_host: server and remote_port: 2222"),
        ("[2001:db8::1]", "Write 2001:db8::1"),
        ("bücher.example", "Write an international name in punycode: xn--..."),
    ],
)
def test_a_host_that_is_more_than_a_host_says_what_to_write(text, hint):
    with pytest.raises(InvalidValue) as caught:
        names.host(text)
    assert hint in caught.value.hints


@pytest.mark.parametrize(
    "text", ["ssh://root:secret@server/run", "tcp://server:2375", "unix:///run/podman.sock", "/run/podman.sock"]
)
def test_a_url_or_path_as_host_is_refused_as_not_remote(text):
    with pytest.raises(InvalidValue) as caught:
        names.host(text)
    assert "remote-only" in caught.value.message
    assert "l8s ONLY supports remote container management" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("512m", 512 * 1024**2),
        ("2g", 2 * 1024**3),
        ("1.5g", 3 * 1024**3 // 2),
        ("2GiB", 2 * 1024**3),
        ("16MB", 16 * 1024**2),
        ("1t", 1024**4),
        ("33554432", 32 * 1024**2),
        (16 * 1024**2, 16 * 1024**2),
    ],
)
def test_memory_is_in_bytes(value, expected):
    assert names.memory(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "16", "15.9m", "2x", "-1g", "1e9", "1,5g", " 2g", "2000t", "9" * 17, 10**5000, True, 2.0**30, None],
    ids=lambda value: names.shown(value)[:30],
)
def test_memory_that_is_none_is_refused(value):
    with pytest.raises(InvalidValue):
        names.memory(value)


def test_cpus_are_a_number_or_its_text():
    assert names.cpus(2) == 2.0
    assert names.cpus("0.5") == 0.5
    assert names.cpus(1024) == 1024.0
    for value in (0, 0.05, 1025, "", "2x", "1e3", float("nan"), float("inf"), 10**5000, -(10**5000), True, None):
        with pytest.raises(InvalidValue):
            names.cpus(value)


def test_labels_are_copied_and_checked():
    given = {"team": "blue", "a": ""}
    result = names.labels(given)
    assert result == given
    assert result is not given
    for wrong in ({"l8s.x": "1"}, {"a": 1}, {1: "a"}, [("a", "b")], None):
        with pytest.raises(InvalidValue):
            names.labels(wrong)


def test_a_label_argument_is_split_at_the_first_equals_sign():
    assert names.label_argument("a=b=c") == ("a", "b=c")
    assert names.label_argument("a=") == ("a", "")
    for wrong in ("a", "=b", "l8s.managed=true", "", "a=\n"):
        with pytest.raises(InvalidValue):
            names.label_argument(wrong)


@pytest.mark.parametrize(
    ("text", "url", "username", "password"),
    [
        ("https://git.example/app.git", "https://git.example/app.git", None, None),
        ("https://me:p%40ss%3A@git.example:8443/a", "https://git.example:8443/a", "me", "p@ss:"),
        ("https://token@git.example/a", "https://git.example/a", "token", None),
        ("https://:token@git.example/a", "https://git.example/a", "", "token"),
        ("https://u:p@w@git.example/a", "https://git.example/a", "u", "p@w"),
        ("HTTP://git.example/a", "http://git.example/a", None, None),
        ("https://u:p@[2001:db8::1]:80/a", "https://[2001:db8::1]:80/a", "u", "p"),
        ("ssh://git@git.example:22/a", "ssh://git@git.example:22/a", None, None),
        ("git@git.example:team/app.git", "git@git.example:team/app.git", None, None),
        ("git.example:app", "git.example:app", None, None),
    ],
)
def test_a_repository_is_taken_apart(text, url, username, password):
    assert names.repository(text) == names.Repository(url=url, username=username, password=password)


@pytest.mark.parametrize(
    "text",
    [
        "", "-u", "--upload-pack=x", "ext::sh -c x", "ext::x", "fd::17", "file:///x", "/x", "./x", "../x",
        "x", "git://h/x", "ftp://h/x",
        "https://h", "https://h/", "https:///x", "https://-h/x", "https://h:port/x", "https://h:0/x",
        "https://h/x y", "https://h/x\n",
        "https://h/%0a", "https://u%0aprotocol=x:p@h/x", "https://%ff@h/x", "https://h/x?token=1",
        "https://h/x#f", "https://h\\@evil/x",
        "ssh://-oProxyCommand=x/y", "ssh://u:p@h/x", "-oProxyCommand=x:y", "git@-h:x", "-u@h:x", "h:-x", "h:",
        "a/b:c", "https://h/ü", "ssh://h",
        "https://[h]/x", None, 5, "https://h/" + "x" * 2048,
    ],
    ids=lambda value: names.shown(value)[:30],
)  # fmt: skip
def test_what_is_no_safe_repository_is_refused(text):
    with pytest.raises(InvalidValue) as caught:
        names.repository(text)
    assert caught.value.message.isprintable()


def test_credentials_are_never_shown():
    shown = repr(names.repository("https://me:hunter2@git.example/a"))
    assert "hunter2" not in shown
    assert "me" not in shown.replace("username", "")
    for text in (
        "https://me:hunter2@h", "https://me:hunter2@h/a b", "ssh://me:hunter2@h/x",
        "https://me:hunter2%0a@h/x", "git://me:hunter2@h/x",
        "https://me:hunter2/3@h/x", "https://me:hunter2?@h/x", "ftp://me:hunter2@h/x",
    ):  # fmt: skip
        with pytest.raises(InvalidValue) as caught:
            names.repository(text)
        assert "hunter2" not in caught.value.message + " ".join(caught.value.hints)


@pytest.mark.parametrize("name", [value for check, value in ACCEPTED if check is names.branch])
def test_git_agrees_about_branches(name):
    assert subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "name",
    [value for check, value in REFUSED if check is names.branch and value.isprintable() and value not in ("HEAD", "@")],
)
def test_git_agrees_about_what_is_no_branch(name):
    assert subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode != 0


def test_printable_escapes_what_a_terminal_would_act_on():
    assert names.printable("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert names.printable("\x9b\x7f\r\n\t\0") == r"\x9b\x7f\x0d\x0a\x09\x00"
    assert names.printable("\u202e\u200b\u2028\ufeff\ud800\U000e0001") == r"\u202e\u200b\u2028\ufeff\ud800\U000e0001"
    assert names.printable("Grüße 日本 ✓") == "Grüße 日本 ✓"


def test_printable_lines_keep_line_breaks_and_tabs_only():
    assert names.printable_lines("a\r\n\tb\rc\x1b\u2028") == "a\n\tb\\x0dc\\x1b\\u2028"


def test_shell_words_are_quoted_and_refuse_what_no_argument_can_hold():
    assert names.shell_words(["echo", "a b", "$(x)", ""]) == "echo 'a b' '$(x)' ''"
    for text in ("a\0b", "\ud800"):
        with pytest.raises(InvalidValue):
            names.shell_word(text)


def test_numbers_are_read_as_everybody_writes_them():
    assert [names.written_number(text) for text in ("0", "22", "65535")] == [0, 22, 65535]
    assert names.written_number("022") == "022"
    assert [names.seconds(text) for text in ("1", "1.5", "0.001")] == [1, 1.5, 0.001]


def test_variables_come_apart_and_keep_any_text():
    assert names.environment_argument("A=b=c\n\x1b ") == ("A", "b=c\n\x1b ")
    with pytest.raises(InvalidValue, match=r"environment variable A: argument .* UTF-8"):
        names.environment_argument("A=\udcff")
    with pytest.raises(InvalidValue, match="must be KEY=VALUE"):
        names.environment_argument("A")


def test_a_repository_is_shown_whole_when_its_host_is_what_is_wrong():
    with pytest.raises(InvalidValue) as caught:
        names.repository("https://me:secret@-x/app.git")
    assert caught.value.message.startswith("repository 'https://***@-x/app.git': host '-x' is refused: ")
