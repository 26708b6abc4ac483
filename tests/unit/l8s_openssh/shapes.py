"""Fifty ssh configurations in the shapes that people really have; the real ``ssh -G`` accepts every one.

``{ssh}`` stands for the directory that the files are in: ssh takes ``~`` from the password database, so a test cannot
move it. Names are examples, keys do not exist, and no setting makes ``ssh -G`` ask a name server or run anything but
``true``, ``false`` and ``test``.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from attrs import field, frozen


@frozen
class Shape:
    """The bytes of ``~/.ssh/config``, and of the files that it includes by their paths below ``~/.ssh``."""

    config: bytes
    others: dict[str, bytes] = field(factory=dict)

    def write(self, directory: Path) -> bytes:
        """Make the files in ``directory``; the bytes of ``config`` in it."""
        for name, data in {"config": self.config, **self.others}.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.replace(b"{ssh}", bytes(directory)))
        return (directory / "config").read_bytes()

    def hosts(self) -> list[str]:
        """Every host that is named in it, with one example for each pattern."""
        found: dict[str, None] = {}
        for data in (self.config, *self.others.values()):
            for line in data.decode("latin-1").split("\n"):
                for pattern in _patterns(line):
                    found[pattern.lstrip("!").replace("*", "x1").replace("?", "7")] = None
        return list(found)


def _patterns(line: str) -> list[str]:
    """The patterns of hosts in a Host or Match line."""
    keyword, *words = re.sub(r'["=]', " ", line.partition(" #")[0]).split() or [""]
    if keyword.lower() == "host":
        return words
    if keyword.lower() != "match":
        return []
    pairs = itertools.pairwise(words)
    return [pattern for name, value in pairs if name in ("host", "originalhost") for pattern in value.split(",")]


def _many(count: int) -> str:
    return "".join(
        f"Host node{number:05}\n    HostName 10.{number // 65536}.{number // 256 % 256}.{number % 256}\n"
        f"    User u{number % 7}\n    Port {20000 + number % 9}\n"
        for number in range(count)
    )


GIT = """\
# work
Host github.com
  HostName github.com
  User git
  IdentityFile ~/.ssh/id_work
  IdentitiesOnly yes

# private
Host github-me
  HostName github.com
  User git
  IdentityFile ~/.ssh/id_me
  IdentitiesOnly yes
"""

JUMP = """\
Host bastion
    HostName bastion.example.com
    User jump
    Port 2222

Host inner-* *.inner.example.com
    ProxyJump bastion
    User ops

Host deep
    HostName 10.9.8.7
    ProxyJump bastion,inner-1
"""

EVERYWHERE = """\
Host *
    ServerAliveInterval 60
    ServerAliveCountMax 5
    AddKeysToAgent yes
    HashKnownHosts yes
    Compression yes
"""

TABS = "Host\ttabbed\n\tHostName\t10.1.1.1\n\tUser\t\tme\n\n\tHost\tindented\n\t\tPort = 2022\n"

TEXTS: dict[str, str] = {
    "nothing": "",
    "one empty line": "\n",
    "blank lines only": "\n\n   \n\t\n",
    "comments only": "# my ssh config\n#\n   # nothing in it yet\n",
    "git hosts": GIT,
    "jump hosts": JUMP,
    "everywhere at the top": EVERYWHERE + "\nHost web\n    User www\n    ServerAliveInterval 5\n",
    "everywhere at the end": "Host web\n    User www\n    ServerAliveInterval 5\n\n" + EVERYWHERE,
    "settings before any host": "User everyone\nPort 2200\nForwardAgent no\n\nHost web\n    Port 22\n",
    "tabs": TABS,
    "equals signs": ('Host=eq\nHostName=10.2.2.2\nPort = 2020\nUser= "some one"\nHost eq2 eq3\n  Port="2021"\n'),
    "quoted values": (
        'Host "quoted"\n'
        '    IdentityFile "~/.ssh/my keys/id ed25519"\n'
        '    UserKnownHostsFile "/var/lib/known hosts/a" "/var/lib/known hosts/b"\n'
        '    LocalCommand echo "hello there"\n'
        "\n"
        '"Host" plain\n'
        '    "Port" "2024"\n'
    ),
    "keywords in any case": "HOST shout\n  HOSTNAME 10.3.3.3\n  pORT 2025\nhost whisper\n  user QUIET\n",
    "no indentation": "Host flat1\nHostName 10.4.4.1\nUser a\nHost flat2\nHostName 10.4.4.2\nUser b\n",
    "trailing comments and spaces": "Host trail   # the trail\n    Port 2026   # odd port\n    User me\t \n   \n",
    "several names and patterns": "Host a b c? d*\n    User many\nHost c1\n    Port 2027\nHost *\n    Port 2028\n",
    "negated patterns": (
        "Host *.example.com !secret.example.com !*.lab.example.com\n    User web\nHost !x *\n    Port 9\n"
    ),
    "the user's own dev-*": "Host dev-*\n    User me\n    ForwardAgent yes\nHost *-prod dev-??\n    Port 2029\n",
    "match host": "Match host web*,db.example.com\n    User ops\nMatch host !db*,*\n    Port 2030\n",
    "match originalhost": (
        "Host short\n"
        "    HostName long.example.com\n"
        "Match originalhost short\n"
        "    User byname\n"
        "Match host long.example.com\n"
        "    Port 2031\n"
    ),
    "match exec": (
        'Match host vpn* exec "test -d /"\n'
        "    User inside\n"
        "Match host vpn* exec false\n"
        "    User outside\n"
        'Match exec "true" host office\n'
        "    ProxyJump none\n"
    ),
    "match user and localuser": (
        "Host db\n"
        "    User postgres\n"
        "Match user postgres\n"
        "    Port 5022\n"
        "Match localuser nobody\n"
        "    Port 1\n"
        "Match localuser *\n"
        "    Compression yes\n"
    ),
    "match all at the top": "Match all\n    User someone\n    ControlMaster auto\nHost gate\n    Port 2033\n",
    "match all at the end": "Host gate\n    Port 2033\nMatch all\n    User someone\n    ControlMaster no\n",
    "match final and canonical": (
        "Host final.example.com\n"
        "    User first\n"
        "Match final host final.example.com\n"
        "    User last\n"
        "    Port 2034\n"
        "Match canonical all\n"
        "    Port 2035\n"
    ),
    "canonical domains": (
        "CanonicalDomains corp.example.com example.com\n"
        "CanonicalizeFallbackLocal yes\n"
        "CanonicalizeMaxDots 0\n"
        "Host 192.0.2.9\n"
        "    CanonicalizeHostname yes\n"
        "    CanonicalizePermittedCNAMEs *.example.com:*.corp.example.com\n"
        "Host *.corp.example.com\n"
        "    User corp\n"
    ),
    "proxy command": (
        "Host behind\n"
        "    ProxyCommand ssh -q -W %h:%p gate.example.com\n"
        "Host socks\n"
        "    ProxyCommand nc -X 5 -x 127.0.0.1:1080 %h %p\n"
        "Host direct\n"
        "    ProxyCommand none\n"
    ),
    "multiplexing": (
        "Host *\n"
        "    ControlMaster auto\n"
        "    ControlPath ~/.ssh/cm-%r@%h:%p\n"
        "    ControlPersist 4h\n"
        "Host never\n"
        "    ControlMaster no\n"
        "    ControlPath none\n"
    ),
    "ipv6": (
        "Host six\n"
        "    HostName 2001:db8::17\n"
        "    AddressFamily inet6\n"
        "Host linklocal\n"
        "    HostName fe80::1%%eth0\n"
        "Host 2001:db8::*\n"
        "    User v6\n"
        "Host bracketed\n"
        "    ProxyJump [2001:db8::1]:2222\n"
    ),
    "tokens": (
        "Host tok-*\n"
        "    HostName %h.tok.example.com\n"
        "    IdentityFile ~/.ssh/keys/%r@%h\n"
        "    CertificateFile %d/.ssh/%n.pub\n"
        "    LocalForward /tmp/sock-%C /run/remote.sock\n"
        "    UserKnownHostsFile ~/.ssh/known/%k\n"
        "    RemoteCommand tmux new -A -s %n\n"
    ),
    "certificates": (
        "Host cert\n"
        "    CertificateFile ~/.ssh/id-cert.pub\n"
        "    CertificateFile ~/.ssh/other-cert.pub\n"
        "    IdentityFile ~/.ssh/id\n"
        "    IdentitiesOnly yes\n"
        "    CASignatureAlgorithms ssh-ed25519\n"
    ),
    "environment": (
        "Host *\n"
        "    SendEnv LANG LC_*\n"
        "    SetEnv A=1 B=two\n"
        "Host env\n"
        "    SendEnv GIT_*\n"
        "    SendEnv -LC_*\n"
        '    SetEnv "C=with space"\n'
    ),
    "forwarding": (
        "Host fwd\n"
        "    LocalForward 8080 localhost:80\n"
        "    LocalForward [::1]:8443 web.example.com:443\n"
        "    RemoteForward 9000 127.0.0.1:9000\n"
        "    DynamicForward 1080\n"
        "    ExitOnForwardFailure yes\n"
        "    GatewayPorts no\n"
        "    ForwardX11 yes\n"
        "    ForwardX11Trusted yes\n"
    ),
    "another system's keywords": (
        "IgnoreUnknown UseKeychain,AddKeysToAgent,GSSAPI*\n"
        "Host *\n"
        "    UseKeychain yes\n"
        "    AddKeysToAgent yes\n"
        "    GSSAPIKeyExchange yes\n"
        "Host mac\n"
        "    User me\n"
    ),
    "old machines": (
        "Host switch*\n"
        "    KexAlgorithms +diffie-hellman-group14-sha1\n"
        "    HostKeyAlgorithms +ssh-rsa\n"
        "    PubkeyAcceptedAlgorithms +ssh-rsa\n"
        "    Ciphers +aes128-cbc\n"
        "    MACs +hmac-sha1\n"
    ),
    "everything that is strict": (
        "Host vault\n"
        "    StrictHostKeyChecking yes\n"
        "    UserKnownHostsFile /dev/null\n"
        "    GlobalKnownHostsFile /etc/ssh/vault_hosts\n"
        "    VerifyHostKeyDNS no\n"
        "    UpdateHostKeys no\n"
        "    CheckHostIP no\n"
        "    PasswordAuthentication no\n"
        "    PreferredAuthentications publickey\n"
        "    HostKeyAlias vault.internal\n"
    ),
    "session settings": (
        "Host pager\n"
        "    RequestTTY force\n"
        "    EscapeChar none\n"
        "    LogLevel ERROR\n"
        "    PermitLocalCommand yes\n"
        "    LocalCommand true\n"
        "    StdinNull no\n"
        "    SessionType default\n"
        "    IPQoS lowdelay throughput\n"
        "    TCPKeepAlive no\n"
        "    ConnectTimeout 7\n"
        "    RekeyLimit 1G 1h\n"
    ),
    "agents and tokens": (
        "Host hw\n"
        "    IdentityAgent ~/.agent/agent.sock\n"
        "Host envagent\n"
        "    IdentityAgent $HW_AGENT_SOCK\n"
        "Host card\n"
        "    PKCS11Provider /usr/lib/pkcs11.so\n"
        "    SecurityKeyProvider internal\n"
        "Host noagent\n"
        "    IdentityAgent none\n"
    ),
    "an editor's block": (
        "# Read more about SSH config files: https://linux.example.com/man/5/ssh_config\n"
        "Host 203.0.113.5\n"
        "    HostName 203.0.113.5\n"
        "    User ubuntu\n"
        "\n"
        "# --- START CODER VSCODE dev.example.com\n"
        "Host coder-vscode.dev.example.com--*\n"
        "    ConnectTimeout 0\n"
        "    StrictHostKeyChecking no\n"
        "    UserKnownHostsFile /dev/null\n"
        '    ProxyCommand "/usr/bin/true" --arg %h\n'
        "# --- END CODER VSCODE dev.example.com\n"
    ),
    "vagrant's output": (
        "Host default\n"
        "  HostName 127.0.0.1\n"
        "  User vagrant\n"
        "  Port 2222\n"
        "  UserKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking no\n"
        "  PasswordAuthentication no\n"
        '  IdentityFile "/home/me/my vm/.vagrant/private key"\n'
        "  IdentitiesOnly yes\n"
        "  LogLevel FATAL\n"
    ),
    "very long lines": (
        "# " + "-" * 20_000 + "\n"
        "Host " + " ".join(f"farm{n}" for n in range(0, 3000, 300)) + " " + "z" * 3000 + "*\n"
        "    SendEnv " + " ".join(f"VARIABLE_{n}" for n in range(50)) + "\n"
        "    IdentityFile /" + "k" * 3000 + "\n"
    ),
    "an include that is not ours": (
        "Include {ssh}/missing.conf # ~/.l8s/ssh_config\nInclude {ssh}/none/*.conf\nHost inc\n    Port 2040\n"
    ),
}

BYTES: dict[str, Shape] = {
    "carriage returns": Shape((GIT + JUMP + EVERYWHERE).replace("\n", "\r\n").encode()),
    "mixed line ends": Shape(b"Host dos\r\n  Port 2041\r\nHost unix\n  Port 2042\n\r\n# end\r\n"),
    "no final newline": Shape(JUMP.rstrip("\n").encode()),
    "carriage returns and no final newline": Shape(
        (TABS + EVERYWHERE).replace("\n", "\r\n").removesuffix("\r\n").encode()
    ),
    "latin-1 and utf-8": Shape(
        "# Büro, Straße\nHost buero\n    User jörg\n".encode("latin-1") + "# 東京\nHost tokyo\n".encode()
    ),
    "ten thousand hosts": Shape((_many(10_000) + EVERYWHERE).encode()),
    "a directory of files": Shape(
        b"Include {ssh}/conf.d/*.conf\n\nHost own\n    Port 2050\n\n" + EVERYWHERE.encode(),
        {
            "conf.d/10-work.conf": JUMP.encode(),
            "conf.d/20-git.conf": GIT.replace("\n", "\r\n").encode(),
            "conf.d/30-tabs.conf": TABS.rstrip("\n").encode(),
            "conf.d/ignored.txt": b"Host ignored\n    Port 1\n",
        },
    ),
    "a chain of includes": Shape(
        b'Host top\n    Port 2060\nInclude "{ssh}/chain/one.conf"\nHost after\n    User never-captured\n'
        b"Match host in-*\n    Include {ssh}/chain/matched.conf\n    Port 2061\n",
        {
            "chain/one.conf": b"User from-one\nInclude {ssh}/chain/d/*\nHost one\n    Port 2062\n",
            "chain/d/two": b"Host two\n    Port 2063\n    Include {ssh}/chain/three.conf\n",
            "chain/d/two-b": b"Match originalhost two-b\n    Include {ssh}/chain/three.conf\n    Port 2064",
            "chain/three.conf": b"# the end of the chain\nHost three tw*\n    User from-three\n\tCompression yes\n",
            "chain/matched.conf": b"User matched\nHost in-1\n    User deeper\n",
        },
    ),
}

SHAPES: dict[str, Shape] = {**{name: Shape(text.encode()) for name, text in TEXTS.items()}, **BYTES}
