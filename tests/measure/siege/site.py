"""The running system with the enterprises of a siege, and what became of the attacker's events in the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import requests

from infra.stand_ins.demo_enterprise import put_host
from infra.stand_ins.parts import free_base_port
from infra.stand_ins.stack import Stack
from tests.harness.enterprises import enterprise
from tests.harness.servers import CRM
from tests.measure.siege import verdict
from tests.measure.siege.attack import Bystander
from tests.measure.siege.verdict import Call, Own

VICTIM: Final = "0401"
ATTACKER: Final = "0402"
BYSTANDERS: Final = "041"
# A call that nobody hangs up is over soon, so that the end of an attack does not wait for hours.
SOON_OVER: Final = {"finalize_after_seconds": 5, "call_max_hours": 0.005}
# Seen twice in a row: a message may be on its way.
_QUIET: Final = 2

_UNDER_WAY: Final = """
    SELECT (SELECT count(*) FROM call_events WHERE enterprise_number = %(number)s AND call_id IS NULL)
         + (SELECT count(*) FROM calls WHERE enterprise_number = %(number)s AND next_wake_at IS NOT NULL)
         + (SELECT count(*) FROM deliveries
            WHERE enterprise_number = %(number)s AND state IN ('ready', 'leased', 'retry'))
"""
_IN_CALLS: Final = """
    SELECT raw_data ->> 'Mark' FROM call_events WHERE enterprise_number = %(number)s AND call_id IS NOT NULL
"""
# A call without a customer, or between internal numbers, has no row, but a reason.
_CALLS: Final = """
    SELECT c.id, c.customer IS NOT NULL AND c.kind IN ('in', 'out'),
           ARRAY(SELECT d.external_id FROM deliveries d WHERE d.call_id = c.id AND d.effect = 'upload'),
           ARRAY(SELECT jsonb_path_query(c.decisions, '$[*].code') #>> '{}')
    FROM calls c WHERE c.enterprise_number = %(number)s
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    Two CRMs, as two enterprises have them: what the attacker's is asked takes no place of the victim's.
    """

    stack: Stack
    crms: Mapping[str, CRM]
    tokens: Mapping[str, str]
    bystanders: Sequence[Bystander]

    @property
    def gateway(self) -> str:
        return self.stack.url("gateway")

    def pids(self) -> dict[str, int]:
        """Of the functions."""
        pids = json.loads((self.stack.layout.run_dir / "stack.json").read_text())["pids"]
        return {name: pids[name] for name in self.stack.layout.functions()}

    def under_way(self) -> int:
        """Events, calls and deliveries of the attacker that are not done."""
        with psycopg.connect(self.stack.database_url, autocommit=True) as conn:
            row = conn.execute(_UNDER_WAY, {"number": ATTACKER}).fetchone()
        return int(row[0]) if row else 0

    def wait_until_done(self, seconds: float, tell: Callable[[int], None]) -> float | None:
        """How long it took until nothing of the attacker was under way; None: it still was after `seconds`."""
        began, quiet = time.monotonic(), 0
        while quiet < _QUIET:
            waited = time.monotonic() - began
            if waited > seconds:
                return None
            left = self.under_way()
            quiet = 0 if left else quiet + 1
            tell(left)
            self.stack.pause(1.0)
        return time.monotonic() - began

    def own(self, offered: int, accepted: Collection[str], drained_seconds: float | None) -> Own:
        """By our tables, and the rows by the attacker's CRM."""
        with psycopg.connect(self.stack.database_url, autocommit=True) as conn:
            in_calls = {mark for (mark,) in conn.execute(_IN_CALLS, {"number": ATTACKER})}
            calls = [
                Call(number=number, wants_row=wants_row, row_ids=row_ids, reasons=reasons)
                for number, wants_row, row_ids, reasons in conn.execute(_CALLS, {"number": ATTACKER})
            ]
        asked = {"account": ATTACKER}
        held = requests.get(f"{self.crms[ATTACKER].url}/_sim/ledger/calls", params=asked, timeout=120).json()
        return verdict.own(
            offered=offered,
            accepted=accepted,
            in_calls=in_calls,
            calls=calls,
            rows={row["call"]["externalId"] for row in held["calls"]},
            drained_seconds=drained_seconds,
        )


@contextmanager
def site(folder: Path, *, bystanders: int = 0) -> Iterator[Site]:
    with CRM.started() as attackers_crm, Stack(folder / "stack", free_base_port()) as stack:
        crms = {VICTIM: CRM(url=stack.url("retailcrm-simulator")), ATTACKER: attackers_crm}
        crms |= {f"{BYSTANDERS}{index}": crms[VICTIM] for index in range(bystanders)}
        for number, crm in crms.items():
            _enrol(stack, number, crm)
        with psycopg.connect(stack.database_url, autocommit=True) as conn:
            found = conn.execute("SELECT number, token, client_id FROM enterprises").fetchall()
        yield Site(
            stack=stack,
            crms=crms,
            tokens={number: token for number, token, _ in found},
            bystanders=[
                Bystander(token=token, client_id=client_id)
                for number, token, client_id in found
                if number.startswith(BYSTANDERS)
            ],
        )


def _enrol(stack: Stack, number: str, crm: CRM) -> None:
    crm.account(number)
    changes: dict[str, Any] = SOON_OVER if number == ATTACKER else {}
    data = enterprise(number, token=f"token-of-{number}", domain=crm.url, **changes)
    data["asterisk_url"] = stack.url("asterisk-simulator")
    put_host(data)
    file = stack.layout.run_dir / f"{number}.json"
    file.write_text(json.dumps(data))
    stack.run(f"provision-{number}", "infra.commands.provision", str(file))
