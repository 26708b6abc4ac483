"""The one place where text becomes trusted.

Every function here takes a value from outside (a command line, a config file, a server) and returns it, typed
and unchanged unless its docstring says otherwise, or raises `InvalidValue` with the rule and what to write
instead. What has passed is safe as an argument, in a URL and in a container's metadata; it has no control
character in it and, labels' values apart, never starts with ``-``. At the end: escaping for terminals and
quoting for shells. Pure.

Not here: whether a host is this machine (`l8s_core.policy`), and where a value came from (`l8s_core.config`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Never

from l8s_core.errors import REMOTE_ONLY_NOTE, InvalidValue
from l8s_core.model import LABEL_PREFIX

if TYPE_CHECKING:
    from l8s_core.model import Repository

SHOWN_CHARACTERS = 80
MAX_SOCKET_BYTES = 107
"""sizeof(sockaddr_un.sun_path) is 108 on Linux, one of which is the final NUL (unix(7))."""
MAX_PATH = 4095
"""The kernel's PATH_MAX is 4096, one of which is the final NUL (path_resolution(7))."""
MIN_MEMORY = 16 * 1024**2
MAX_MEMORY = 1024**5
MAX_PIDS = 4194304
"""The kernel's PID_MAX_LIMIT on 64-bit machines (proc(5), pid_max)."""
MAX_IDLE = 24 * 3600.0
"""Seconds."""

# As text: re compiles a pattern when it is first used, and keeps it. A command uses few of these.
_LOWER = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PLUGIN = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_CONTAINER_USER = r"[a-z_][a-z0-9_-]{0,31}"
_REMOTE_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_HOST_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:/"
_SOCKET = r"/[A-Za-z0-9._/@+-]+"
_LABEL_KEY = r"[a-z0-9](?:[a-zA-Z0-9._/-]*[a-zA-Z0-9])?"
_REGISTRY = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
)
_IMAGE_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REMOTE_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?"
_MEMORY = r"(?i)([0-9]{1,16})(\.[0-9]{1,6})?([kmgt]?)(?:i?b)?"
_CPUS = r"[0-9]{1,4}(?:\.[0-9]{1,3})?"
_FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
_ENVIRONMENT = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_ACCOUNT = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,63})?"
_DIGITS = r"0|[1-9][0-9]{0,8}"
_SECONDS = r"[0-9]{1,7}(?:\.[0-9]{1,3})?"
_USERINFO = r"(?<=//).*@"
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def shown(value: object) -> str:
    """``value`` as messages show it: quoted, escaped, at most 80 characters of it, never a huge number."""
    if isinstance(value, str):
        cut = value[:SHOWN_CHARACTERS]
        return printable(repr(cut)) + ("..." if len(value) > SHOWN_CHARACTERS else "")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a huge number"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a {type(value).__name__}"


def _refuse(what: str, value: object, rule: str, *hints: str) -> Never:
    raise InvalidValue(f"{what} {shown(value)} is refused: {rule}", hints=hints)


def _text(what: str, value: object, limit: int, *hints: str) -> str:
    """``value`` when it is text with 1 to ``limit`` characters, none of them invisible."""
    if not isinstance(value, str):
        _refuse(what, value, "it must be text", *hints)
    if not value:
        _refuse(what, value, "it is empty", *hints)
    if len(value) > limit:
        _refuse(what, value, f"it has {len(value)} characters, at most {limit} are allowed", *hints)
    if not value.isprintable():
        _refuse(what, value, "it has a control character, line break or invisible character in it", *hints)
    return value


def _matching(what: str, value: object, limit: int, pattern: str, rule: str, *hints: str) -> str:
    text = _text(what, value, limit, *hints)
    if re.fullmatch(pattern, text) is None:
        _refuse(what, value, rule, *hints)
    return text


# Names of our own

_LOWER_RULE = "only a-z, 0-9 and - are allowed, with a letter or digit at both ends"


def _lower_hints(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        return ()
    guess = re.sub(r"[^a-z0-9]+", "-", value[:SHOWN_CHARACTERS].lower()).strip("-")
    return (f"Write {guess[:20].strip('-')}",) if guess else ()


def container_name(value: object) -> str:
    """A container's short name, as given to ``create``: ``myapp``. At most 40 characters."""
    return _matching("container name", value, 40, _LOWER, _LOWER_RULE, *_lower_hints(value))


def profile_name(value: object) -> str:
    """A profile's name: ``staging``. At most 20 characters."""
    return _matching("profile name", value, 20, _LOWER, _LOWER_RULE, *_lower_hints(value))


def prefix(value: object) -> str:
    """A container prefix: the ``dev`` of ``dev-myapp``.

    At most 20 characters, so that prefix, hyphen and container name fit a host name's label (63, RFC 1035).
    """
    return _matching("container_prefix", value, 20, _LOWER, _LOWER_RULE, *_lower_hints(value))


def plugin_name(value: object) -> str:
    """The name of a plugin, or of a provider in one (a backend, a store, a writer)."""
    return _matching(
        "plugin name",
        value,
        64,
        _PLUGIN,
        "only letters, digits, . _ and - are allowed, with a letter or digit at both ends",
    )


# Users, hosts, ports


def container_user(value: object) -> str:
    """The user in a container, by the rule of useradd(8) for portable names."""
    return _matching(
        "container_user",
        value,
        32,
        _CONTAINER_USER,
        "it must be a-z, 0-9, _ and -, starting with a letter or _",
        "Write dev",
    )


def remote_user(value: object) -> str:
    """The user on the server. Wider than `container_user`: directory services allow dots and capitals."""
    return _matching(
        "remote_user",
        value,
        64,
        _REMOTE_USER,
        "only letters, digits, . _ and - are allowed, starting with a letter, digit or _",
        "Write the name that you log in with: root",
    )


def container_account(value: object) -> str:
    """Who a command in a container runs as: a user or its number, perhaps with a group (podman-exec(1), ``--user``)."""
    return _matching(
        "user",
        value,
        129,
        _ACCOUNT,
        "it must be a user or a number, and perhaps : and a group, of letters, digits, . _ and -",
        "Write it like root or 1000:1000",
    )


def server_group(value: object) -> str:
    """A group of the server's users, by the rule of groupadd(8) for portable names."""
    return _matching(
        "group",
        value,
        32,
        _CONTAINER_USER,
        "only a-z, 0-9, - and _ are allowed, starting with a letter or _",
        "Write a name such as: l8s",
    )


def host(value: object) -> str:
    """A DNS name, an ssh alias, or an IPv4 or IPv6 address (with a zone, ``fe80::1%eth0``).

    Nothing is normalised. A trailing dot stays and non-canonical numbers (``127.1``) pass as names:
    `l8s_core.policy` judges them.
    """
    what = "host"
    example = "Write a name or address alone: server.example.com"
    if isinstance(value, str) and (
        re.match(_SCHEME, value) or value.startswith("/") or value.lower().startswith("unix:")
    ):
        _refuse(
            what,
            re.sub(_USERINFO, "***@", value),
            "it is a URL or a path, and l8s is remote-only: it always connects through SSH. " + REMOTE_ONLY_NOTE,
            example,
            "The user, port and socket have their own settings: remote_user, remote_port, remote_socket",
        )
    text = _text(what, value, 253, example)
    if not text.isascii():
        _refuse(what, value, "only ASCII is allowed", "Write an international name in punycode: xn--...")
    if "@" in text:
        user, _, rest = text.rpartition("@")
        _refuse(
            what,
            value,
            "the user has a setting of its own",
            f"Write remote_host: {rest} and remote_user: {user}",
        )
    if text.startswith("[") and "]" in text:
        _refuse(what, value, "an IPv6 address is written without brackets", f"Write {text[1 : text.index(']')]}")
    if ":" in text:
        return _ipv6(text)
    labels_ = text.removesuffix(".").split(".")
    if not all(re.fullmatch(_HOST_LABEL, label) for label in labels_):
        _refuse(
            what,
            value,
            "it must be parts of letters, digits, - and _ with single dots between; "
            "a part has at most 63 characters and does not start with -",
            example,
        )
    return text


def _ipv6(text: str) -> str:
    import ipaddress

    address, percent, zone = text.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        name, _, number = text.rpartition(":")
        hint = "Write an IPv6 address like 2001:db8::1, or a name"
        if number.isascii() and number.isdigit() and ":" not in name:
            hint = f"Write the port as its own setting: remote_host: {name} and remote_port: {number}"
        _refuse("host", text, "it is neither a name nor an IPv6 address", hint)
    if percent and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,14}", zone):
        _refuse("host", text, "what follows % must be a network interface", "Write fe80::1%eth0")
    return text


def _integer(what: str, value: object, low: int, high: int, hint: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(what, value, f"it must be a whole number from {low} to {high}", hint)
    if not low <= value <= high:
        _refuse(what, value, f"it must be from {low} to {high}", hint)
    return value


def written_number(text: str) -> int | str:
    """The whole number that ``text`` spells as everybody writes it; else ``text`` itself, for a check to refuse.

    Python's ``int()`` would read ``\u0662\u0662``, ``2_2`` and ``+22`` as well.
    """
    return int(text) if re.fullmatch(_DIGITS, text) else text


def port(value: object) -> int:
    """A TCP port."""
    return _integer("port", value, 1, 65535, "Write 22")


def start_port(value: object) -> int:
    """Where the search for a container's ssh port begins: no privileged port, and room above it."""
    return _integer("ssh_start_port", value, 1024, 65000, "Write 2200")


# Paths


def socket_path(value: object) -> str:
    """The absolute path of a socket on the server."""
    what, hint = "remote_socket", "Write the path alone: /run/podman/podman.sock"
    text = _matching(
        what,
        value,
        MAX_SOCKET_BYTES,
        _SOCKET,
        "it must be an absolute path of letters, digits and . _ / @ + -",
        hint,
    )
    if ".." in text.split("/") or text.endswith("/"):
        _refuse(what, value, "it must name a file and have no .. in it", hint)
    return text


def local_path(value: object) -> str:
    """A path on this laptop as a person writes it; ``~/`` at its start is not expanded here."""
    what = "path"
    text = _text(what, value, 4096)
    if '"' in text:
        _refuse(what, value, 'it must have no " in it, which an ssh config cannot hold', "Rename the file")
    if text.startswith("-"):
        _refuse(what, value, "it must not start with -", "Write ./ in front of it")
    if text.startswith("~") and not (text == "~" or text.startswith("~/")):
        _refuse(what, value, "only one's own home can be written with ~", "Write ~/... or the whole path")
    return text


def container_directory(value: object) -> str:
    """The absolute path of a directory in a container."""
    what, hint = "directory", "Write the whole path: /workspace/project"
    text = _text(what, value, 4096, hint)
    if not text.startswith("/"):
        _refuse(what, value, "it must start with /", hint)
    return text


# Labels


def container_path(value: object) -> str:
    """A path in a container, absolute or not. Any characters but NUL: file names are bytes, and these are quoted."""
    if not isinstance(value, str):
        _refuse("path in a container", value, "it must be text")
    if "\0" in value:
        _refuse("path in a container", value, "no path can have a NUL in it")
    if len(value) > MAX_PATH:
        _refuse("path in a container", value, f"it has {len(value)} characters, at most {MAX_PATH} are allowed")
    return value


def label_key(value: object) -> str:
    """A label's key that a person may set; those of l8s itself are reserved."""
    what, hint = "label", "Write it like team or example.com/team"
    text = _matching(
        what,
        value,
        128,
        _LABEL_KEY,
        "a key has only letters, digits and . _ / -, starts with a-z or 0-9 and ends with a letter or digit",
        hint,
    )
    if text.startswith(LABEL_PREFIX):
        _refuse(what, value, f"{LABEL_PREFIX}* is what l8s keeps its own facts under", hint)
    return text


def label_value(value: object) -> str:
    """A label's value; it may be empty and may have spaces in it."""
    return "" if value == "" else _text("label value", value, 1024)


def labels(value: object) -> dict[str, str]:
    """A mapping of label keys to values, as a new dict."""
    if not isinstance(value, Mapping):
        _refuse("labels", value, "it must be a mapping of keys to text", "Write labels: {team: blue}")
    return {label_key(key): label_value(item) for key, item in value.items()}


def label_argument(value: object) -> tuple[str, str]:
    """``KEY=VALUE`` from a command line, apart. The value may have ``=`` in it."""
    text = _text("label", value, 1200)
    key, equals, rest = text.partition("=")
    if not equals:
        _refuse(
            "label",
            value,
            "it must be KEY=VALUE",
            f"Write {key}=yes" if re.fullmatch(_LABEL_KEY, key) else "Write team=blue",
        )
    return label_key(key), label_value(rest)


# Images and repositories


def image(value: object) -> str:
    """An image reference: ``[registry[:port]/]path[:tag][@sha256:...]``.

    The grammar is that of https://github.com/distribution/reference; as there, the first part is a registry
    when it has a dot or a port or is ``localhost``.
    """
    what, example = "image", "Write it like quay.io/fedora/fedora:43"
    text = _text(what, value, 255, example)
    if "://" in text:
        _refuse(
            what,
            value,
            "it must be a reference without a transport",
            f"Write {text.partition('://')[2] or 'the rest alone'}",
        )
    rest, at, digest = text.partition("@")
    if at and not re.fullmatch(_DIGEST, digest):
        _refuse(what, value, "what follows @ must be sha256: and 64 hexadecimal digits", example)
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path = rest
    elif not re.fullmatch(_TAG, tag):
        _refuse(what, value, "what follows the last : must be a tag of letters, digits and . _ -", example)
    first, slash, remainder = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if not re.fullmatch(_REGISTRY, first):
            _refuse(what, value, f"{shown(first)} is no registry", example)
        path = remainder
    if not all(re.fullmatch(_IMAGE_PART, part) for part in path.split("/")):
        lower = path != path.lower()
        rule = (
            "an image's path is lower-case"
            if lower
            else "its path must be parts of a-z, 0-9 with single . _ - inside, and / between"
        )
        _refuse(what, value, rule, f"Write {text.lower()}" if lower else example)
    return text


def repository(value: object) -> Repository:
    """A git URL: ``https://``, ``http://``, ``ssh://`` or ``git@host:path``.

    Credentials in an http(s) URL are taken out of it and percent-decoded. Refused are local paths (the clone
    happens in the container), remote helpers (``ext::`` runs commands, gitremote-helpers(7)) and ``git://``
    (nothing proves who answers).
    """
    try:
        return _repository(value)
    except InvalidValue as error:
        if error.message.startswith("repository "):
            raise
        # its host, port or user; a person looks for the whole of it
        raise InvalidValue(f"repository {shown(_hidden(value))}: {error.message}", hints=error.hints) from error


def _hidden(value: object) -> object:
    """A URL as it may be shown."""
    return re.sub(_USERINFO, "***@", value) if isinstance(value, str) else value


def _repository(value: object) -> Repository:
    from l8s_core.model import Repository

    what = "repository"
    examples = ("Write https://git.example.com/app.git or git@git.example.com:app.git",)
    hidden = _hidden(value)
    if isinstance(value, str) and (not value.isprintable() or " " in value):
        _refuse(what, hidden, "it has white space or a control character in it", *examples)
    _text(what, hidden, 2048, *examples)
    text = str(value)
    if not text.isascii():
        _refuse(what, hidden, "only ASCII is allowed", "Write other characters percent-encoded")
    if text.startswith("-"):
        _refuse(what, hidden, "it must not start with -", *examples)
    if re.match(r"[A-Za-z0-9+.-]*::", text):
        _refuse(what, hidden, "git's remote helpers can run commands and are not allowed", *examples)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _scp_like(text, examples)
    scheme = scheme.lower()
    if scheme == "git":
        _refuse(
            what,
            hidden,
            "git:// proves neither the server nor the content",
            f"Write https://{rest.rpartition('@')[2]}",
        )
    if scheme not in ("https", "http", "ssh"):
        _refuse(
            what,
            hidden,
            "only https, http and ssh are allowed; it is cloned in the container, on the server",
            *examples,
        )
    if re.search(r"[?#\\]", rest):
        _refuse(what, hidden, r"? # and \ have no place in it", *examples)
    authority, slash, path = rest.partition("/")
    userinfo, at, address = authority.rpartition("@")
    if not path:
        _refuse(what, hidden, "it names no repository", *examples)
    _decoded(what, hidden, path)
    _authority(hidden, address, examples)
    user, colon, secret = userinfo.partition(":")
    if scheme == "ssh":
        if colon:
            _refuse(
                what,
                hidden,
                "an ssh URL carries no password",
                f"Write ssh://{user or 'git'}@{address}/{path}",
            )
        if at:
            remote_user(user)
        return Repository(url=text)
    return Repository(
        url=f"{scheme}://{address}{slash}{path}",
        username=_decoded(what, hidden, user) if user or colon else None,
        password=_decoded(what, hidden, secret) if colon else None,
    )


def _authority(hidden: object, address: str, examples: tuple[str, ...]) -> None:
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]*))?", address)
    name, _, number = address.partition(":")
    if bracketed is not None:
        name, number = bracketed.group(1), bracketed.group(2) or ""
        if ":" not in name:
            _refuse("repository", hidden, "only an IPv6 address is written in brackets", *examples)
    if number:
        if not re.fullmatch(r"[0-9]{1,5}", number):
            _refuse("repository", hidden, "what follows : in its host must be a port", *examples)
        port(int(number))
    host(name)


def _decoded(what: str, hidden: object, text: str) -> str:
    """Percent-decoded. A line break in it would reach git's credential protocol (CVE-2020-5260)."""
    from urllib.parse import unquote_to_bytes

    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        _refuse(what, hidden, "what is percent-encoded in it must be UTF-8")
    if not decoded.isprintable():
        _refuse(what, hidden, "it has a percent-encoded control character in it")
    return decoded


def _scp_like(text: str, examples: tuple[str, ...]) -> Repository:
    """``[user@]host:path`` as git-clone(1) reads it: a slash before the first colon makes it a local path."""
    from l8s_core.model import Repository

    authority, colon, path = text.partition(":")
    if not colon or "/" in authority:
        _refuse("repository", text, "a path on this laptop cannot be cloned on the server", *examples)
    if "\\" in text:
        _refuse("repository", text, r"\ has no place in it", *examples)
    if "[" in authority:
        _refuse("repository", text, "an IPv6 address needs the long form", "Write ssh://git@[2001:db8::1]/app.git")
    user, at, address = authority.rpartition("@")
    if at:
        remote_user(user)
    host(address)
    if not path or path.startswith("-"):
        _refuse("repository", text, "it names no repository", *examples)
    return Repository(url=text)


def branch(value: object) -> str:
    """A branch name, by the rules of git-check-ref-format(1) for ``--branch``."""
    what, hint = "branch", "Write it like main or feature/login"
    text = _text(what, value, 244, hint)
    rules = (
        (text.startswith("-"), "it must not start with -"),
        (re.search(r"[\s~^:?*\[\\]", text), r"it must have no space and none of ~ ^ : ? * [ \ in it"),
        (".." in text or "@{" in text or "//" in text, "it must have no .. or @{ or // in it"),
        (text.startswith("/") or text.endswith(("/", ".")), "it must not start with / nor end with / or ."),
        (text in ("@", "HEAD"), "it means something else to git"),
        (
            any(part.startswith(".") or part.endswith(".lock") for part in text.split("/")),
            "no part of it may start with . or end with .lock",
        ),
    )
    for broken, rule in rules:
        if broken:
            _refuse(what, value, rule, hint)
    return text


def remote_name(value: object) -> str:
    """The name of a git remote: ``dev-myapp``. Slashes, which git allows, would only confuse."""
    what, hint = "git remote", "Write it like origin or dev-myapp"
    text = _matching(
        what,
        value,
        64,
        _REMOTE_NAME,
        "only letters, digits, . _ and - are allowed, not starting with . or - nor ending with .",
        hint,
    )
    if ".." in text or text.endswith(".lock"):
        _refuse(what, value, "it must have no .. in it and not end with .lock", hint)
    return text


# Limits


def memory(value: object) -> int:
    """Memory in bytes, from a number of bytes or ``512m``, ``2g``, ``1.5GiB``; units are powers of 1024."""
    what, hint = "memory", "Write it like 512m or 2g"
    if isinstance(value, str):
        match = re.fullmatch(_MEMORY, value)
        if match is None:
            _refuse(what, value, "it must be a number with k, m, g or t after it", hint)
        from decimal import Decimal

        amount = int(Decimal(match[1] + (match[2] or "")) * _UNITS[match[3].lower()])
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = value
    else:
        _refuse(what, value, "it must be a number with k, m, g or t after it", hint)
    if not MIN_MEMORY <= amount <= MAX_MEMORY:
        _refuse(what, value, "it must be from 16 MiB to 1 PiB", hint)
    return amount


def idle_time(value: object) -> float:
    """For how long an unused connection is kept, in seconds, from a number of seconds or ``90s``, ``10m``, ``2h``."""
    what, rule, hint = "idle time", "it must be a time up to 24h", "Write it like 10m, or 0 for no connections kept"
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,6})([smh])|(0)", value, re.ASCII)
        if match is None:
            _refuse(what, value, rule, hint)
        seconds = float(match[1] or 0) * {"s": 1, "m": 60, "h": 3600, None: 0}[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # compared before it is converted: float() of a huge integer overflows
        seconds = float(value) if 0 <= value <= MAX_IDLE else -1.0
    else:
        _refuse(what, value, rule, hint)
    if not 0 <= seconds <= MAX_IDLE:
        _refuse(what, value, rule, hint)
    return seconds


def cpus(value: object) -> float:
    """A number of processor cores, fractions allowed; as a number or as text."""
    what, rule, hint = "cpus", "it must be a number from 0.1 to 1024", "Write it like 2 or 0.5"
    if isinstance(value, str) and re.fullmatch(_CPUS, value):
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        # Compared before it is converted: float() of a huge integer overflows.
        number = float(value) if 0 < value <= 1024 else 0.0
    else:
        _refuse(what, value, rule, hint)
    if not 0.1 <= number <= 1024:
        _refuse(what, value, rule, hint)
    return number


def pids(value: object) -> int:
    """How many processes a container may have; fewer than 16 would not even let one log in."""
    return _integer("pids", value, 16, MAX_PIDS, "Write 512")


def seconds(value: object) -> float:
    """A time in seconds, longer than none, as text: ``60`` or ``1.5``; not ``nan``, ``inf`` or ``1e9``."""
    what, rule, hint = "time", "it must be a number of seconds, more than 0", "Write it like 60 or 1.5"
    text = _matching(what, value, 11, _SECONDS, rule, hint)
    if float(text) == 0:
        _refuse(what, value, rule, hint)
    return float(text)


# Keys and environment


def fingerprint(value: object) -> str:
    """An SSH key's fingerprint, as ``ssh-keygen -l`` prints it: ``SHA256:`` and 43 characters."""
    return _matching(
        "fingerprint",
        value,
        50,
        _FINGERPRINT,
        "it must be SHA256: and 43 base64 characters",
        "See it on the server: ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub",
    )


def host_key_alias(value: object) -> str:
    """The name under which a host key is pinned in a known_hosts file; no pattern, no list, no marker."""
    return _matching(
        "host key alias",
        value,
        128,
        _PLUGIN,
        "only letters, digits, . _ and - are allowed, with a letter or digit at both ends",
    )


def environment_name(value: object) -> str:
    """The name of an environment variable."""
    return _matching(
        "environment variable",
        value,
        128,
        _ENVIRONMENT,
        "only letters, digits and _ are allowed, not starting with a digit",
    )


def environment_argument(value: object) -> tuple[str, str]:
    """``KEY=VALUE`` from a command line, apart. The value may be anything that a process can be given."""
    if not isinstance(value, str):
        _refuse("environment variable", value, "it must be text")
    key, equals, rest = value.partition("=")
    if not equals:
        _refuse("environment variable", value, "it must be KEY=VALUE", "Write DEBUG=1")
    name = environment_name(key)
    try:
        return name, argument(rest)
    except InvalidValue as error:
        raise InvalidValue(f"environment variable {name}: {error.message}", hints=error.hints) from error


# Terminals and shells


def argument(value: object) -> str:
    """A word for a process: whatever it is, the process gets exactly that."""
    if not isinstance(value, str):
        _refuse("argument", value, "it must be text")
    if "\0" in value:
        _refuse("argument", value, "no argument can have a NUL in it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        _refuse("argument", value, "it cannot be written in UTF-8")
    return value


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable(text: str) -> str:
    r"""``text`` for one line of a terminal: what moves the cursor, hides or reorders becomes ``\x1b``.

    That is all of Unicode's categories Other and Separator but the space (`str.isprintable`): controls, ESC,
    DEL, bidi and zero-width characters, line separators, surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def printable_lines(text: str) -> str:
    r"""As `printable`, over several lines: ``\n`` and ``\t`` stay, ``\r\n`` becomes ``\n``."""
    return "".join(c if c in "\n\t" or c.isprintable() else _escaped(c) for c in text.replace("\r\n", "\n"))


def shell_word(text: str) -> str:
    """``text`` quoted as one word of a POSIX shell.

    Raises:
        InvalidValue: no process argument can hold it (NUL), or it cannot be written in UTF-8.
    """
    import shlex

    return shlex.quote(argument(text))


def shell_words(argv: Iterable[str]) -> str:
    """A command for a POSIX shell that runs exactly ``argv``."""
    return " ".join(shell_word(word) for word in argv)
