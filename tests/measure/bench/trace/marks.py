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
    "store": ["lib.store.events:insert_event", "lib.store.events:insert_events"],
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
    # In a pipeline a statement costs nothing until its answer is awaited.
    "read": ["lib.ledger.assemble:stored", "lib.store.neighbourhood:turn", "lib.store.neighbourhood:found"],
    "fold": ["lib.ledger.assemble:derive", "lib.ledger.assemble:keys_of", "lib.ledger.assemble:parsed"],
    "write": ["lib.ledger.assemble:_write"],
    "claim": ["lib.ledger.deliver:claim", "lib.ledger.deliver:admit"],
    "gate": ["lib.store.gates:locked", "lib.store.gates:write"],
    "attempt": ["lib.store.deliveries:begin_attempts"],
    "HTTP": ["lib.retailcrm.client:send"],
    "finish": ["lib.store.deliveries:finish", "lib.store.integration_logs:insert_exchange"],
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
