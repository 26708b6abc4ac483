"""Hypothesis strategies for the values of `l8s_core.model`; everything they draw passes `l8s_core.names`.

The only module here that needs Hypothesis.
"""

from __future__ import annotations

import string

from attrs import evolve
from hypothesis import strategies as st

from l8s_core.model import ContainerSpec, HostBlock, Profile

_LOWER = string.ascii_lowercase + string.digits


def _lower_names(limit: int) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[a-z0-9]([a-z0-9-]{{0,{limit - 2}}}[a-z0-9])?", fullmatch=True)


def container_names() -> st.SearchStrategy[str]:
    """Containers' short names: ``myapp``."""
    return _lower_names(40)


def profile_names() -> st.SearchStrategy[str]:
    """Profiles' names, which are container prefixes as well."""
    return _lower_names(20)


def container_users() -> st.SearchStrategy[str]:
    """Users in a container."""
    return st.from_regex(r"[a-z_][a-z0-9_-]{0,31}", fullmatch=True)


def remote_users() -> st.SearchStrategy[str]:
    """Users on a server."""
    return st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", fullmatch=True)


def hosts() -> st.SearchStrategy[str]:
    """Host names under ``example.com`` and addresses that are no laptop's (RFC 5737, RFC 3849)."""
    label = st.text(_LOWER, min_size=1, max_size=20)
    names = st.lists(label, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "example.com"]))
    v4 = st.integers(1, 254).map(lambda number: f"192.0.2.{number}")
    v6 = st.integers(1, 0xFFFF).map(lambda number: f"2001:db8::{number:x}")
    return names | v4 | v6


def ports() -> st.SearchStrategy[int]:
    """TCP ports."""
    return st.integers(1, 65535)


def labels() -> st.SearchStrategy[dict[str, str]]:
    """Labels that a person may set."""
    keys = st.from_regex(r"[a-z0-9]([a-zA-Z0-9._/-]{0,30}[a-zA-Z0-9])?", fullmatch=True)
    values = st.text(max_size=40).filter(str.isprintable)
    return st.dictionaries(keys.filter(lambda key: not key.startswith("l8s.")), values, max_size=4)


def images() -> st.SearchStrategy[str]:
    """Image references with a registry and a tag."""
    part = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True).filter(lambda text: len(text) < 30)
    tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
    registry = st.sampled_from(["localhost", "registry.example.com", "registry.example.com:5000"])
    return st.builds(lambda host, path, name: f"{host}/{path}:{name}", registry, part, tag)


def repositories() -> st.SearchStrategy[str]:
    """Git URLs, some of them with credentials."""
    path = st.from_regex(r"[a-z0-9]{1,20}(/[a-z0-9]{1,20})?\.git", fullmatch=True)
    head = st.sampled_from(
        ["https://git.example.com/", "https://me:secret@git.example.com/", "ssh://git@git.example.com/"]
    )
    return st.builds(str.__add__, head | st.just("git@git.example.com:"), path)


def branches() -> st.SearchStrategy[str]:
    """Branch names."""
    return st.from_regex(r"[a-zA-Z0-9]{1,10}(/[a-zA-Z0-9_-]{1,10})?", fullmatch=True).filter(
        lambda text: text != "HEAD"
    )


def profiles() -> st.SearchStrategy[Profile]:
    """Profiles of remote servers."""
    return st.builds(
        Profile,
        name=profile_names(),
        remote_host=hosts(),
        remote_user=remote_users(),
        remote_port=st.none() | ports(),
        base_image=images(),
        container_user=container_users(),
        container_prefix=profile_names(),
        ssh_start_port=st.integers(1024, 65000),
        labels=labels(),
        host_key_checking=st.booleans(),
        forward_agent=st.booleans(),
    )


def container_specs() -> st.SearchStrategy[ContainerSpec]:
    """What people ask for; there is a branch only where there is a repository."""
    # strategies that are made anew for each example (flatmap) take ten times as long
    plain = st.builds(
        ContainerSpec,
        name=container_names(),
        image=st.none() | images(),
        labels=labels(),
        memory=st.none() | st.integers(16 * 1024**2, 1024**4),
        cpus=st.none() | st.integers(1, 64).map(float),
        pids=st.none() | st.integers(16, 4194304),
    )
    source = st.just((None, None)) | st.tuples(repositories(), st.none() | branches())
    return st.builds(lambda spec, pair: evolve(spec, repository=pair[0], branch=pair[1]), plain, source)


def host_blocks() -> st.SearchStrategy[HostBlock]:
    """Ssh aliases of containers."""
    plain = st.builds(
        HostBlock,
        alias=st.builds("{}-{}".format, profile_names(), container_names()),
        hostname=hosts(),
        port=ports(),
        user=container_users(),
        host_key_alias=st.just(""),
        known_hosts_file=st.sampled_from(["/home/me/.l8s/known_hosts", "/home/some one/.l8s/known_hosts"]),
        identity_file=st.sampled_from(["", "/home/me/.l8s/keys/0123456789abcdef.pub"]),
        proxy_jump=st.sampled_from(["", "bastion.example.com", "me@bastion.example.com:2222"]),
        host_key_checking=st.booleans(),
        forward_agent=st.booleans(),
    )
    return plain.map(lambda block: evolve(block, host_key_alias=f"{block.alias}.l8s"))
