"""
Writes a dump of the database into a folder: `make backup` (TO=backups KEEP=14), of the composition's own server.

With `--here` (HERE=1) pg_dump of this machine is asked, and PGHOST, PGUSER, PGPASSWORD and PGDATABASE lead to the
server. API keys in a dump are sealed: without VAULT_KEYS of `.env`, which is not in it, they are worth nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from infra.deployment import dump
from infra.deployment.dump import DumpError, Programs

SUFFIX: Final = ".dump"


def programs(*, here: bool) -> Programs:
    if here:
        user, database = os.environ.get("PGUSER") or "postgres", os.environ.get("PGDATABASE") or "gateway"
        return Programs(user=user, database=database)
    return Programs(prefix=(*compose(), "exec", "-T", "postgres"))


def compose() -> tuple[str, ...]:
    """COMPOSE names another program than `docker compose`."""
    return tuple(shlex.split(os.environ.get("COMPOSE") or "docker compose"))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make backup", description="Writes a dump of the database")
    parser.add_argument("--to", type=Path, default=Path("backups"), metavar="FOLDER")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="delete all but the newest N; 0: none")
    parser.add_argument("--here", action="store_true", help="with pg_dump of this machine")
    given = parser.parse_args(arguments)
    folder: Path = given.to
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"gateway-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}{SUFFIX}"
        size = dump.save(programs(here=given.here), path)
        old = sorted(folder.glob(f"gateway-*{SUFFIX}"))[: -given.keep] if given.keep > 0 else []
        for one in old:
            one.unlink()
    except (DumpError, OSError) as error:
        print(f"make backup: {error}", file=sys.stderr)
        return 1
    print(f"{path} is written and can be read ({size / 1e6:.1f} MB); older ones deleted: {len(old)}")
    print("Keep it elsewhere, and .env too, but not beside it: VAULT_KEYS opens the API keys in it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
