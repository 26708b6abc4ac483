"""Where a word enters l8s, and words that must not get in. Data; what is done with it is in ``test_hostile_input.py``.

A `Place` is a command line with ``{}`` where the word goes. Its own words follow; `ANYWHERE` goes to every place but
for what is in order there.
"""

from __future__ import annotations

from attrs import frozen
from wire import PORT

CONFIGURED = "{host}"
"""In command lines: the address at which the trap listens."""

ANYWHERE = {
    # read as an option by ssh, git or podman
    "an option of ssh": "-oProxyCommand=id",
    "a long option": "--upload-pack=id",
    "a short option": "-R",
    "two dashes": "--",
    # more than one word, line or string
    "empty": "",
    "a space": "a b",
    "a space in front": " a",
    "a space behind": "a ",
    "a tab": "a\tb",
    "a line break": "a\nProxyCommand id",
    "a line break behind": "a\n",
    "a carriage return": "a\rb",
    "a vertical tab": "a\x0bb",
    # what a terminal obeys
    "ESC": "a\x1b[2Jb",
    "OSC": "a\x1b]0;title\x07b",
    "an eight-bit CSI": "a\x9b31mb",
    "a backspace": "a\x08b",
    "DEL": "a\x7fb",
    # what looks like something else, or like nothing
    "a right-to-left override": "a\u202eb",
    "an isolate": "a\u2066b\u2069",
    "a zero-width space": "a\u200bb",
    "a zero-width joiner": "a\u200db",
    "a soft hyphen": "a\u00adb",
    "a byte order mark": "\ufeffa",
    "a no-break space": "a\u00a0b",
    "a line separator": "a\u2028b",
    "a tag character": "a\U000e0041",
    "a private character": "a\ue000",
    "bytes that are no UTF-8": "a\udcff\udcfe",
    # other scripts
    "a Cyrillic a": "\u0430pp",
    "a full-width letter": "\uff41pp",
    "Arabic digits": "\u0662\u0662",
    "mathematical digits": "\U0001d7da\U0001d7da",
    "a combining accent": "a\u0301",
    # what a shell runs
    "a command substitution": "$(id)",
    "backticks": "`id`",
    "a semicolon": "a;id",
    "an ampersand": "a&id",
    "a pipe": "a|id",
    "a redirection": "a>b",
    "a variable": "${HOME}",
    "a quote": "a'b",
    "a double quote": 'a"b',
    "a backslash": "a\\b",
    "a comment": "#a",
    "braces": "{a,b}",
    # what ssh takes for a pattern, a token or a list
    "a star": "*",
    "a question mark": "a?",
    "a negation": "!a",
    "a token": "%h",
    "a list": "a,b",
    # paths, also in a URL
    "here": ".",
    "up": "..",
    "a path up": "../../etc/passwd",
    "an encoded NUL": "a%00b",
    "an encoded path up": "%2e%2e%2fa",
    "a query": "a?b=c#d",
    # others
    "a remote helper": "ext::sh -c id",
    "very long": "a" * 5000,
    "a marker": "@revoked",
}


@frozen(kw_only=True)
class Place:
    """Where a word enters. ``named`` is what a refusal names it by, right after ``Error: ``.

    ``good`` is a word that is accepted there, which then ``reaches`` the trap (by itself or through "ssh"), the
    program "git", a "file" of the laptop, or "nothing".
    """

    argv: tuple[str, ...]
    named: str
    good: str
    words: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    """Keys of `ANYWHERE` that are in order here."""
    reaches: str = "trap"
    variable: str = ""
    """The word is the value of this environment variable instead."""

    def typed(self, word: str) -> str:
        """The whole value of the option or argument that ``word`` is put into."""
        part = next((part for part in self.argv if "{}" in part), "{}")
        return part.removeprefix(f"{self.named}=").replace("{}", word)

    @property
    def is_ours(self) -> bool:
        """Whether l8s words the refusal, and not click."""
        return self.variable != "" or self.named.isupper() or self.named.startswith("--")


def allowed(*keys: str) -> frozenset[str]:
    assert set(keys) <= set(ANYWHERE), keys
    return frozenset(keys)


SHELLED = (
    *("a command substitution", "backticks", "a semicolon", "an ampersand", "a pipe", "a redirection"),
    *("a variable", "a quote", "a comment", "braces", "a list", "a marker"),
)
"""What only a shell or ssh would do something with, and no shell or ssh gets from these places."""
SCRIPTS = ("a Cyrillic a", "a full-width letter", "Arabic digits", "mathematical digits", "a combining accent")
SPACED = ("a space", "a space in front", "a space behind")

CONTAINER = (
    *("My-App", "MYAPP", "my_app", "my.app", "my--app-", "-", "a/b", "a:b", "a=b", "a+b", "~", "a" * 41),
    *("dev/../x", "con\u0131", "caf\u00e9", "\u2024\u2024", "--help=x", "--privileged", "-v", "a@b", "[a]", "<a>"),
)
PROFILE = ("Dev", "dev_1", "dev.local", "dev/x", "a" * 21, "-dev", "dev-", "profiles/dev", "DEV", "d\u00e9v")
HOST = (
    *("-l root", "root@server.example.com", "root:pw@server.example.com", "server.example.com:22", "a..b", ".a"),
    *("-server.example.com", "a.-b", "[2001:db8::1]", "2001:db8::g", "fe80::1%", "fe80::1%-oX", "fe80::1%eth0;id"),
    *(
        "fe80::1%a/b",
        "a" * 64,
        "a." * 127 + "ab",
        "b\u00fccher.example",
        "ssh://server.example.com",
        "/run/podman.sock",
    ),
    *("unix:///run/podman.sock", "http://server.example.com", "tcp://server.example.com:2375", "a/b", "a\\\\b"),
    *(
        "server.example.com,other",
        "*.example.com",
        "!server",
        "%h.example.com",
        "%n",
        "${HOST}",
        "a=b",
        "server example",
    ),
    *("server.example.com\nProxyCommand id", "server.example.com#x", "server.example.com?x", "\u2024example.com"),
)
USER = (
    *("-root", "root@server", "root:pw", "ro/ot", "root,admin", "%r", "%u", "${USER}", "r*", "ROOT!", "a" * 65),
    *("r\u00f6\u00f6t", "root\nUser admin", "root -oX", ".root", "domain\\root", "root+x", "r=o", "\u0433oot"),
)
NUMBER = (
    *("0", "-1", "65536", "99999999", "9" * 400, "22x", "x22", "0x16", "0o26", "0b11", "22.0", "2e1", "+22", "022"),
    *("2_2", "22 ", " 22", "22,23", "22:23", "ssh", "\u0662\u0662", "\uff12\uff12", "\u00b2\u00b2", "\u2461", "\u216b"),
)
SOCKET = (
    *("run/podman.sock", "/", "/run/", "/run/../etc/x", "/run/podman.sock/..", "unix:///run/podman.sock"),
    *(
        "http://server/x",
        "/run/pod man.sock",
        "/run/$(id)",
        "/run/%t",
        "/run/a;b",
        "/run/a?b",
        "/run/*",
        "/" + "a" * 107,
    ),
    *("~/podman.sock", "\\\\.\\pipe\\podman", "/run/podm\u0430n.sock", "@abstract", "/run/a:b", "/run/'"),
)
IMAGE = (
    *("Fedora", "fedora:", "fedora:-x", ":latest", "a//b", "/a", "a/", "a/../b", "../a", "a:b:c", "a:" + "x" * 129),
    *("docker://a", "docker-archive:/etc/x:y/z", "oci:/etc", "https://a/b", "a@sha256:12", "a@md5:" + "0" * 32),
    *("a@sha256:" + "G" * 64, "a_", "a.-b", "-a/b", "a/-b", "registry:port/x", "reg istry/x", "a/b\n", "\u0430/b"),
    *("quay.io/Fedora/x", "registry..example/x", "-registry.example/x", "registry.example:999999/x", "a" * 256),
)
REPOSITORY = (
    *("ext::sh -c id", "ext::sh%20-c%20id", "fd::17", "file::/etc", "-u", "--upload-pack=id", "-oProxyCommand=id"),
    *(
        "git://git.example.com/a.git",
        "GIT://git.example.com/a.git",
        "file:///etc",
        "/etc",
        "./a",
        "../a",
        "~/a",
        "a/b:c",
    ),
    *("ftp://git.example.com/a", "javascript://a/b", "ssh://-oProxyCommand=id/a", "ssh://git@-oProxyCommand=id/a"),
    *("ssh://-l@git.example.com/a", "-oProxyCommand=id:a", "git@-oProxyCommand=id:a", "-x@git.example.com:a"),
    *("git@git.example.com:", "git@git.example.com:-a", "git@git.example.com:--upload-pack=id", "https://"),
    *("https:///a", "https://git.example.com", "https://git.example.com/", "https://git.example.com:0/a"),
    *("https://git.example.com:99999/a", "https://git.example.com:x/a", "https://git.example.com:-1/a"),
    *("https://git.example.com/a?b", "https://git.example.com/a#b", "https://git.example.com\\@evil.example/a"),
    *("https://git.example.com/a%0ab", "https://git.example.com/a%00b", "https://git.example.com/%ff"),
    *("https://u%0aser:pw@git.example.com/a", "https://user:p%0dw@git.example.com/a", "https://%1b[0m/a"),
    *("https://git_.-example.com/a", "https://g\u0456t.example.com/a", "https://[::1/a", "https://[example.com]/a"),
    *("http://exa mple.com/a", "https://git.example.com/a\nb", "ssh://git:pw@git.example.com/a", "ssh://git@[::1]x/a"),
    *("https://git.example.com/" + "a" * 2048, "git@[::1]:a", "https//git.example.com/a", "C:\\a", "\\\\server\\a"),
)
BRANCH = (
    *(
        "-x",
        "--orphan",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a^{commit}",
        "a:b",
        "a?",
        "a*",
        "a[b]",
        "a\\b",
        "/a",
        "a/",
        "a//b",
    ),
    *("a.", "a.lock", "a.lock/b", ".a", "a/.b", "@", "@{u}", "a@{1}", "HEAD", "a\x7fb", "refs/heads/../x", "a" * 245),
    *("../../hooks/post-checkout", ".git/config", "+a:b", "a\u2028b", "a\tb"),
)
LABEL = (
    *("team", "=blue", "-team=blue", "Team=blue", "te am=blue", "team-=blue", "l8s.managed=true", "l8s.name=other"),
    *(
        "l8s.=x",
        "te\nam=blue",
        "team=bl\nue",
        "team=\x1b[31m",
        "team=\u202eeulb",
        "team=bl\u200bue",
        "team=\t",
    ),
    *("t\u00e9am=blue", "te*m=blue", "$(id)=x", "a;b=x", "a" * 129 + "=x", "a=" + "x" * 1025, "../a=b", "a%00=b"),
)
MEMORY = (
    *("lots", "-1", "1", "15m", "2p", "1e9", "0x10m", "2,5g", "2 g", "2gg", "+2g", "2g;id", "9" * 30, "\u0662g", "nan"),
    *("inf", "2.g", ".5g", "-2g", "1_000m", "2\u0433", "2097152g"),
)
CPUS = (
    *(
        "0",
        "-1",
        "nan",
        "inf",
        "1e3",
        "1025",
        "two",
        "0x2",
        "2,5",
        "0.05",
        "\u0662",
        "2_0",
        "+2",
        ".5",
        "1;id",
        "99999",
    ),
    *("1.0001", "--2"),
)
PIDS = ("0", "15", "-5", "4194305", "99999999999", "\u0666\u0664", "6_4", "64.0", "1e3", "all", "+64", "064")
SECONDS = (
    *(
        "0",
        "0.0",
        "-1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "1e3",
        "1_0",
        "\u0665",
        "5s",
        "5;id",
        "+5",
        ".5",
        "5.",
    ),
    *("12345678", "0.0001", "0x5"),
)
PATH = (
    *(
        "-i",
        "--",
        'a"b',
        "~root/.ssh/id",
        "~nobody",
        "a\nIdentityFile b",
        "a\x1b[2J",
        "a\u202eb",
        "a\u2028b",
        "x" * 4097,
    ),
    *("-/.ssh/id", "a\x7f", "~\\x"),
)
FINGERPRINT = (
    *("SHA256:", "SHA256:x", "MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff", "sha256:" + "a" * 43),
    *("SHA256:" + "a" * 42, "SHA256:" + "a" * 44, "SHA256:" + "=" * 43, "SHA256:" + "a" * 42 + "*", "yes"),
    *("SHA256:" + "a" * 42 + "\u0430", "SHA512:" + "a" * 43, "any", "SHA256:" + "a" * 43 + "\n"),
)
GROUP = (
    "Root",
    "0group",
    "a:b",
    "gr oup",
    "a" * 33,
    "-g",
    "l8s,sudo",
    "l8s;id",
    "gr\u00f6up",
    "sudo\nroot",
    "l8s.x",
    "+l8s",
)
ACCOUNT = (
    *("-u", "root:", ":root", "root:root:x", "root;id", "ro ot", "root\nx", "r/oot", "root:-x", "$(id)", "a" * 70),
    *("r\u00f6\u00f6t", "root@x", "*", "--privileged", "\u0430dmin"),
)
DIRECTORY = (
    "",
    "tmp",
    "./tmp",
    "../tmp",
    "-tmp",
    "~",
    "~/x",
    "C:\\",
    "/a\nb",
    "/a\x1b[2J",
    "/a\u202eb",
    "/" + "a" * 4096,
)
VARIABLE = (
    "A",
    "=x",
    "A B=x",
    "1A=x",
    "A-B=x",
    "-A=x",
    "A\n=x",
    "\u0410=x",
    "A;B=x",
    "$(id)=x",
    "A.B=x",
    "A=\udcff",
    "A[0]=x",
)

AT_TRAP = f"--port={PORT}"
INIT = ("init", "--yes", AT_TRAP)
ADD = ("profile", "add", "fresh")
SETUP = ("server", "setup", "--yes", AT_TRAP)
CREATE = ("create", "ok")
KEY = "SHA256:" + "A" * 43

PLACES = (
    Place(argv=("create", "--", "{}"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("info", "--", "{}"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("start", "--", "{}"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("stop", "--", "fine", "{}"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("restart", "--", "{}", "fine"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("rm", "--yes", "--", "{}"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("exec", "--", "{}", "true"), named="NAME", good="ok", words=CONTAINER),
    Place(argv=("ssh", "--", "{}", "true"), named="NAME", good="ok", words=CONTAINER, reaches="ssh"),
    Place(argv=("remote", "add", "--", "{}"), named="NAME", good="ok", words=CONTAINER, reaches="git"),
    Place(argv=("remote", "remove", "--", "{}"), named="NAME", good="ok", words=CONTAINER, reaches="git"),
    Place(
        argv=("profile", "add", "--host=h.example", "--", "{}"),
        named="NAME",
        good="fresh",
        words=PROFILE,
        reaches="file",
    ),
    Place(argv=("profile", "use", "--", "{}"), named="NAME", good="spare", words=PROFILE, reaches="file"),
    Place(argv=("profile", "remove", "--", "{}"), named="NAME", good="spare", words=PROFILE, reaches="file"),
    Place(argv=("profile", "show", "--", "{}"), named="NAME", good="spare", words=PROFILE, reaches="nothing"),
    Place(argv=("list", "--profile={}"), named="--profile", good="dev", words=PROFILE),
    Place(argv=("--profile={}", "sync"), named="--profile", good="dev", words=PROFILE),
    Place(
        argv=("list",),
        variable="L8S_PROFILE",
        named="There is no profile",
        good="dev",
        words=PROFILE,
        allowed=allowed("empty"),
    ),
    Place(
        argv=("list",),
        variable="L8S_CONFIG_STORE",
        named="There is no config store",
        good="yaml",
        allowed=allowed("empty"),
    ),
    Place(argv=(*INIT, "--user=root", "--host={}"), named="--host", good=CONFIGURED, words=HOST),
    Place(argv=(*ADD, "--host={}"), named="--host", good="h.example", words=HOST, reaches="file"),
    Place(argv=(*SETUP, "--", "{}"), named="HOST", good=CONFIGURED, words=HOST),
    Place(argv=(*INIT, "--host", CONFIGURED, "--user={}"), named="--user", good="root", words=USER),
    Place(argv=(*ADD, "--host=h.example", "--user={}"), named="--user", good="root", words=USER, reaches="file"),
    Place(argv=(*SETUP, CONFIGURED, "--user={}"), named="--user", good="root", words=USER),
    Place(argv=(*SETUP, CONFIGURED, "--group=l8s", "--group-member={}"), named="--group-member", good="me", words=USER),
    Place(argv=(*SETUP, CONFIGURED, "--group={}"), named="--group", good="l8s", words=GROUP),
    Place(
        argv=("init", "--yes", "--user=root", "--host", CONFIGURED, "--port={}"),
        named="--port",
        good=str(PORT),
        words=NUMBER,
    ),
    Place(argv=(*ADD, "--host=h.example", "--port={}"), named="--port", good="22", words=NUMBER, reaches="file"),
    Place(argv=("server", "setup", "--yes", CONFIGURED, "--port={}"), named="--port", good=str(PORT), words=NUMBER),
    Place(
        argv=(*INIT, "--user=root", "--host", CONFIGURED, "--socket={}"),
        named="--socket",
        good="/run/podman/podman.sock",
        words=SOCKET,
    ),
    Place(
        argv=(*ADD, "--host=h.example", "--key={}"),
        named="--key",
        good="~/.ssh/id_ed25519",
        words=PATH,
        # a file may be called so; the name reaches neither a shell nor an ssh configuration
        allowed=allowed(
            *SHELLED,
            *SCRIPTS,
            *SPACED,
            *("a backslash", "a star", "a question mark", "a negation", "a token", "here", "up", "a path up"),
            *("an encoded NUL", "an encoded path up", "a query", "a remote helper"),
            "very long",
        ),
        reaches="file",
    ),
    Place(
        argv=(*SETUP, CONFIGURED, "--key={}"),
        named="--key",
        good="~/.ssh/id_ed25519",
        words=PATH,
        allowed=frozenset(ANYWHERE),
    ),
    Place(argv=(*CREATE, "--image={}"), named="--image", good="localhost/debian:bookworm", words=IMAGE),
    Place(argv=("build", "--base={}"), named="--base", good="localhost/debian:bookworm", words=IMAGE),
    Place(argv=("build", "--tag={}"), named="--tag", good="localhost/mine:1", words=IMAGE),
    Place(argv=(*ADD, "--host=h.example", "--image={}"), named="--image", good="a/b", words=IMAGE, reaches="file"),
    Place(
        argv=("build", "--file={}"),
        named="Invalid value for '--file'",
        good="Containerfile",
        allowed=allowed("a path up"),  # a file of the laptop's
    ),
    Place(argv=(*CREATE, "--label={}"), named="--label", good="team=blue", words=LABEL),
    Place(
        argv=(*CREATE, "--label=team={}"),
        named="--label",
        good="blue green",
        # a value goes into JSON and comes out escaped; it is nobody's word but its reader's
        allowed=allowed(
            *("an option of ssh", "a long option", "a short option", "two dashes", "empty"),
            *SHELLED,
            *SCRIPTS,
            *SPACED,
            *("a double quote", "a backslash", "a star", "a question mark", "a negation", "a token"),
            *("here", "up", "a path up", "an encoded NUL", "an encoded path up", "a query", "a remote helper"),
        ),
    ),
    Place(argv=(*CREATE, "--memory={}"), named="--memory", good="2g", words=MEMORY),
    Place(argv=(*CREATE, "--cpus={}"), named="--cpus", good="1.5", words=CPUS),
    Place(argv=(*CREATE, "--pids={}"), named="--pids", good="512", words=PIDS),
    Place(argv=(*CREATE, "--", "{}"), named="GIT_URL", good="https://git.example.com/a.git", words=REPOSITORY),
    Place(
        argv=(*CREATE, "--", "https://git.example.com/a.git", "{}"),
        named="BRANCH",
        good="feature/login",
        words=BRANCH,
        # git's own rule lets these be a branch; only git gets to see them, as one word that is no option
        allowed=allowed(
            *SHELLED,
            *SCRIPTS,
            *("a double quote", "an encoded NUL", "an encoded path up", "a token", "a negation"),
        ),
    ),
    Place(argv=("exec", "--user={}", "ok", "--", "true"), named="--user", good="1000:1000", words=ACCOUNT),
    Place(argv=("exec", "--workdir={}", "ok", "--", "true"), named="--workdir", good="/tmp/a b", words=DIRECTORY),
    Place(argv=("exec", "--env={}", "ok", "--", "true"), named="--env", good="A=b\nc", words=VARIABLE),
    Place(argv=("exec", "--timeout={}", "ok", "--", "true"), named="--timeout", good="1.5", words=SECONDS),
    Place(
        argv=("exec", "ok", "--", "echo", "{}"),
        named="CMD",
        good="-oProxyCommand=$(id)\n",
        words=("\udcff", "a\udc80b"),
        # the command's own words, which only it gets
        allowed=frozenset(ANYWHERE) - {"bytes that are no UTF-8"},
    ),
    Place(
        argv=(*INIT, "--user=root", "--host", CONFIGURED, "--trust-host-key={}"),
        named="--trust-host-key",
        good=KEY,
        words=FINGERPRINT,
    ),
    Place(argv=(*SETUP, CONFIGURED, "--trust-host-key={}"), named="--trust-host-key", good=KEY, words=FINGERPRINT),
    Place(argv=("trust", "--fingerprint={}"), named="--fingerprint", good=KEY, words=FINGERPRINT),
    Place(
        argv=("{}",),
        named="There is no command",
        good="list",
        words=("creat\u0435", "CREATE", "li st", "create\n"),
        # an option, and no command: see STRAY
        allowed=allowed("an option of ssh", "a long option", "a short option", "two dashes"),
    ),
    Place(argv=("list", "--output={}"), named="Invalid value for '-o' / '--output'", good="json"),
    Place(
        argv=("list", "--", "{}"),
        named="Got unexpected extra argument",
        good="",
        reaches="nothing",
        allowed=frozenset(),
    ),
)

STRAY = {
    "--upload-pack=id": "'--upload-pack'",
    "--privileged": "'--privileged'",
    "-F/etc/passwd": "'-F'",
    "-oProxyCommand=id": "'-o' / '--output'",
    "-J": "'-J'",
    "--\u0440rofile=dev": "'--\u0440rofile'",
    "--x\nError": "'--x\\nError'",
    "--x\x1b[2J": "'--x\\x1b[2J'",
}
"""Options of other programs, or of none, each with what a refusal names it by."""

COMMANDS = (
    *(("create", "ok"), ("list",), ("info", "ok"), ("start", "ok"), ("stop", "ok"), ("restart", "ok"), ("rm", "ok")),
    *(("exec", "ok"), ("ssh", "ok"), ("remote", "add", "ok"), ("remote", "remove", "ok"), ("build",), ("sync",)),
    *(("trust",), ("doctor",), ("test-connection",), ("plugins",), ("init",), ("server", "setup", "h.example")),
    *(("profile", "list"), ("profile", "show"), ("profile", "use", "dev"), ("profile", "remove", "spare")),
    ("profile", "add", "fresh"),
)
"""Every command, with arguments that are in order."""
