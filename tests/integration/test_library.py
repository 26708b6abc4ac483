"""The library on real servers: the example of five lines, with a repository that asks for a password."""

from __future__ import annotations

import base64
import http.server
import sys
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from lab import REPOSITORY, Laptop, Server, complete

EXAMPLE = REPOSITORY / "examples" / "create_and_exec.py"
PASSWORD = "s3cret token"


class AskingHandler(http.server.SimpleHTTPRequestHandler):
    """Files for whoever knows the password."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _ready(server: Server, image: str, laptop: Laptop) -> Iterator[None]:
    laptop.configure(server, profile="staging")
    yield
    server.clear()


@pytest.fixture
def repository(server: Server, laptop: Laptop) -> Iterator[str]:
    """host:port/path of a repository with the branch ``main``, which asks for user and password."""
    work = laptop.home / "work"
    laptop.git("init", "-q", "-b", "main", work, cwd=laptop.home)
    (work / "app.py").write_text("print('app')\n")
    laptop.git("add", ".", cwd=work)
    laptop.git("commit", "-q", "-m", "First", cwd=work)
    bare = laptop.home / "served" / "app.git"
    laptop.git("clone", "-q", "--bare", work, bare, cwd=laptop.home)
    laptop.git("update-server-info", cwd=bare)
    address = f"{server.host.rpartition('.')[0]}.1"  # this machine, on the server's own network
    with http.server.ThreadingHTTPServer((address, 0), partial(AskingHandler, directory=str(bare.parent))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"{address}:{httpd.server_address[1]}/app.git"
        httpd.shutdown()
        thread.join()


def test_the_example_clones_and_stores_no_credentials(server: Server, laptop: Laptop, repository: str) -> None:
    containerfile = laptop.home / "Containerfile"
    containerfile.write_text(
        f"FROM {server.image}\n"
        "RUN printf '#!/bin/sh\\necho Python 3.11.2\\n' >/usr/local/bin/python3 && chmod 755 /usr/local/bin/python3\n"
    )
    laptop.l8s("build", "--file", containerfile, "--tag", "localhost/example:latest")
    laptop.configure(server, profile="staging", base_image="localhost/example:latest")
    url = f"http://user:{PASSWORD.replace(' ', '%20')}@{repository}"
    ran = laptop.run(sys.executable, EXAMPLE, "staging", url, timeout=120)
    assert ran.stdout == "Python 3.11.2\n 0\n"
    assert laptop.ssh("staging-myapp", "cat /workspace/project/app.py; git -C /workspace/project branch").stdout == (
        "print('app')\n* main\n"
    )
    assert laptop.ssh("staging-myapp", "git -C /workspace/project remote get-url origin").stdout.strip() == (
        f"http://{repository}"
    )
    for secret in (PASSWORD, PASSWORD.replace(" ", "%20"), base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        places = "$(podman mount staging-myapp) /var/lib/containers/storage/volumes"
        found = server.run(f"grep -rlF -- '{secret}' {places}", check=False)
        assert found.stdout == ""
        assert secret not in server.run("podman inspect staging-myapp").stdout
        local = complete(["grep", "-rlF", "--", secret, laptop.home / ".l8s"], check=False, timeout=10)
        assert local.stdout == ""


def test_a_clone_that_fails_leaves_nothing(server: Server, laptop: Laptop, repository: str) -> None:
    failed = laptop.l8s("--profile", "staging", "create", "x", f"http://user:wrong@{repository}", "main", check=False)
    assert failed.returncode == 1
    assert "could not be cloned" in failed.stderr
    assert "wrong" not in failed.stderr
    assert server.run("podman ps -aq; podman volume ls -q").stdout == ""
    missing = laptop.l8s("create", "x", f"http://user:{PASSWORD.replace(' ', '%20')}@{repository}", "nope", check=False)
    assert missing.returncode == 1
    assert "nope" in missing.stderr
    assert server.run("podman ps -aq; podman volume ls -q").stdout == ""
