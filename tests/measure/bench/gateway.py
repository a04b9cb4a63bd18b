"""This gateway, as `make run` starts it, telling the CRM of the bench."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from infra.stand_ins.parts import free_base_port
from infra.stand_ins.stack import Stack
from tests.harness.enterprises import enterprise
from tests.measure.bench.crm import Crm

# The CRM of the bench takes whatever comes; only the gateway is measured.
UNLIMITED: Final = {
    "RETAILCRM_TELEPHONY_PER_SECOND": "0",
    "RETAILCRM_DELIVERIES_AT_ONCE": "0",
    "INTAKE_EVENTS_PER_SECOND": "0",
    "INTAKE_BYTES_PER_SECOND": "0",
}
KILLED: Final = ("dispatch-call-event", "retailcrm-deliver")
# What an event passes through, in this order.
PARTS: Final = ("dispatch-call-event", "emulator", "retailcrm-deliver", "sweep-calls", "postgres")
QUIET_SECONDS: Final = 300.0
_UNFINISHED: Final = """
    SELECT EXISTS (SELECT FROM call_events WHERE call_id IS NULL)
        OR EXISTS (SELECT FROM deliveries WHERE state IN ('ready', 'retry', 'leased'))
"""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Runs all the time; it does next to nothing while others are measured."""

    stack: Stack

    @property
    def url(self) -> str:
        return self.stack.url("dispatch-call-event")

    @contextmanager
    def started(self) -> Iterator[Gateway]:
        yield self

    def parts(self) -> Mapping[str, int]:
        return {name: pid for name, pid in pids(self.stack).items() if name in PARTS}

    def kill(self) -> None:
        for name in KILLED:
            self.stack.kill(name)

    def wait_until_quiet(self) -> None:
        deadline = time.monotonic() + QUIET_SECONDS
        with psycopg.connect(self.stack.database_url, autocommit=True) as conn:
            while time.monotonic() < deadline and conn.execute(_UNFINISHED).fetchone() != (False,):
                time.sleep(0.5)


@contextmanager
def stack_telling(crm: Crm, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """The whole gateway with one enterprise, whose CRM is this one."""
    with Stack(folder / "stack", free_base_port(), restart=True, settings={**UNLIMITED, **(settings or {})}) as stack:
        file = folder / "enterprise.json"
        file.write_text(json.dumps(enterprise(domain=crm.url)))
        stack.run("provision", "infra.commands.provision", str(file))
        yield stack


def pids(stack: Stack) -> dict[str, int]:
    found: dict[str, int] = json.loads((stack.layout.run_dir / "stack.json").read_text())["pids"]
    return found
