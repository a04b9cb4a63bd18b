"""
Runs a module with the running stack's environment: `python -m infra.stand_ins.inside infra.commands.provision FILE`.

With DATABASE_URL set, the module gets the caller's own environment: the same verbs work on any deployment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from infra.stand_ins import rundir
from infra.stand_ins.processes import environment


def main() -> NoReturn:
    env = environment()
    if not env.get("DATABASE_URL"):
        try:
            env |= rundir.read_description(Path(env.get("RUN_DIR") or ".local").resolve())["environment"]
        except rundir.StartError as error:
            sys.exit(f"{error}{_elsewhere(sys.argv[1])}")
    os.execve(sys.executable, [sys.executable, "-m", *sys.argv[1:]], env)  # noqa: S606  (becomes that module)


def _elsewhere(module: str) -> str:
    """Where the composition runs, commands have a container of their own."""
    if not Path(".env").exists():
        return ""
    return f"; of the composition: docker compose run --rm operator python -m {module} … (docs/operations.md, Commands)"


if __name__ == "__main__":
    main()
