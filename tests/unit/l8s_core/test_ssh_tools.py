from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from l8s_core import known_hosts, processes, ssh_tools
from l8s_core.errors import AgentUnavailable, CommandNotFound, CommandTimedOut, InvalidValue, SSHConfigError
from l8s_core.model import PublicKey
from l8s_core.ssh_tools import Jump


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def config(home: Path) -> Path:
    return home / ".ssh" / "config"


def make_key(path: Path) -> PublicKey:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", path], check=True)
    return known_hosts.parse_public_key(path.with_suffix(".pub").read_text())


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    # a short path: a unix socket's has 107 bytes
    with tempfile.TemporaryDirectory(prefix="l8s-") as directory:
        path = f"{directory}/agent"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not Path(path).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            monkeypatch.setenv("SSH_AUTH_SOCK", path)
            yield process
        finally:
            process.kill()
            process.wait()


class TestConfigOption:
    def test_names_the_file_of_this_home(self, config: Path) -> None:
        config.write_text("")
        assert ssh_tools.config_option() == ("-F", str(config))
        assert ssh_tools.ssh_command("x") == ["ssh", "-F", str(config), "x"]

    def test_never_reads_another_homes_file(self) -> None:
        assert ssh_tools.config_option() == ("-F", "/dev/null")

    def test_is_empty_where_ssh_agrees(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        theirs = pwd.getpwuid(os.getuid()).pw_dir
        monkeypatch.setenv("HOME", theirs)
        assert ssh_tools.config_option() == ()
        (tmp_path / "link").symlink_to(theirs)
        monkeypatch.setenv("HOME", str(tmp_path / "link"))
        assert ssh_tools.config_option() == ()


class TestResolveAlias:
    def test_without_configuration_a_host_is_itself(self) -> None:
        found = ssh_tools.resolve_alias("Build.example.com", user="root")
        assert found == ssh_tools.AliasSettings(hostname="build.example.com", user="root", port=22)

    def test_takes_what_ssh_makes_of_it(self, config: Path) -> None:
        config.write_text(
            "Host build\n HostName 10.1.2.3\n Port 2022\n User other\n ProxyJump me@gate:2222,[::1]:23\n"
            "Host named\n HostKeyAlias pinned\n ProxyCommand nc %h %p\n"
            "Host direct\n ProxyJump none\nHost *\n ProxyJump gate\n"
        )
        found = ssh_tools.resolve_alias("build", user="root")
        assert (found.hostname, found.user, found.port) == ("10.1.2.3", "root", 2022)
        assert found.proxy_jump == "me@gate:2222,[::1]:23"
        assert ssh_tools.resolve_alias("build").user == "other"
        named = ssh_tools.resolve_alias("named", user="root")
        assert named.host_key_alias == "pinned"
        assert named.proxy_command == "nc %h %p"
        assert ssh_tools.resolve_alias("direct", user="root").proxy_jump == ""
        assert ssh_tools.resolve_alias("any", user="root").proxy_jump == "gate"

    def test_reports_sshs_own_words_escaped(self, config: Path) -> None:
        config.write_text("Host a\n Port 22\n Nonsense\x1b[31m yes\n")
        with pytest.raises(SSHConfigError, match="line 3") as caught:
            ssh_tools.resolve_alias("a", user="root")
        assert caught.value.exit_code == 9
        assert "\x1b" not in caught.value.message

    def test_does_not_wait_for_ever(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ssh_tools, "RESOLVE_TIMEOUT", 0.3)
        config.write_text('Match exec "sleep 30"\n Port 22\n')
        with pytest.raises(SSHConfigError, match="did not say"):
            ssh_tools.resolve_alias("a", user="root")

    @pytest.mark.parametrize("host", ["", "-oProxyCommand=touch x", "a b", "a\nb"])
    def test_refuses_what_is_no_host(self, host: str) -> None:
        with pytest.raises(InvalidValue):
            ssh_tools.resolve_alias(host, user="root")
        with pytest.raises(InvalidValue):
            ssh_tools.resolve_alias("host", user=host)


class TestParseJump:
    @pytest.mark.parametrize(
        ("text", "jumps"),
        [
            ("", ()),
            ("none", ()),
            ("gate", (Jump(None, "gate", None),)),
            ("me@gate:2222", (Jump("me", "gate", 2222),)),
            ("[::1]:22", (Jump(None, "::1", 22),)),
            ("me@[10.0.0.1]", (Jump("me", "10.0.0.1", None),)),
            ("ssh://me@gate:2222/", (Jump("me", "gate", 2222),)),
            ("ssh://m%65@[fe80::1]", (Jump("me", "fe80::1", None),)),
            ("a, b@c:1", (Jump(None, "a", None), Jump("b", "c", 1))),
        ],
    )
    def test_accepts(self, text: str, jumps: tuple[Jump, ...]) -> None:
        assert ssh_tools.parse_jump(text) == jumps

    @pytest.mark.parametrize(
        "text", ["a,", "::1", "a:b", "a:0", "a:99999", "@a", "a b", "-oX@a", "a@-b", "ssh://", "ssh://a/b", "[a", "a;b"]
    )
    def test_refuses(self, text: str) -> None:
        with pytest.raises(InvalidValue):
            ssh_tools.parse_jump(text)

    def test_understands_what_ssh_prints(self, config: Path) -> None:
        config.write_text("Host a\n ProxyJump me@10.0.0.1:2222,you@[fe80::1]:24,gate\n")
        printed = ssh_tools.resolve_alias("a", user="root").proxy_jump
        assert ssh_tools.parse_jump(printed) == (
            Jump("me", "10.0.0.1", 2222),
            Jump("you", "fe80::1", 24),
            Jump(None, "gate", None),
        )


class TestAgentKeys:
    def test_lists_the_keys(self, agent: object, home: Path) -> None:
        key = make_key(home / "key")
        subprocess.run(["ssh-add", "-q", home / "key"], check=True)
        assert ssh_tools.agent_keys() == (key,)
        assert ssh_tools.agent_keys()[0].comment == "a comment"

    def test_no_agent_is_told_in_the_seeds_words(self) -> None:
        with pytest.raises(AgentUnavailable) as caught:
            ssh_tools.agent_keys("~/.ssh/mine")
        assert caught.value.message == (
            "ssh-agent is required but not running.\n\n"
            "Please start ssh-agent and add your key:\n  eval $(ssh-agent)\n  ssh-add ~/.ssh/mine\n\n"
            "l8s requires ssh-agent for secure remote connections."
        )
        assert caught.value.exit_code == 6

    def test_a_missing_socket(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "gone"))
        with pytest.raises(AgentUnavailable, match="gone, and it does not exist"):
            ssh_tools.agent_keys()

    def test_a_socket_without_a_listener(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with tempfile.TemporaryDirectory(prefix="l8s-") as directory:
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(f"{directory}/dead")
            monkeypatch.setenv("SSH_AUTH_SOCK", f"{directory}/dead")
            with pytest.raises(AgentUnavailable, match="nothing is listening"):
                ssh_tools.agent_keys()

    def test_an_empty_agent(self, agent: object) -> None:
        with pytest.raises(AgentUnavailable, match="holds no key") as caught:
            ssh_tools.agent_keys("~/.ssh/mine")
        assert caught.value.hints[0] == "Add your key: ssh-add ~/.ssh/mine"

    def test_a_stopped_agent(self, agent: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ssh_tools, "AGENT_TIMEOUT", 0.3)
        agent.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(AgentUnavailable, match=r"silent for 0\.3 s"):
            ssh_tools.agent_keys()
        assert time.monotonic() - start < 5

    def test_no_ssh_add(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", "x")
        monkeypatch.setenv("PATH", str(home))
        with pytest.raises(CommandNotFound, match="ssh-add"):
            ssh_tools.agent_keys()


class TestKnownKeys:
    @pytest.fixture
    def file(self, home: Path) -> Path:
        return home / ".ssh" / "known_hosts"

    def test_without_a_file_nothing_is_known(self) -> None:
        assert ssh_tools.known_keys("a", 22) == ()
        assert ssh_tools.revoked_keys("a", 22) == ()

    def test_host_and_port_together_name_a_server(self, file: Path, home: Path) -> None:
        one, two = make_key(home / "1"), make_key(home / "2")
        file.write_text(f"a,10.0.0.1 {one.line}\n[a]:2222 {two.line} a comment\nab {two.line}\n")
        assert ssh_tools.known_keys("A", 22) == (one,)
        assert ssh_tools.known_keys("10.0.0.1", 22) == (one,)
        assert ssh_tools.known_keys("a", 2222) == (two,)
        assert ssh_tools.known_keys("b", 22) == ()

    def test_hashed_names_are_found(self, file: Path, home: Path) -> None:
        one = make_key(home / "1")
        file.write_text(f"[a.example]:2222 {one.line}\n")
        subprocess.run(["ssh-keygen", "-H", "-f", file], check=True, capture_output=True)
        assert "a.example" not in file.read_text()
        assert ssh_tools.known_keys("a.example", 2222) == (one,)

    def test_revoked_keys_and_authorities_are_not_trusted(self, file: Path, home: Path) -> None:
        one, two, authority = make_key(home / "1"), make_key(home / "2"), make_key(home / "3")
        file.write_text(f"a {one.line}\na {two.line}\n@revoked * {two.line}\n@cert-authority * {authority.line}\n")
        assert ssh_tools.known_keys("a", 22) == (one,)
        assert ssh_tools.revoked_keys("a", 22) == (two,)

    def test_damaged_lines_do_not_hide_the_others(self, file: Path, home: Path) -> None:
        one = make_key(home / "1")
        file.write_bytes(b"a ssh-ed25519 AAAA\n\xff\xfe\na\n" + f"a {one.line}\n".encode())
        assert ssh_tools.known_keys("a", 22) == (one,)

    def test_an_option_is_no_host(self, file: Path) -> None:
        file.write_text("")
        with pytest.raises(InvalidValue):
            ssh_tools.known_keys("-f", 22)


class TestLogin:
    def test_gives_sshs_own_answer(self, config: Path) -> None:
        config.write_text("Host a\n ProxyCommand false\n")
        completed = ssh_tools.login_works("a")
        assert completed.exit_code == 255
        assert completed.argv[-3:] == ("--", "a", "true")
        assert "StrictHostKeyChecking=yes" in completed.argv

    def test_has_a_deadline(self, config: Path) -> None:
        config.write_text("Host a\n ProxyCommand sleep 30\n")
        with pytest.raises(CommandTimedOut):
            ssh_tools.login_works("a", timeout=0.3)

    def test_stopping_what_does_not_run_is_quiet(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        ssh_tools.stop_multiplexing("a")
        monkeypatch.setenv("PATH", str(home))
        ssh_tools.stop_multiplexing("a")

    def test_stopping_asks_the_master_of_that_alias(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[list[str]] = []

        def run(argv: list[str], *, timeout: float) -> processes.Completed:
            asked.append(argv)
            return processes.Completed(tuple(argv), 255, b"", b"")

        monkeypatch.setattr(processes, "run", run)
        ssh_tools.stop_multiplexing("dev-a")
        assert asked == [["ssh", "-F", "/dev/null", "-O", "exit", "--", "dev-a"]]
