"""What the rules make of a stream: at its end (`fold`), and told event by event in virtual time (`play`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lib.calls.call import Call, assemble
from lib.calls.directory import Directory
from lib.calls.event import CallEvent
from lib.calls.linking import group
from lib.calls.plan import CallRow, EndNotice, Plan, RingNotice, plan
from tests.unit.calls import playback

# Longer than any call may be silent, and any hangup late.
LATER = timedelta(hours=5)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    `groups`, `calls` and `reasons` belong together. `rings` and `ends` with the moment at which they were told, in
    order; a fold has none.
    """

    groups: Sequence[Sequence[CallEvent]]
    calls: Sequence[Call]
    reasons: Sequence[frozenset[str]]
    rows: Sequence[CallRow]
    ledger: Sequence[playback.LedgerRow] = ()
    plans: Sequence[Plan] = ()

    @property
    def rings(self) -> list[RingNotice]:
        return [row.notice for row in self.ledger if isinstance(row.notice, RingNotice)]

    @property
    def ends(self) -> list[EndNotice]:
        return [row.notice for row in self.ledger if isinstance(row.notice, EndNotice)]


def fold(events: Sequence[CallEvent], directory: Directory) -> Outcome:
    if not events:
        return Outcome(groups=(), calls=(), reasons=(), rows=())
    now = max(event.received_at for event in events) + LATER
    groups = group(events, directory)
    calls = [assemble(members, directory, playback.DEFAULTS, now) for members in groups]
    plans = [plan(call, (), now, playback.DEFAULTS) for call in calls]
    return Outcome(
        groups=groups,
        calls=calls,
        reasons=[frozenset(decision.code for decision in one.decisions) for one in plans],
        rows=[notice for one in plans for notice in one.wanted if isinstance(notice, CallRow)],
        plans=plans,
    )


def play(events: Sequence[CallEvent], directory: Directory) -> Outcome:
    if not events:
        return Outcome(groups=(), calls=(), reasons=(), rows=())
    played = playback.play(events, directory)
    return Outcome(
        groups=group(events, directory),
        calls=played.calls,
        reasons=[frozenset(reasons) for reasons in played.reasons],
        rows=played.uploads,
        ledger=played.rows,
    )
