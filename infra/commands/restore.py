"""
Puts a dump in the place of the database: `make restore FILE=backups/gateway-….dump YES=1`.

Everything of the composition but PostgreSQL is stopped, the dump is restored, and everything is started again,
migrations first: a dump of an older version becomes one of this version. The database before is kept under another
name. With `--here` (HERE=1) only the database is changed: stop the functions before, and migrate after it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from infra.commands.backup import compose, programs
from infra.deployment import dump
from infra.deployment.dump import DumpError

_DATABASE = "postgres"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make restore", description="Puts a dump in the place of the database")
    parser.add_argument("file", type=Path)
    parser.add_argument("--yes", action="store_true", help="do it; without, only the dump is looked at")
    parser.add_argument("--here", action="store_true", help="with pg_restore of this machine, and nothing is stopped")
    given = parser.parse_args(arguments)
    asked = programs(here=given.here)
    try:
        dump.check(asked, given.file)
        if not given.yes:
            print(
                f"{given.file} is a dump of the gateway. YES=1 puts it in the place of the database: what came since is"
            )
            print("then only in the database before, which is kept under another name")
            return 0
        if not given.here:
            _stop_all_but_the_database()
        before = dump.load(asked, given.file, now=datetime.now(UTC))
    except (DumpError, OSError) as error:
        print(f"make restore: {error}", file=sys.stderr)
        if given.yes and not given.here:
            print("Nothing is restored. docker compose up --detach starts the gateway as it was", file=sys.stderr)
        return 1
    drop = shlex.join([*asked.prefix, "dropdb", f"--username={asked.user}", "--force", before])
    kept = f"; the one before is {before}, until it is not needed: {drop}" if before else ""
    print(f"{given.file} is the database {asked.database} now{kept}")
    if given.here:
        print("Now: make roles and python -m infra.deployment.migrate, then start the functions")
        return 0
    return subprocess.run([*compose(), "up", "--detach"], check=False).returncode


def _stop_all_but_the_database() -> None:
    try:
        listed = subprocess.run([*compose(), "config", "--services"], capture_output=True, text=True, check=True)
        others = [name for name in listed.stdout.split() if name != _DATABASE]
        subprocess.run([*compose(), "stop", *others], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DumpError(f"The gateway could not be stopped: {error}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
