"""Create or remove a container and send this very process a signal at a step: dies.py ACTION NAME SIGNAL STEP STATE."""

from __future__ import annotations

import os
import sys

import l8s_core as l8s


def main(action: str, name: str, number: int, wanted: str, state: str) -> int:
    def watch(step: l8s.Step) -> None:
        if (step.name, step.state) == (wanted, state):
            os.kill(os.getpid(), number)

    try:
        with l8s.connect() as client:
            if action == "create":
                client.create(l8s.ContainerSpec(name=name), on_step=watch)
            else:
                client.remove(name, on_step=watch)
    except l8s.L8sError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]))
