"""Config files that must be refused. Data; what is done with it is in ``test_hostile_input.py``.

Each begins as a file that is in order and leads to the trap, so that whoever reads over what is wrong in it connects.
"""

from __future__ import annotations

import codecs

from attrs import frozen
from wire import PORT

HOST = b"the-trap.example"
"""Stands for the address of the trap."""

SERVER = f"remote_host: {HOST.decode()}\nremote_user: root\nremote_port: {PORT}\n"
"""Three lines; what is wrong begins in the fourth."""
PROFILES = (
    "active_profile: dev\nprofiles:\n"
    f"  dev:\n    remote_host: {HOST.decode()}\n    remote_user: root\n    remote_port: {PORT}\n"
)
"""Six lines."""

GOOD_FILES = (
    SERVER.encode(),
    PROFILES.encode(),
    codecs.BOM_UTF8 + SERVER.encode(),
    SERVER.replace("\n", "\r\n").encode(),
    (SERVER + "labels: {team: blue}\nforward_agent: false\n" + "# " + "x" * 60_000).encode(),
)


@frozen(kw_only=True)
class HostileFile:
    """``line`` is where the refusal puts it (None: it is about the whole file), ``words`` are in what it says."""

    name: str
    data: bytes
    words: str = ""
    line: int | None = 4
    only_used: bool = False
    """It can be read and changed; what is wrong is noticed by who uses it."""


def added(name: str, text: str, words: str = "", *, line: int | None = 4) -> HostileFile:
    """To a flat file."""
    return HostileFile(name=name, data=(SERVER + text).encode(), words=words, line=line)


def added_to_profiles(name: str, text: str, words: str = "", *, line: int | None = 7) -> HostileFile:
    return HostileFile(name=name, data=(PROFILES + text).encode(), words=words, line=line)


def valued(key: str, value: str, words: str = "") -> HostileFile:
    """With that value; a key that the server has already gets it there."""
    lines = [line for line in SERVER.splitlines(keepends=True) if not line.startswith(f"{key}:")]
    text = "".join(lines) + f"{key}: {value}\n"
    return HostileFile(
        name=f"{key}: {value[:40]}",
        data=text.encode("utf-8", "surrogateescape"),
        words=words or f": {key}",
        line=len(lines) + 1,
    )


SIZE = (
    HostileFile(
        name="a little too long", data=(SERVER + "#" * 65_536).encode(), words="at most 65536 are read", line=None
    ),
    HostileFile(name="a megabyte", data=SERVER.encode() + b"# " + b"x" * 2**20, words="bytes", line=None),
    HostileFile(name="a megabyte of keys", data=b"".join(b"k%d: 1\n" % number for number in range(90_000)), line=None),
    added("five thousand unknown keys", "".join(f"k{number}: 1\n" for number in range(5000)), "k0"),
)

DEPTH = (
    added("a flow bomb of lists", "labels: " + "[" * 60_000, "nested deeper"),
    added("a flow bomb of mappings", "labels: " + "{a: " * 15_000, "nested deeper"),
    added("a flow bomb at the top", "{" * 60_000, ""),
    added(
        "a staircase", "options:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 300)), "nested deeper", line=12
    ),
    added("dashes", "labels: \n  " + "- " * 30_000, "nested deeper", line=5),
    added("question marks", "? " * 30_000 + "\n", ""),
    added("nine levels", "options: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}\n", "nested deeper"),
)

TWICE = (
    added("a key twice", "remote_host: other.example\n", "there twice, first in line 1"),
    added("a key twice with another value", "remote_user: admin\nremote_user: root\n", "there twice, first in line 2"),
    added("a key twice in quotes", '"remote_host": other.example\n', "there twice"),
    added("a key twice by an escape", '"remote_h\\x6fst": other.example\n', "there twice"),
    added("a label twice", "labels:\n  team: a\n  team: b\n", "first in line 5", line=6),
    added_to_profiles(
        "a profile twice", "  dev:\n    remote_host: other.example\n    remote_user: root\n", "first in line 3"
    ),
    added_to_profiles("profiles twice", "profiles: {}\n", "first in line 2"),
)

REFERENCES = (
    added("an anchor", "labels: &x {team: blue}\n", "anchor &x"),
    added("an alias", "labels: *x\n", "alias *x"),
    added("a billion laughs", "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]\n", "anchor &a"),
    added("a mapping that contains itself", "labels: &x {team: *x}\n", "anchor &x"),
    added("a merge key", "<<: {remote_host: other.example}\n", "<<"),
    added("a merge of two", "<<: [{a: 1}, {b: 2}]\n", "<<"),
    added_to_profiles("a merge of profiles", "  two:\n    <<: {remote_host: a.example}\n", "<<", line=8),
    added("an anchored key", "&x labels: {}\n", "anchor &x"),
)

TAGS = (
    added("an object of Python", "labels: !!python/object/apply:os.system [id]\n", "the tag"),
    added("a module of Python", "labels: !!python/module:os\n", "the tag"),
    added("a name of Python", "base_image: !!python/name:os.system\n", "the tag"),
    added("a tag of its own", "labels: !exec id\n", "the tag"),
    added("a text that is a number", "ssh_start_port: !!int 2200\n", "the tag"),
    added("a binary", "base_image: !!binary aWQ=\n", "the tag"),
    added("a set", "labels: !!set {team}\n", "the tag"),
    added("a verbatim tag", "labels: !<tag:yaml.org,2002:map> {}\n", "the tag"),
    added("a tag that is not defined", "labels: !e!x {}\n", ""),
    added("a thousand tags", "labels: " + "!" * 50_000 + "\n", ""),
)

STREAMS = (
    added("a second document", "---\nremote_host: other.example\n", "a second document"),
    added("a document after its end", "...\nremote_host: other.example\n", "", line=5),
    HostileFile(name="a directive", data=("%YAML 1.1\n---\n" + SERVER).encode(), words="directive", line=2),
    HostileFile(
        name="a tag directive",
        data=("%TAG ! tag:evil.example,2002:\n---\n" + SERVER).encode(),
        words="directive",
        line=2,
    ),
    HostileFile(
        name="a list",
        data=f"- remote_host: {HOST.decode()}\n- remote_user: root\n".encode(),
        words="keys and values",
        line=1,
    ),
    HostileFile(name="a text", data=HOST, words="keys and values", line=1),
    HostileFile(name="a number", data=b"22\n", words="keys and values", line=1),
    HostileFile(name="HTML", data=b"<!DOCTYPE html>\n<html><body>404</body></html>\n", words="", line=1),
    HostileFile(name="an ini file", data=b"[server]\nremote_host = a.example\n", words="", line=2),
    HostileFile(name="a private key", data=b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n", words="", line=1),
)

BYTES = (
    HostileFile(name="a NUL", data=SERVER.encode() + b"labels: {a: \0}\n", words="control character: \\x00"),
    HostileFile(name="a NUL in a comment", data=SERVER.encode() + b"# \0\n", words="control character"),
    HostileFile(name="ESC", data=SERVER.encode() + b"base_image: \x1b[2J\n", words="\\x1b"),
    HostileFile(name="a lone carriage return", data=SERVER.encode() + b"# a\rremote_host: b.example\n", words="\\x0d"),
    HostileFile(name="an eight-bit CSI", data=SERVER.encode() + "base_image: \x9b2J\n".encode(), words="\\x9b"),
    HostileFile(name="DEL", data=SERVER.encode() + b"base_image: a\x7f\n", words="\\x7f"),
    HostileFile(
        name="a line separator", data=SERVER.encode() + "# a\u2028remote_host: b.example\n".encode(), words="\\u2028"
    ),
    HostileFile(name="Latin-1", data=SERVER.encode() + "labels: {a: b\u00fc}\n".encode("latin-1"), words="not UTF-8"),
    HostileFile(name="an overlong slash", data=SERVER.encode() + b"base_image: a\xc0\xafb\n", words="not UTF-8"),
    HostileFile(name="half a surrogate pair", data=SERVER.encode() + b"base_image: \xed\xa0\x80\n", words="not UTF-8"),
    HostileFile(name="cut in a character", data=SERVER.encode() + b"# \xe2\x82", words="not UTF-8"),
    HostileFile(name="UTF-16 with its mark", data=SERVER.encode("utf-16"), words="not UTF-8", line=1),
    HostileFile(name="UTF-16 without it", data=SERVER.encode("utf-16-le"), words="control character", line=1),
    HostileFile(name="UTF-32", data=SERVER.encode("utf-32"), words="not UTF-8", line=1),
    HostileFile(name="EBCDIC", data=SERVER.encode("cp500"), words="", line=1),
    HostileFile(name="gzip", data=b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", words="", line=1),
    HostileFile(name="two byte order marks", data=codecs.BOM_UTF8 * 2 + SERVER.encode(), words="", line=1),
    HostileFile(
        name="a tab that indents", data=SERVER.encode() + b"labels:\n\tteam: blue\n", words="Indent with spaces", line=5
    ),
    HostileFile(name="an ELF", data=b"\x7fELF\x02\x01\x01" + bytes(64), words="", line=1),
)

SYNTAX = (
    added("a quote without end", "base_image: 'a\n", "unexpected end"),
    added("a bracket without end", "labels: {team: blue\n", "", line=5),
    added("an indented key", "  labels: {}\n", ""),
    added("a colon too many", "base_image: a: b\n", ""),
    added("a reserved character", "base_image: @a\n", ""),
    added("a backtick", "base_image: `id`\n", ""),
    added("an unknown escape", 'base_image: "\\q"\n', ""),
    added("an endless escape", 'base_image: "' + "\\" * 50_000 + "\n", "", line=None),
    added("a key that is a list", "[a, b]: c\n", "one word"),
    added("a key that is a number", "22: c\n", "not text"),
    added("a key that is nothing", "~: c\n", "not text"),
    added("a key that is a mapping", "? {a: b}\n: c\n", "one word"),
    added("a word alone", "remote_port\n", ""),
)

UNKNOWN = (
    added("a key that is nearly right", "remot_socket: /run/podman.sock\n", "Did you mean remote_socket?"),
    added("a key of ssh", "ProxyCommand: id\n", "no such key"),
    added("a key in capitals", "REMOTE_HOST: other.example\n", "Did you mean remote_host?"),
    added("a key with a hyphen", "remote-host: other.example\n", "Did you mean remote_host?"),
    added("a key with a Cyrillic letter", "remote_h\u043est: other.example\n", "no such key"),
    added("a key with a zero-width space", "remote\u200b_host: other.example\n", "remote\\u200b_host"),
    added("a key that reorders", '"\u202etsoh": other.example\n', "\\u202e"),
    added("a key with an escape", '"a\\x1b[2J": b\n', "\\x1b[2J"),
    added("a key with a line break", '"a\\nb": b\n', "no such key"),
    added("an attribute of Python", "__class__: x\n", "no such key"),
    added("a very long key", "k" * 1000 + ": x\n", "no such key"),
    added_to_profiles("an unknown key of a profile", "    remote_hosts: x\n", "Did you mean remote_host?"),
    added_to_profiles("profiles in a profile", "    profiles: {}\n", "top level"),
)

HOSTS = (
    *('""', '"a\\nProxyCommand id"', '"a\\0b"', '"a\\e[2J"', '"-oProxyCommand=id"', '"*"', '"!a"', '"%h"', '"${HOME}"'),
    *(
        '"a b"',
        '"root@a.example"',
        '"a.example:22"',
        '"ssh://a.example"',
        '"unix:///run/podman.sock"',
        "/run/podman.sock",
    ),
    *('"\u0430.example"', '"a\u200b.example"', '"\u202eelpmaxe"', "[a.example]", "{a: b}", "22", "~", "1.5", "true"),
    *('"2001:db8::1::"', f'"{"a" * 300}"', "~root", "|\n  a.example"),
)
USERS = (
    '"-oProxyCommand=id"',
    '"root\\nx"',
    '"%r"',
    '"a b"',
    '"r\u00f6\u00f6t"',
    "[root]",
    "0",
    "~",
    '"root@a"',
    '"a;id"',
)
NUMBERS = (
    *('"22"', "0", "-1", "65536", "22.5", "0x16", "0o26", "022", "1e3", "1_000", "9" * 60_000, "22:22", ".inf", ".nan"),
    *("yes", "true", "[22]", "{a: 22}", "\u0662\u0662", "+22", "22 23"),
)
VALUES = (
    *(valued("remote_host", value) for value in HOSTS),
    *(valued("remote_user", value) for value in USERS),
    *(valued("remote_port", value, " ") for value in NUMBERS),
    *(valued("ssh_start_port", value) for value in ("80", "70000", '"2200"', "true", "[]")),
    *(
        valued("remote_socket", value)
        for value in ('"/run/../x"', "run/x", '"/run/$(id)"', '"/run/%t"', '"unix:///x"', "[/x]")
    ),
    *(
        valued("ssh_key_path", value)
        for value in ('"-i"', '"a\\nIdentityFile b"', '"a\\"b"', "~root/x", '"\u202ex"', "{}")
    ),
    *(
        valued("base_image", value)
        for value in ('"-v"', "Fedora", '"a//b"', '"../a"', '"docker://a"', '"a\\tb"', "[a]", "1.5")
    ),
    *(valued("container_user", value) for value in ('"-u"', "Root", '"a:b"', '"r;id"', f'"{"a" * 33}"', "[]")),
    *(
        valued("container_prefix", value)
        for value in ('"*"', '"!dev"', '"-dev"', "Dev", '"dev\\nHost *"', '"%h"', '"a b"', '""')
    ),
    *(valued("backend", value) for value in ('"../x"', '"a\\nb"', '"-x"', "[podman]", '""')),
    *(valued("ssh_config_writer", value) for value in ('"../x"', '"a;id"', "{}")),
    *(valued("host_key_checking", value) for value in ("no", '"false"', "0", "~", "[]", "off")),
    *(valued("forward_agent", value) for value in ("yes", '"true"', "1", "maybe")),
    *(
        valued("labels", value)
        for value in ("[a]", "a=b", "{a: 1}", "{a: true}", "{a: ~}", "{l8s.managed: x}", "{A: b}")
    ),
    *(
        valued("labels", value)
        for value in ('{a: "\\e[31m"}', '{a: "b\\nc"}', '{a: "\u202ex"}', '{"a\\nb": c}', '{"": c}')
    ),
    *(valued("options", value) for value in ("[a]", "a", "1", "~")),
)

USED = (
    HostileFile(
        name="a backend that no plugin has",
        data=(SERVER + "backend: docker\n").encode(),
        words="docker",
        only_used=True,
    ),
    HostileFile(
        name="a writer that no plugin has",
        data=(SERVER + "ssh_config_writer: putty\n").encode(),
        words="putty",
        only_used=True,
    ),
    HostileFile(
        name="options that the backend does not take",
        data=(SERVER + "options: {ProxyCommand: id}\n").encode(),
        words="ProxyCommand",
        only_used=True,
    ),
    HostileFile(
        name="an active profile that is not there",
        data=PROFILES.replace("active_profile: dev", "active_profile: prod").encode(),
        words="prod",
        line=1,
        only_used=True,
    ),
    HostileFile(
        name="no profile is active",
        data=(
            PROFILES.replace("active_profile: dev\n", "") + "  two: {remote_host: b.example, remote_user: root}\n"
        ).encode(),
        words="dev, two",
        line=None,
        only_used=True,
    ),
    HostileFile(
        name="a profile without a server",
        data=b"active_profile: dev\nprofiles:\n  dev: {remote_user: root}\n",
        words="remote_host",
        line=3,
        only_used=True,
    ),
    HostileFile(
        name="two profiles of one prefix",
        data=(
            PROFILES
            + "    container_prefix: x\n"
            + "  two: {remote_host: b.example, remote_user: root, container_prefix: x}\n"
        ).encode(),
        words="container_prefix x",
        line=7,
        only_used=True,
    ),
)

NAMES = (
    *(
        added_to_profiles(
            f"a profile named {name}", f"  {name}: {{remote_host: b.example, remote_user: root}}\n", "profiles."
        )
        for name in (
            '"-x"',
            '"*"',
            '"../dev"',
            "Dev",
            '"a\\nb"',
            '"a\\e[2J"',
            '"\u0434ev"',
            '"d\u202eve"',
            '""',
            "a" * 21,
            '"a b"',
        )
    ),
    *(
        HostileFile(
            name=f"{value} is active",
            data=PROFILES.replace("active_profile: dev", f"active_profile: {value}").encode(),
            words="active_profile",
            line=1,
        )
        for value in ('"-x"', '"../dev"', '"de\\nv"', "[dev]", "1", "~")
    ),
    *(
        HostileFile(name=f"profiles: {value}", data=f"{SERVER}profiles: {value}\n".encode(), words="profiles")
        for value in ("[dev]", "dev", "~", "{dev: ~}", "{dev: [a]}", "{dev: prod}", "1")
    ),
)

MADE_WITH_CARE = (*SIZE, *DEPTH, *TWICE, *REFERENCES, *TAGS, *STREAMS, *BYTES, *SYNTAX, *UNKNOWN, *USED)
FILES = (*MADE_WITH_CARE, *VALUES, *NAMES)
