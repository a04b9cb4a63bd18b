"""
Which callables belong to which stage of event → CRM. This list is what to change when the code does.

A mark is `module:name` or `module:Class.name`, in the place where it is looked up when it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.measure.bench.trace.spans import Spans

_DATABASE: Final = {
    "connection": ["psycopg_pool:ConnectionPool.getconn", "lib.runtime.db:_checked_out"],
    "commit": ["psycopg:Transaction.__exit__"],
}

ACK: Final[Mapping[str, Sequence[str]]] = {
    "route": ["lib.runtime.http:Routes.answer"],
    "store": ["lib.store.events:insert_event"],
    "publish": ["lib.runtime.pubsub:publish"],
    **_DATABASE,
}
EMULATOR: Final[Mapping[str, Sequence[str]]] = {
    "publish": ["infra.stand_ins.emulator.broker:Broker.publish"],
    "journal": ["infra.stand_ins.emulator.journal:Journal.append"],
    "push": ["infra.stand_ins.emulator.push:_Pusher._post"],
}
DELIVER: Final[Mapping[str, Sequence[str]]] = {
    "route": ["lib.runtime.http:Routes.answer"],
    "read": [
        "lib.ledger.assemble:_stored",
        "lib.ledger.assemble:_waiting",
        "lib.ledger.assemble:_neighbours",
        "lib.ledger.assemble:_ledger",
        "lib.store.calls:lock_keys",
        "lib.store.calls:find_linked",
    ],
    "fold": [
        "lib.calls.call:assemble",
        "lib.calls.linking:group",
        "lib.ledger.assemble:plan",
        "lib.ledger.assemble:_keys",
        "lib.ledger.assemble:parsed",
    ],
    "write": ["lib.ledger.assemble:_write"],
    "claim": ["lib.store.deliveries:claim_next", "lib.store.deliveries:claim_more_rows"],
    "gate": ["lib.store.gates:enter", "lib.store.gates:leave"],
    "attempt": ["lib.store.deliveries:begin_attempts"],
    "HTTP": ["lib.retailcrm.client:send"],
    "finish": ["lib.store.deliveries:finish_all", "lib.store.integration_logs:insert"],
    **_DATABASE,
}
# What is said of a span besides its stage, from the arguments of the call.
LABELS: Final[Mapping[str, Callable[..., str]]] = {
    "push": lambda pusher, _: str(pusher._subscription.name.rpartition("/")[2]),
}
PROCESSES: Final = {
    "--target=dispatch_call_event": ("ack", ACK),
    "infra.stand_ins.emulator": ("emulator", EMULATOR),
    "--target=retailcrm_deliver": ("deliver", DELIVER),
}


def install(folder: str, process: str) -> None:
    """Puts timers around the marks of a process; those that are not there any more are named on stderr."""
    name, stages = PROCESSES[process]
    spans = Spans(Path(folder), name)
    for stage, marks in stages.items():
        for mark in marks:
            if not _wrap(spans, stage, mark):
                print(f"trace: {mark} is not there any more", file=sys.stderr)


def _wrap(spans: Spans, stage: str, mark: str) -> bool:
    module, _, path = mark.partition(":")
    *owners, name = path.split(".")
    try:
        owner = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        function = getattr(owner, name)
    except (ImportError, AttributeError):
        return False
    setattr(owner, name, spans.wrap(stage, function, LABELS.get(stage)))
    return True
