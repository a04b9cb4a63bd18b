"""When a call is over, and what is still open (docs/calls.md, "The end")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lib.calls.conversation import ChannelKey, Conversation, Stay, connected_with
from lib.calls.event import CallEvent
from lib.calls.roles import Roles
from lib.calls.settings import Settings

Pending = Literal["open_leg", "phone_ringing", "still_talking", "being_transferred", "no_hangup", "hangup_alone"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """`over_at` is set once the call is over at the moment of looking; until then `due_at` is when time alone ends it."""

    over_at: datetime | None
    due_at: datetime | None
    pending: tuple[Pending, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the rules of the end look at."""

    roles: Roles
    customer: frozenset[ChannelKey]
    conversation: Conversation
    events: Sequence[CallEvent]
    last_news_at: datetime

    @property
    def stays(self) -> list[Stay]:
        return self.conversation.of(self.customer)

    @property
    def in_bridge(self) -> bool:
        return any(stay.left is None for stay in self._open_to_us)

    @property
    def _open_to_us(self) -> list[Stay]:
        """A hangup of the customer's own channel, not of the main id, closes it as a leave does."""
        hung_up = {event.unique_id for event in self.events if event.event_type == "hangup"} - {self.roles.main_id}
        return [stay for stay in self.stays if stay.key.unique_id not in hung_up]


def ending(evidence: Evidence, settings: Settings, now: datetime) -> Ending:
    found = evidence.roles
    hangup = found.main_hangup
    ringing = _ringing_legs(evidence)
    silence = evidence.last_news_at + settings.call_max
    if hangup is None:
        due, pending = _without_hangup(evidence, settings), ("no_hangup",)
        return _at(min(due, silence), now, pending, (*pending, *_open_legs(evidence, ringing)))
    known = max([hangup.received_at, *(stay.until for stay in evidence.stays if stay.until is not None)])
    blocking: list[Pending] = []
    if found.kind == "out":
        wait = settings.finalize_after
        if evidence.in_bridge:
            blocking.append("still_talking")
        elif _is_being_transferred(evidence):
            blocking.append("being_transferred")
    else:
        # The main id is the customer's own channel: what seems open after its hangup only was not reported.
        wait = settings.settle
        if evidence.in_bridge and evidence.conversation.leaves_are_sent:
            blocking.append("open_leg")
    if ringing:
        blocking.append("phone_ringing")
    opened = _open_legs(evidence, ringing)
    if not blocking:
        return Ending(over_at=known, due_at=None, pending=opened)
    return _at(min(evidence.last_news_at + wait, silence), now, tuple(blocking), opened)


def _at(due: datetime, now: datetime, blocking: tuple[Pending, ...], opened: tuple[Pending, ...]) -> Ending:
    if now >= due:
        return Ending(over_at=due, due_at=None, pending=tuple(name for name in opened if name != "no_hangup"))
    return Ending(over_at=None, due_at=due, pending=tuple(dict.fromkeys((*blocking, *opened))))


def _without_hangup(evidence: Evidence, settings: Settings) -> datetime:
    """After the customer's last bridge, unless a phone was rung for the customer since."""
    stays = evidence.stays
    if not stays or evidence.in_bridge:
        return evidence.last_news_at + settings.call_max
    left = [stay.until for stay in stays if stay.until is not None]
    rung = [event.received_at for event in evidence.events if event.event_type == "dial"]
    return max([*left, *rung]) + settings.finalize_after


def _ringing_legs(evidence: Evidence) -> list[str]:
    """Mobile and follow-me legs that were dialled, and neither hung up nor were ever put into a bridge."""
    found = []
    bridged = {stay.key.unique_id for stay in evidence.conversation.stays}
    for unique_id, role in evidence.roles.legs.items():
        if role not in ("mobile", "follow_me") or unique_id in bridged:
            continue
        types = {event.event_type for event in evidence.roles.by_id[unique_id]}
        if "dial" in types and "hangup" not in types:
            found.append(unique_id)
    return found


def _open_legs(evidence: Evidence, ringing: Sequence[str]) -> tuple[Pending, ...]:
    open_leg = any(stay.left is None for stay in evidence.conversation.stays)
    return (*(("open_leg",) if open_leg else ()), *(("phone_ringing",) if ringing else ()))


def _is_being_transferred(evidence: Evidence) -> bool:
    """
    The customer's channel left a bridge that a Local channel joined to another one, where somebody still is:
    Asterisk is about to move it there.
    """
    stays = evidence.stays
    if not stays:
        return False
    last = max(stays, key=lambda stay: stay.last)
    before = list(connected_with(evidence.customer, evidence.conversation.at(last.last - 1)))
    beyond = {stay.bridge for stay in before} - {last.bridge}
    return any(
        stay.bridge in beyond and stay.left is None and stay.key not in evidence.customer
        for stay in evidence.conversation.stays
    )
