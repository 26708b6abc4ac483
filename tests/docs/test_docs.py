"""The pages say what is true: nothing is undocumented, what is shown runs, and every link leads somewhere."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generated_pages
import pytest
from markdown.extensions.toc import slugify

import l8s_core as l8s
from l8s_cli import hookspecs as cli_hookspecs
from l8s_cli.main import BUILT_IN
from l8s_core import agent, config, errors, hookspecs, names, ssh_tools
from l8s_core.model import Profile
from l8s_core.processes import Completed
from l8s_core.testing import FakeBackend
from l8s_yaml.store import YAMLStore

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
README = (ROOT / "README.md").read_text("utf-8")
OUTPUT_ONLY = {"UsageError", "OutputLost", "UnexpectedError"}
"""Names that only the command's output has, see `l8s_cli.report`."""

ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, l8s.L8sError) and value.__module__ == errors.__name__
}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|^ {4}.*?$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(text: str, level: int) -> list[str]:
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"^{'#' * level} (.+)$", outside, re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Errors


def test_every_error_has_a_section_and_every_section_an_error() -> None:
    assert set(headings(page("errors.md"), 2)) == {*ERRORS, *OUTPUT_ONLY, "Exit codes"}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_a_section_has_the_exit_code_and_what_to_do(name: str) -> None:
    section = sections(page("errors.md"))[name]
    assert section.strip().startswith(f"Exit code {ERRORS[name].exit_code}.")
    assert "**What to do:**" in section


def test_the_table_has_every_exit_code_that_is_used() -> None:
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", sections(page("errors.md"))["Exit codes"], re.M)}
    assert table == {0, *(error.exit_code for error in ERRORS.values())}


# What is generated


@pytest.mark.parametrize("name", sorted(generated_pages.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    same = page(name) == generated_pages.renewed(name)
    assert same, f"docs/{name} is not what the code says now; run: python tests/docs/generated_pages.py"


def test_every_hook_and_command_is_on_its_page() -> None:
    found = {name for module in (hookspecs, cli_hookspecs) for name, _ in generated_pages.hooks(module)}
    assert len(found) == 8
    assert set(headings(page("hooks.md"), 2)) == found
    assert {f"l8s {name}" for name in BUILT_IN} <= set(headings(page("cli.md"), 2))
    assert all(f"[`{name}`]" in page("plugins.md") for name in found)


def test_the_readme_lists_every_command() -> None:
    listed = " ".join(re.findall(r"^\| (`.*?) \| ", README, re.M))
    assert [name for name in BUILT_IN if not re.search(rf"[ `]{re.escape(name)}\b", listed)] == []


def test_the_readme_says_how_fast_as_it_was_measured() -> None:
    rows = re.findall(r"^\| ([A-Z].+?) \| (\S+ m?s) \| (\S+ m?s) \| (\S+ m?s)(, by hand)? \|$", README, re.M)
    assert len(rows) == 3
    for what, *figures, by_hand in rows:
        rival = "by hand" if by_hand else "podman --remote"
        for who, figure in zip(("l8s, warm", "l8s, cold", rival), figures, strict=True):
            assert f"| {what} | podman-5.4 | 50 ms | {who} | {figure} |" in page("performance.md")


# Configuration


def test_every_key_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \|", sections(page("configuration.md"))["Keys"], re.M))
    assert tuple(rows) == config.SETTINGS
    plain = Profile(name="dev", remote_host="server.example.com", remote_user="root")
    for key, said in rows.items():
        value = getattr(plain, key)
        if key in ("remote_host", "remote_user"):
            assert said == "required"
        elif key == "container_prefix":
            assert (said, value) == ("the profile's name", plain.name)
        elif key == "remote_port":
            assert (value, said) == (None, "your ssh configuration's, else 22")
        elif key == "multiplex":
            assert (said, value) == ("`10m`", names.idle_time("10m"))
        elif value == {}:
            assert said == "none"
        else:
            assert said == f"`{str(value).lower() if isinstance(value, bool) else value}`", key


@pytest.mark.parametrize("text", fenced(page("configuration.md"), "yaml"))
def test_every_config_that_is_shown_is_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    parsed = config.parse(YAMLStore(file).load())
    assert parsed.names()
    for name in parsed.names():
        assert parsed.profile(name).remote_user == "root"


def test_the_whole_config_has_every_key() -> None:
    whole = next(text for text in fenced(page("configuration.md"), "yaml") if "options" in text)
    assert tuple(re.findall(r"^([a-z_]+):", whole, re.M)) == config.SETTINGS


# Python


def example_files() -> set[str]:
    return {path.read_text("utf-8").strip() for path in (ROOT / "examples").rglob("*.py")}


@pytest.mark.parametrize("text", fenced(page("plugins.md"), "python") + fenced(README, "python")[1:])
def test_a_plugin_that_is_shown_is_a_file_of_the_examples(text: str) -> None:
    assert text.strip() in example_files()


def test_the_pyproject_that_is_shown_is_the_examples() -> None:
    (shown,) = fenced(page("plugins.md"), "toml")
    assert shown.strip() == (ROOT / "examples" / "staging_profile" / "pyproject.toml").read_text("utf-8").strip()


def test_the_readmes_library_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made: list[FakeBackend] = []

    class Backend:
        """What the example's profile leads to: containers in memory."""

        @l8s.hookimpl
        def l8s_profiles(self) -> Iterator[Profile]:
            yield Profile(name="staging", remote_host="staging.example.com", remote_user="root", backend="memory")

        @l8s.hookimpl
        def l8s_remote_backends(self) -> Iterator[l8s.BackendProvider]:
            yield l8s.BackendProvider(name="memory", summary="containers in memory", factory=self.make)

        def make(self, profile: Profile) -> FakeBackend:
            backend = FakeBackend(profile)
            backend.on_exec(self.python)
            made.append(backend)
            return backend

        def python(self, command: Any) -> l8s.ExecResult | None:
            if command.argv == ("python3", "--version"):
                return l8s.ExecResult(exit_code=0, stdout_bytes=b"Python 3.13.5")
            return None

    def load(**options: Any) -> l8s.Session:
        host = l8s.PluginHost.load(third_party=False, environ={})
        host.register(Backend(), "example")
        return l8s.Session(host, environ={})

    key = l8s.PublicKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f")
    monkeypatch.setattr(l8s.Session, "load", load)
    monkeypatch.setattr(agent, "select_key", lambda profile: key)
    monkeypatch.setattr(ssh_tools, "login_works", lambda alias, **options: Completed(("ssh",), 0, b"", b""))
    exec(compile(fenced(README, "python")[0], "README.md", "exec"), {})
    assert capsys.readouterr().out == "Python 3.13.5 0\n"
    assert "Host staging-myapp" in (tmp_path / ".l8s" / "ssh_config").read_text()
    (backend,) = made
    assert {"create", "exec", "close"} <= {call.method for call in backend.calls}


# Promises

NODE = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)?test_\w+)`")


def promises() -> dict[str, str]:
    """What SECURITY.md promises: each one's first words, with all of its text."""
    parts = re.split(r"^\*\*(.+?)\*\*", sections(page("SECURITY.md"))["What is promised"], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names_in(file: Path) -> set[str]:
    """The tests that pytest finds in a file, by their names there."""
    tree = ast.parse(file.read_text("utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for outer in tree.body:
        if isinstance(outer, ast.ClassDef):
            found |= {f"{outer.name}::{node.name}" for node in outer.body if isinstance(node, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("promise", promises())
def test_every_promise_is_held_by_tests_that_exist(promise: str) -> None:
    named = NODE.findall(promises()[promise])
    assert named, f"no test is named for: {promise}"
    assert [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)] == []


def test_no_test_is_named_in_another_form() -> None:
    text = page("SECURITY.md")
    assert text.count("::test_") == len(NODE.findall(text))
    assert len(promises()) >= 11


# Links, words, and the seed's picture


def anchors(path: Path) -> set[str]:
    text = path.read_text("utf-8")
    return {slugify(heading.replace("`", ""), "-") for level in (1, 2, 3) for heading in headings(text, level)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    text = without_code(path.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{link} in {path.name} leads nowhere"
        assert file.is_relative_to(ROOT), f"{link} in {path.name} leaves the repository"
        if anchor:
            assert anchor in anchors(file), f"{link} in {path.name}: there is no such heading"


def test_the_readme_names_both_commands_and_they_exist() -> None:
    for command in ("./scripts/demo", "./scripts/test"):
        assert re.search(rf"^ +{re.escape(command)}\b", README, re.M)
        assert (ROOT / command).is_file()


def test_the_readme_has_a_diagram_that_mermaid_can_read() -> None:
    (diagram,) = fenced(README, "mermaid")
    labels = re.findall(r"\w\[([^\]]*)\]", diagram)
    assert {label.strip('"') for label in labels} >= {"l8s CLI", "ssh-agent", "SSH Daemon", "Container N"}
    # Unquoted, a ( or a leading / in a label means another shape and is a parse error.
    assert [label for label in labels if not re.fullmatch(r'"[^"]*"', label)] == []
    assert diagram.count("subgraph") == 4
    assert len(re.findall(r"^ *end$", diagram, re.M)) == 4


FORBIDDEN = ["py" + "pi", "unpkg" + ".com", "jsdelivr" + ".net", "npm" + "js", "docker" + ".io", "qu" + "ay.io"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_names_a_registry_or_a_machine(path: Path) -> None:
    text = path.read_text("utf-8").lower()
    assert [word for word in FORBIDDEN if word in text] == []
    assert re.findall(r"(?<![\w.~])/(?:root|work|home/(?!me\b|dev\b)\w+)/", text) == []


def test_the_record_of_decisions_is_complete() -> None:
    records = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    index = re.findall(r"\]\((0[^)]+\.md)\)", page("decisions/index.md"))
    assert index == records
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for name in records:
        assert headings(page(f"decisions/{name}"), 2) == ["Context", "Decision", "Consequence"]


def test_the_messages_that_name_a_page_name_one_that_exists() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    named = {match for path in sources for match in re.findall(r"docs/[A-Za-z_/]+\.md", path.read_text("utf-8"))}
    assert named >= {"docs/REMOTE_SETUP.md", "docs/errors.md"}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
