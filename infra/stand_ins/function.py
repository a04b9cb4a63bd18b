"""
One function alone, in this terminal: `make function NAME=make-call PORT=9090`, or `python -m infra.stand_ins.function`.

It has the settings of the running stack and comes to its database under its own role. It stands beside the stack's
own copy of it: what is posted to PORT is answered here, what Pub/Sub pushes still goes to the stack's. With
DATABASE_URL set it has the caller's environment and needs no stack.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit, urlunsplit

from infra.deployment import rights
from infra.stand_ins import rundir
from infra.stand_ins.parts import PLATFORM, THREADS_OF, is_free
from infra.stand_ins.processes import ROOT, environment
from infra.stand_ins.rundir import Secrets, StartError

FUNCTIONS: Final = ROOT / "functions"
_FREE_PORT: Final = 9090


def command(name: str, port: int) -> list[str]:
    """
    functions-framework as a module: as a program of its own it finds no `lib`. Raises StartError for a function that
    is not there, and for a port that is taken.
    """
    known = sorted(path.parent.name for path in FUNCTIONS.glob("*/main.py"))
    if name not in known:
        raise StartError(f"There is no function {name or 'without a NAME'}: NAME is one of {', '.join(known)}")
    if not is_free(port):
        raise StartError(f"Port {port} is in use: choose another with PORT=…")
    return [
        *(sys.executable, "-m", "functions_framework", f"--source={FUNCTIONS / name / 'main.py'}"),
        *(f"--target={name.replace('-', '_')}", "--host=127.0.0.1", f"--port={port}"),
    ]


def settings(name: str, run_dir: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of the function. Raises StartError when there is neither a stack nor a DATABASE_URL."""
    platform = PLATFORM | ({"THREADS": THREADS_OF[name]} if name in THREADS_OF else {})
    if given.get("DATABASE_URL"):
        return {**platform, **given}
    try:
        stack: dict[str, str] = rundir.read_description(run_dir)["environment"]
    except StartError as error:
        raise StartError(f"{error}, or set DATABASE_URL and what else .env.example names") from None
    return {**given, **stack, **platform, "DATABASE_URL": _under_its_role(name, run_dir, stack["DATABASE_URL"])}


def _under_its_role(name: str, run_dir: Path, database_url: str) -> str:
    """The stack tells others the operator's address, who may do something else than a function."""
    address = urlsplit(database_url)
    if address.username != rights.OPERATOR:
        return database_url
    role = rights.role_of(name)
    password = Secrets.of(run_dir).password_of(role)
    return urlunsplit(address._replace(netloc=f"{role}:{password}@{address.hostname}:{address.port}"))


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="make function", description="Runs one function alone")
    parser.add_argument("name", nargs="?", default="", metavar="NAME")
    parser.add_argument("--port", type=int, default=_FREE_PORT)
    parser.add_argument("--run-dir", type=Path, default=Path(".local"))
    options = parser.parse_args()
    try:
        argv = command(options.name, options.port)
        env = settings(options.name, options.run_dir.resolve(), environment())
    except StartError as error:
        sys.exit(f"make function: {error}")
    print(f"{options.name} is at http://127.0.0.1:{options.port}/ (health: /health); Ctrl-C ends it", flush=True)
    os.chdir(ROOT)
    os.execve(argv[0], argv, env)  # noqa: S606  (becomes the function)


if __name__ == "__main__":
    main()
