"""The remote-only rule against real ways home: every one ends with exit 3, and nothing of this machine hears of it.

`Ears` listens on every address of this machine, at a port that the profile names; the trap of ``conftest.py`` listens
where a local Podman would. Where only the machine itself can tell (behind a tunnel or a jump host), an sshd of this
machine writes down what was asked of it.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import secrets
import shlex
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from lab import ROOTFUL_SOCKET, Laptop, Run, Server, complete

from l8s_core.known_hosts import server_name

REMOTE_ONLY = "l8s ONLY supports remote container management for security isolation."
LOCAL = "Error: Local Podman connections are not supported.\n"

CONNECTABLE = (
    *("localhost", "LOCALHOST", "LocalHost"),
    *("127.0.0.1", "127.1", "127.0.1", "127.255.255.254"),
    *("2130706433", "017700000001", "0x7f000001", "0X7F000001"),
    *("0x7f.1", "0177.0.0.1", "0177.1", "127.0x1", "0x7f.0.0.0x1"),
    *("0", "0.0.0.0", "0x0", "00.0.0.0"),
    *("::1", "0:0:0:0:0:0:0:1", "0000:0000::0001", "::"),
    *("::ffff:127.0.0.1", "::FFFF:7F00:1", "0:0:0:0:0:ffff:7f00:0001", "::ffff:0.0.0.0"),
)
"""What connect(2) and the resolver of this machine take for this machine; each is tried."""

UNCONNECTABLE = (
    *("localhost.", "LocalHost.", "::1%lo"),
    *("dev.localhost", "a.b.LOCALHOST.", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"),
    *("127.0.0.1.", "127.1.", "2130706433."),
    *("::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
)
"""What other resolvers, routers or later kernels may take for this machine."""


@frozen
class Ears:
    """A listener on every address of this machine."""

    listener: socket.socket

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def heard(self) -> int:
        """How many have connected since it was last asked."""
        seen = 0
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return seen
            connection.close()
            seen += 1

    def reached_by(self, host: str) -> bool:
        """Whether whoever connects to ``host`` ends here: what a test refuses must be able to happen."""
        try:
            socket.create_connection((host, self.port), timeout=5).close()
        except OSError:
            return False
        return self.heard() == 1


@pytest.fixture
def ears() -> Iterator[Ears]:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen(64)
        listener.setblocking(False)
        yield Ears(listener)


def configure(laptop: Laptop, host: str, port: int | None = None) -> None:
    directory = laptop.home / ".l8s"
    directory.mkdir(mode=0o700, exist_ok=True)
    config = directory / "config.yaml"
    config.write_text(f'remote_host: "{host}"\nremote_user: root\n' + (f"remote_port: {port}\n" if port else ""))
    config.chmod(0o600)


def refused(laptop: Laptop, *arguments: str, inside: Sequence[str] = ()) -> str:
    """Run ``l8s`` (``list``, unless told otherwise; ``inside`` another program) and see it refuse to work at home."""
    failed = laptop.run(*inside, "l8s", *(arguments or ("list",)), check=False)
    assert failed.returncode == 3, (failed.returncode, failed.stderr)
    assert failed.stderr.startswith(LOCAL), failed.stderr
    assert f"{REMOTE_ONLY}\nPlease configure a remote server in ~/.l8s/config.yaml" in failed.stderr
    assert failed.stdout == ""
    return failed.stderr


# Names and addresses


@pytest.mark.parametrize("host", CONNECTABLE)
def test_a_spelling_that_leads_home(laptop: Laptop, ears: Ears, host: str) -> None:
    configure(laptop, host, ears.port)
    refused(laptop)
    assert ears.heard() == 0
    assert ears.reached_by(host), f"{host} does not lead here, and proves nothing"


@pytest.mark.parametrize("host", UNCONNECTABLE)
def test_a_spelling_that_leads_home_elsewhere(laptop: Laptop, ears: Ears, host: str) -> None:
    configure(laptop, host, ears.port)
    refused(laptop)
    assert ears.heard() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "x"),
        ("list",),
        ("info", "x"),
        ("exec", "x", "--", "true"),
        ("stop", "x"),
        ("rm", "x", "--yes"),
        ("build", "--flavor", "debian"),
        ("sync",),
        ("trust",),
        ("init", "--profile", "here", "--host", "localhost", "--user", "root", "--yes"),
        ("profile", "add", "here", "--host", "localhost", "--user", "root"),
        ("server", "setup", "localhost", "--yes"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_command_refuses(laptop: Laptop, ears: Ears, arguments: tuple[str, ...]) -> None:
    configure(laptop, "127.1", ears.port)
    ported = {"init", "server"} & {arguments[0]}
    refused(laptop, *arguments, *(("--port", str(ears.port)) if ported else ()))
    assert ears.heard() == 0


def own_addresses() -> list[str]:
    """The addresses of this machine's interfaces but loopback; link-local ones with their zone."""
    found = []
    for link in json.loads(complete(["ip", "-json", "address"], check=True, timeout=10).stdout):
        for entry in link["addr_info"]:
            if entry.get("tentative") or entry["scope"] not in ("global", "link"):
                continue
            found.append(entry["local"] + (f"%{link['ifname']}" if entry["local"].startswith("fe80:") else ""))
    return found


@pytest.fixture
def ipv6(some_server: Server) -> Iterator[str]:
    """A global IPv6 address of this machine, on an interface of its own; and a server, to which it has a route."""
    del some_server
    name = f"l8s{secrets.token_hex(3)}"
    address = str(ipaddress.IPv6Address(f"fd6c:3873:{secrets.token_hex(2)}::1"))
    complete(["ip", "link", "add", name, "type", "veth"], check=True, timeout=10)
    try:
        complete(["ip", "link", "set", name, "up"], check=True, timeout=10)
        complete(["ip", "-6", "address", "add", f"{address}/64", "dev", name, "nodad"], check=True, timeout=10)
        yield address
    finally:
        complete(["ip", "link", "delete", name], check=True, timeout=10)


def test_this_machines_own_addresses(laptop: Laptop, ears: Ears, ipv6: str) -> None:
    addresses = own_addresses()
    assert ipv6 in addresses
    four = [address for address in addresses if ":" not in address]
    assert four, "the lab gives this machine an address besides loopback"
    assert any("%" in address for address in addresses), "and link-local ones"
    spellings = []
    for address in four:
        number = int(ipaddress.IPv4Address(address))
        spellings += [str(number), hex(number), f"0{number:o}", f"::ffff:{address}"]
    spellings.append(ipaddress.IPv6Address(ipv6).exploded.upper())
    for host in [*addresses, *spellings]:
        # another test's server may go in the meantime, and its address with it
        if not ears.reached_by(host):
            assert host not in own_addresses() and host not in (ipv6, ipaddress.IPv6Address(ipv6).exploded.upper())
            continue
        configure(laptop, host, ears.port)
        assert "is an address of this machine" in refused(laptop)
        assert ears.heard() == 0


def test_this_machines_own_name(laptop: Laptop, ears: Ears) -> None:
    name = socket.gethostname()
    for host in (name, name.upper(), f"{name}.", f"{name.partition('.')[0]}.local"):
        configure(laptop, host, ears.port)
        assert "this machine's own name" in refused(laptop)
        assert ears.heard() == 0


# What the user's ssh configuration, the resolver and the hosts file say

ALIASES = {
    "address": "Host work\n  HostName {own}\n",
    "loopback": "Host work\n  HostName 127.0.0.1\n",
    "number": "Host work\n  HostName 2130706433\n",
    "ipv6": "Host work\n  HostName ::1\n",
    "name": "Host work\n  HostName localhost\n",
    "token": "Host work\n  HostName %h.localhost\n",
    "pattern": "Host w*\n  HostName 127.0.0.1\n",
    "everything": "Host *\n  HostName localhost\n",
    "match": "Match originalhost work\n  HostName 127.1\n",
    "exec": "Match exec true\n  HostName ::1\n",
    "include": "Include {home}/.ssh/more\n",
    "jump is home": "Host work\n  HostName 192.0.2.77\n  ProxyJump root@127.0.0.1:{port}\n",
    "jump is an own address": "Host work\n  HostName 192.0.2.77\n  ProxyJump ssh://root@{own}:{port}\n",
    "jump is an alias home": (
        "Host gate\n  HostName ::1\n  Port {port}\nHost work\n  HostName 192.0.2.77\n  ProxyJump gate\n"
    ),
    "second jump is home": "Host work\n  HostName 192.0.2.77\n  ProxyJump root@{server},root@localhost:{port}\n",
    "jump of the jump is home": (
        "Host gate\n  HostName {server}\n  ProxyJump 127.0.0.1:{port}\n"
        "Host work\n  HostName 192.0.2.77\n  ProxyJump gate\n"
    ),
    "home behind a jump": "Host work\n  HostName 127.0.0.1\n  ProxyJump root@{server}\n",
    "own address behind a jump": "Host work\n  HostName {own}\n  ProxyJump root@{server}\n",
}


@pytest.fixture
def own(server: Server) -> str:
    """This machine's address towards ``server``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server.host, 9))
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("text", ALIASES.values(), ids=ALIASES)
def test_an_ssh_configuration_that_leads_home(laptop: Laptop, ears: Ears, server: Server, own: str, text: str) -> None:
    (laptop.home / ".ssh" / "more").write_text("Host work\n  HostName 127.0.0.1\n")
    laptop.ssh_config.write_text(text.format(own=own, home=laptop.home, port=ears.port, server=server.host))
    laptop.trust(server)
    configure(laptop, "work", ears.port)
    refused(laptop)
    assert ears.heard() == 0


def test_a_proxy_command_is_not_even_run(laptop: Laptop, ears: Ears) -> None:
    # what it is connected to cannot be judged, so this is no matter of where it leads: exit 4, before anything is run
    marker = laptop.home / "ran"
    command = f"sh -c 'touch {marker}; exec nc 127.0.0.1 {ears.port}'"
    laptop.ssh_config.write_text(f"Host work\n  HostName 192.0.2.77\n  ProxyCommand {command}\n")
    configure(laptop, "work")
    failed = laptop.l8s("list", check=False)
    assert (failed.returncode, failed.stdout) == (4, "")
    assert "ProxyCommand, which l8s does not run" in failed.stderr
    assert "Use ProxyJump" in failed.stderr
    assert not marker.exists()
    assert ears.heard() == 0
    laptop.ssh("work", "true", check=False)
    assert marker.exists(), "ssh itself runs it"


def with_file(path: str, file: Path) -> tuple[str, ...]:
    """The words before a program that sees ``file`` at ``path``, alone of all programs."""
    script = f'mount --bind {shlex.quote(str(file))} {path} && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")


@pytest.mark.parametrize(
    "addresses",
    [("{own}",), ("127.0.0.1",), ("::1",), ("127.1.2.3",), ("{server}", "{own}"), ("{own}", "{server}"), ("0.0.0.0",)],
    ids=" ".join,
)
def test_a_hosts_file_that_leads_home(
    laptop: Laptop, ears: Ears, server: Server, own: str, addresses: tuple[str, ...]
) -> None:
    meant = [address.format(own=own, server=server.host) for address in addresses]
    hosts = laptop.home / "hosts"
    hosts.write_text("".join(f"{address} build.example.com\n" for address in ("127.0.0.1 localhost", *meant)))
    configure(laptop, "build.example.com", ears.port)
    inside = with_file("/etc/hosts", hosts)
    assert laptop.run(*inside, "getent", "ahosts", "build.example.com").stdout, "the file is in use"
    refused(laptop, inside=inside)
    assert ears.heard() == 0


@frozen
class Resolver:
    """A DNS server at ``address`` that gives the ``answers`` in turn, the last one for ever; ``asked`` counts."""

    address: str
    asked: list[str]


@contextmanager
def resolver(answers: Sequence[str]) -> Iterator[Resolver]:
    asked: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        while True:  # other tests may run one too
            address = f"127.53.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
            try:
                wire.bind((address, 53))
                break
            except OSError as error:
                assert error.errno == errno.EADDRINUSE

        def serve() -> None:
            while (query := wire.recvfrom(4096)) and query[0]:
                data, sender = query
                end = data.index(b"\0", 12) + 1
                kind = struct.unpack("!H", data[end : end + 2])[0]
                records = b""
                if kind == 1:  # A, RFC 1035; time to live 0
                    answer = answers[min(len(asked), len(answers) - 1)]
                    asked.append(answer)
                    records = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(answer)
                header = data[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if records else 0, 0, 0)
                wire.sendto(header + data[12 : end + 4] + records, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Resolver(address, asked)
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (address, 53))
            thread.join(timeout=10)
            assert not thread.is_alive()


def resolv_conf(laptop: Laptop, dns: Resolver) -> tuple[str, ...]:
    file = laptop.home / "resolv.conf"
    file.write_text(f"nameserver {dns.address}\noptions timeout:2 attempts:1\n")
    return with_file("/etc/resolv.conf", file)


@pytest.mark.parametrize("answer", ["127.0.0.1", "{own}", "0.0.0.0"])
def test_a_dns_name_that_leads_home(laptop: Laptop, ears: Ears, own: str, answer: str) -> None:
    configure(laptop, "build.example.com", ears.port)
    with resolver([answer.format(own=own)]) as dns:
        refused(laptop, inside=resolv_conf(laptop, dns))
        assert dns.asked
    assert ears.heard() == 0


def test_a_dns_name_that_turns_home_once_it_was_judged(laptop: Laptop, ears: Ears, server: Server, own: str) -> None:
    # the server listens at the same port as this machine's ears, so that only the address decides
    server.start_sshd(f"-p {ears.port}", pid_file="/run/l8s-second-sshd.pid")
    try:
        configure(laptop, "build.example.com", ears.port)
        laptop.env["L8S_MULTIPLEX"] = "0"  # over a connection that is kept no name is asked for again
        pins = laptop.home / ".l8s" / "known_hosts"
        pins.write_text(f"{server_name('build.example.com', ears.port)} {server.host_key.line}\n")
        pins.chmod(0o600)
        with resolver([server.host, own]) as dns:
            inside = resolv_conf(laptop, dns)
            listed = laptop.run(*inside, "l8s", "list")
            assert dns.asked[0] == server.host
            assert "no containers" in (listed.stdout + listed.stderr).lower()
            assert ears.heard() == 0
            # and from the second command on it is refused
            refused(laptop, inside=inside)
            assert dns.asked[-1] == own
        assert ears.heard() == 0
    finally:
        server.run("kill $(cat /run/l8s-second-sshd.pid)")


# What only the machine itself can tell


@frozen
class OwnSSHD:
    """An sshd of this very machine, on all its addresses, that lets the laptop's key in as root."""

    port: int
    key: str
    log: Path

    def asked(self) -> str:
        return self.log.read_text(errors="replace")


OWN_SSHD = r"""
set -e
mount -t tmpfs none "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" none "$1/root"
mount --rbind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mkdir -p "$1/root/run/sshd" "$1/root/run/podman"
mount --bind /run/podman "$1/root/run/podman"
install -d -m700 "$1/root/root/.ssh"
install -m600 "$3" "$1/root/root/.ssh/authorized_keys"
install -m600 "$4" "$1/root/root/host_key"
exec chroot "$1/root" /usr/sbin/sshd -D -e -p "$5" -h /root/host_key -o LogLevel=DEBUG1 -o UsePAM=no \
  -o PermitRootLogin=prohibit-password -o PidFile=none -f /dev/null
"""
"""The lab's tree has the program; kernel, network, clock and the (trapped) Podman socket are this machine's."""


@pytest.fixture
def own_sshd(run: Run, server: Server, tmp_path: Path) -> Iterator[OwnSSHD]:
    tree = Path(os.environ.get("LAB_CACHE", "/var/cache/l8s-lab")) / f"rootfs-{server.suite}"
    key, log, place = tmp_path / "host_key", tmp_path / "log", tmp_path / "place"
    place.mkdir()
    complete(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=10)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(place), str(tree), f"{run.key_file}.pub", str(key), str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_SSHD, "sh", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 10
        while "Server listening on 0.0.0.0" not in log.read_text(errors="replace"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.02)
        yield OwnSSHD(port, key.with_suffix(".pub").read_text().rsplit(maxsplit=1)[0], log)
    finally:
        process.terminate()
        process.wait(timeout=10)


def pin(laptop: Laptop, host: str, port: int, key: str) -> None:
    pins = laptop.home / ".l8s" / "known_hosts"
    pins.parent.mkdir(mode=0o700, exist_ok=True)
    with pins.open("a") as lines:
        lines.write(f"{server_name(host, port)} {key}\n")
    pins.chmod(0o600)


def refused_by_the_machine(laptop: Laptop, sshd: OwnSSHD) -> None:
    """l8s logs in to this machine, asks who it is, and nothing else."""
    said = refused(laptop)
    assert "its boot id is this machine's own" in said
    assert "Accepted publickey for root" in sshd.asked()
    assert "direct-streamlocal" not in sshd.asked()
    assert "dial-stdio" not in sshd.asked()


def test_the_sshd_of_this_machine_would_forward_to_podman(laptop: Laptop, own_sshd: OwnSSHD, own: str) -> None:
    # the control of the tests below: ssh gets a forwarding to a socket of this machine, and the log has it
    stand_in, near = ROOTFUL_SOCKET.with_name(f"l8s-test-{own_sshd.port}"), laptop.home / "near"
    with socket.socket(socket.AF_UNIX) as podman:
        podman.bind(str(stand_in))
        podman.listen()
        podman.settimeout(20)
        options = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={laptop.home}/heard")
        argv = ("ssh", *options, "-p", str(own_sshd.port), "-N", "-L", f"{near}:{stand_in}", f"root@{own}")
        tunnel = laptop.start(*argv)
        try:
            deadline = time.monotonic() + 10
            while not near.exists():
                assert tunnel.poll() is None and time.monotonic() < deadline, "no tunnel"
                time.sleep(0.02)
            with socket.socket(socket.AF_UNIX) as knock:
                knock.connect(str(near))
                podman.accept()[0].close()
        finally:
            tunnel.terminate()
            tunnel.communicate(timeout=10)
            stand_in.unlink()
    assert "direct-streamlocal" in own_sshd.asked()


def test_a_reverse_tunnel_home(laptop: Laptop, server: Server, own_sshd: OwnSSHD) -> None:
    server.start_sshd("-p 2023 -o GatewayPorts=yes", pid_file="/run/l8s-gateway.pid")
    options = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-p", "2023")
    known = laptop.home / "known"
    known.write_text(f"[{server.host}]:2023 {server.host_key.line}\n")
    tunnel = laptop.start(
        *("ssh", *options, "-o", f"UserKnownHostsFile={known}", "-o", "ExitOnForwardFailure=yes"),
        *("-N", "-R", f"0.0.0.0:2222:127.0.0.1:{own_sshd.port}", f"root@{server.host}"),
    )
    try:
        wait_for_port(server.host, 2222, tunnel)
        pin(laptop, server.host, 2222, own_sshd.key)
        configure(laptop, server.host, 2222)
        refused_by_the_machine(laptop, own_sshd)
    finally:
        tunnel.terminate()
        tunnel.communicate(timeout=10)
        server.run("kill $(cat /run/l8s-gateway.pid)")


def wait_for_port(host: str, port: int, tunnel: subprocess.Popen[str]) -> None:
    """Wait until ``tunnel``, an ssh, has made ``port`` listen."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((host, port), timeout=2).close()
            return
        except OSError:
            assert tunnel.poll() is None, tunnel.communicate()
            assert time.monotonic() < deadline, f"nothing listens at {host}, port {port}"
            time.sleep(0.05)


def test_a_jump_host_that_knows_the_way_home(laptop: Laptop, server: Server, own: str, own_sshd: OwnSSHD) -> None:
    # a name that this machine cannot resolve, and the jump host resolves to this machine
    server.run(f"cp /etc/hosts /etc/hosts.before; echo {own} base.internal >> /etc/hosts")
    try:
        laptop.ssh_config.write_text(f"Host base.internal\n  ProxyJump root@{server.host}\n")
        laptop.trust(server)
        pin(laptop, "base.internal", own_sshd.port, own_sshd.key)
        configure(laptop, "base.internal", own_sshd.port)
        refused_by_the_machine(laptop, own_sshd)
    finally:
        server.run("mv /etc/hosts.before /etc/hosts")


def test_a_forwarded_port_of_another_machine(laptop: Laptop, server: Server, own: str, own_sshd: OwnSSHD) -> None:
    # an address that is the server's, and packets that come back here
    server.run(
        "printf %s 1 > /proc/sys/net/ipv4/ip_forward;"
        f" iptables -w -t nat -A PREROUTING -p tcp --dport 2224 -j DNAT --to-destination {own}:{own_sshd.port};"
        " iptables -w -t nat -A POSTROUTING -p tcp -j MASQUERADE"
    )
    try:
        pin(laptop, server.host, 2224, own_sshd.key)
        configure(laptop, server.host, 2224)
        refused_by_the_machine(laptop, own_sshd)
    finally:
        server.run(
            f"iptables -w -t nat -D PREROUTING -p tcp --dport 2224 -j DNAT --to-destination {own}:{own_sshd.port};"
            " iptables -w -t nat -D POSTROUTING -p tcp -j MASQUERADE"
        )


@pytest.mark.parametrize("command", [("list",), ("create", "x"), ("test-connection",)], ids=lambda words: words[0])
def test_a_container_on_this_kernel(
    extra_server: Callable[..., Server], laptop: Laptop, command: tuple[str, ...]
) -> None:
    server = extra_server("bookworm", boot_offset=0)
    laptop.configure(server)
    server.run("systemctl stop podman.service")
    failed = laptop.l8s(*command, check=False)
    assert failed.returncode == 3, failed.stderr
    assert LOCAL in failed.stderr
    assert "booted at the same moment" in failed.stderr
    assert REMOTE_ONLY in failed.stderr
    state = server.run("systemctl is-active podman.service", check=False).stdout.strip()
    assert state == "inactive", "the API was touched: its socket starts the service"
