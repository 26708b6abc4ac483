"""Run a command and send this very process a signal at a step: dies.py VERB NAME SIGNAL STEP STATE [keep].

VERB is create, remove (with "keep" the volumes stay), sync, start, stop or restart. The last three have no steps, and
count as one step of their own name.
"""

from __future__ import annotations

import os
import sys

import l8s_core as l8s


def main(verb: str, name: str, number: int, wanted: str, state: str, *, keep: bool) -> int:
    def reached(step: str, now: str) -> None:
        if (step, now) == (wanted, state):
            os.kill(os.getpid(), number)

    def watch(step: l8s.Step) -> None:
        reached(step.name, step.state)

    try:
        with l8s.connect() as client:
            if verb == "create":
                client.create(l8s.ContainerSpec(name=name), on_step=watch)
            elif verb == "remove":
                client.remove(name, keep_volumes=keep, on_step=watch)
            elif verb == "sync":
                client.sync(on_step=watch)
            else:
                reached(verb, "started")
                {"start": client.start, "stop": client.stop, "restart": client.restart}[verb](name)
                reached(verb, "done")
    except l8s.L8sError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    verb, name, number, step, state, *rest = sys.argv[1:]
    sys.exit(main(verb, name, int(number), step, state, keep=bool(rest)))
