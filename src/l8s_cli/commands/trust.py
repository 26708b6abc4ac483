"""``l8s trust``: a server's host key was changed on purpose; the new one is shown, and pinned when a person says so.

Not here: the decision itself (`l8s_cli.trust`).
"""

from __future__ import annotations

import click

from l8s_cli import prompts
from l8s_cli.commands.init import MAX_HOST_KEYS
from l8s_cli.invocation import Invocation, invocation
from l8s_cli.parsing import Checked, Command
from l8s_cli.trust import Trust
from l8s_core import names
from l8s_core.client import Client
from l8s_core.errors import HostKeyRejected


@click.command(
    "trust",
    cls=Command,
    examples=(
        ("l8s trust", "show the old and the new key of the active profile's server, and ask"),
        ("l8s trust --fingerprint SHA256:...", "for scripts: only that key"),
    ),
)
@click.option(
    "--fingerprint",
    "fingerprints",
    type=Checked(names.fingerprint),
    multiple=True,
    metavar="SHA256:...",
    help="Trust the key with this fingerprint, and no other, without asking. May be given for each jump host too.",
)
@invocation
def trust(run: Invocation, fingerprints: tuple[str, ...]) -> None:
    """Trust a server's new host key, after seeing both.

    For a server that was installed anew or given new keys. Shows the trusted and the offered fingerprint and asks; the
    old key stays trusted unless you say yes and the connection then works to its end. Nothing is ever replaced without
    being told so: without a terminal it needs --fingerprint.
    """
    profile = run.chosen_profile()
    run.warn_of_ignored_settings(profile.name)
    words = ["l8s", "trust", *(("--profile", run.profile) if run.profile is not None else ())]
    trusting = Trust(
        run.session.known_hosts,
        fingerprints,
        can_ask=prompts.interactive(),
        command=names.shell_words(words),
        out=run.out,
        option="--fingerprint",
        replaces=True,
    )
    client = run.session.client(profile)
    try:
        _connect(run, client, trusting)
        server = str(client.endpoint)
    except BaseException:
        trusting.take_back()
        raise
    finally:
        client.close()
    changes = [
        {
            "host": host,
            "before": [key.fingerprint for key in before],
            "after": [key.fingerprint for key in run.session.known_hosts.keys(host)],
        }
        for host, before in trusting.pinned.items()
    ]
    text = "".join(f"The host key of {change['host']} is trusted now.\n" for change in changes)
    run.out.data(
        "trust",
        {"profile": profile.name, "server": server, "changes": changes},
        text or f"The host key of {server} is the trusted one; there is nothing to do.\n",
    )


def _connect(run: Invocation, client: Client, trusting: Trust) -> None:
    """Connect to the end, deciding on each host key on the way; the last attempt decides on none."""
    for _ in range(MAX_HOST_KEYS):
        try:
            client.open(run.steps() if run.verbose else None)
        except HostKeyRejected as rejected:
            trusting.decide(rejected)
        else:
            return
    client.open(run.steps() if run.verbose else None)
