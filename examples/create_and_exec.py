"""Create a container with a repository in it and run a command there.

python examples/create_and_exec.py [PROFILE [GIT_URL]]
"""

import sys

import l8s_core as l8s


def main(profile: str = "staging", repository: str = "https://git.example/app.git") -> None:
    with l8s.connect(profile=profile) as client:
        container = client.create(l8s.ContainerSpec(name="myapp", repository=repository, branch="main"))
        result = container.exec(["python3", "--version"], timeout=30)
        print(result.stdout, result.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
