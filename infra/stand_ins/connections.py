"""
How many connections to PostgreSQL the functions may hold, by their settings: `python -m infra.stand_ins.connections`
writes the table into docs/operations.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.stand_ins.parts import PLATFORM, Layout
from infra.stand_ins.postgres import SMALL_MACHINE
from infra.stand_ins.processes import ROOT
from lib.runtime import config

OPERATIONS: Final = ROOT / "docs" / "operations.md"
# Of PostgreSQL itself, and of the official image.
DEFAULT_MAX_CONNECTIONS: Final = 100
# Each process listens for changed configurations on a connection of its own.
LISTENERS: Final = 1
# Kept free by PostgreSQL for superusers (3); the migration and a command of the operator.
SPARE: Final = 3 + 1 + 1
_PLACE: Final = re.compile(r"(?<=<!-- connections -->\n).*?(?=<!-- /connections -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """`processes`: how many of each function, which is instances times workers."""

    name: str
    processes: Mapping[str, int]
    pool_size: int
    max_connections: int

    @property
    def of_a_process(self) -> int:
        return self.pool_size + LISTENERS

    @property
    def sum(self) -> int:
        return sum(self.processes.values()) * self.of_a_process

    @property
    def fits(self) -> bool:
        return self.sum + SPARE <= self.max_connections


def embedded(layout: Layout) -> Installation:
    """As `make run` starts it."""
    settings = PLATFORM | dict(layout.settings)
    return Installation(
        name="`make run`",
        processes=dict.fromkeys(layout.functions(), int(settings["WORKERS"])),
        pool_size=int(settings.get("DATABASE_POOL_SIZE", config.Database.database_pool_size)),
        max_connections=int(SMALL_MACHINE["max_connections"]),
    )


def composed(services: Mapping[str, Any]) -> Installation:
    """As docker-compose.yml has it, without a `.env`."""
    functions = {name: one for name, one in services.items() if "FUNCTION_TARGET" in (one.get("environment") or {})}
    return Installation(
        name="`docker-compose.yml`",
        processes={name: int(one.get("scale", 1)) for name, one in sorted(functions.items())},
        pool_size=config.Database.database_pool_size,
        max_connections=DEFAULT_MAX_CONNECTIONS,
    )


def table(*installations: Installation) -> str:
    """Processes of each function times what each holds, and the sums beside what the server allows."""
    functions = sorted({name for one in installations for name in one.processes})
    rows = [
        ["", *(one.name for one in installations)],
        ["---"] * (len(installations) + 1),
        *(
            [f"`{name}`", *(f"{one.processes.get(name, 0)} × {one.of_a_process}" for one in installations)]
            for name in functions
        ),
        ["in all", *(str(one.sum) for one in installations)],
        ["to spare for the server, a migration, a command", *(str(SPARE) for _ in installations)],
        ["`max_connections`", *(str(one.max_connections) for one in installations)],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("|  |", "| |")


def with_table(text: str, content: str) -> str:
    return _PLACE.sub(lambda _: content, text)


def stated() -> list[Installation]:
    """Both, by their defaults."""
    import yaml  # type: ignore[import-untyped]  # for development only: no image has it

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return [embedded(Layout(run_dir=Path())), composed(services)]


if __name__ == "__main__":
    OPERATIONS.write_text(with_table(OPERATIONS.read_text(), table(*stated())))
