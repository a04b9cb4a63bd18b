"""The virtual environment of the peers, apart from ours, and the Redis of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.stand_ins.processes import ROOT

FOLDER: Final = ROOT / ".cache" / "peers"
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")


def python(say: Callable[[str], None], folder: Path = FOLDER) -> str:
    """The interpreter that has what the peers need; made on first use, and again when the requirements change."""
    interpreter, installed = folder / "bin" / "python", folder / REQUIREMENTS.name
    if not installed.exists() or installed.read_bytes() != REQUIREMENTS.read_bytes():
        say(f"installing the services to measure beside into {folder}; once, for about a minute")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        arguments = ["--disable-pip-version-check", "--no-input", "--quiet", "--require-hashes"]
        subprocess.run(
            [str(interpreter), "-m", "pip", "install", *arguments, "-r", str(REQUIREMENTS)],
            check=True,
            stdout=sys.stderr,
        )
        shutil.copy(REQUIREMENTS, installed)
    return str(interpreter)


def redis_server() -> str | None:
    """Where it is; None when this machine has none."""
    return shutil.which("redis-server")
