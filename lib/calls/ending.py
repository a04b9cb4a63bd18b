"""When a call is over, and what is still open (docs/calls.md, "The end")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lib.calls.channels import channel_named
from lib.calls.conversation import connected_with
from lib.calls.picture import Picture
from lib.calls.settings import Settings

Pending = Literal["open_leg", "phone_ringing", "still_talking", "being_transferred", "no_hangup"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """`over_at` is set once the call is over; until then `due_at` says when time alone will end it."""

    over_at: datetime | None
    due_at: datetime | None
    pending: tuple[Pending, ...]


def ending(seen: Picture, settings: Settings, now: datetime) -> Ending:
    hangup = seen.roles.main_hangup
    ringing = _a_leg_rings(seen)
    opened = _opened(seen, ringing=ringing)
    silence = seen.last_news_at + settings.call_max
    if hangup is None:
        return _by_time(min(_without_hangup(seen, settings), silence), now, ("no_hangup",), opened)
    if _host_is_silent_of_leaves(seen):
        return Ending(over_at=hangup.received_at, due_at=None, pending=opened)
    blocking: list[Pending] = []
    if seen.roles.kind == "out":
        wait = settings.finalize_after
        if _in_bridge(seen):
            blocking.append("still_talking")
        elif _is_being_transferred(seen):
            blocking.append("being_transferred")
    else:
        # The main id is the customer's own channel: what seems open after its hangup only was not reported.
        wait = settings.settle
        if _in_bridge(seen):
            blocking.append("open_leg")
    if ringing:
        blocking.append("phone_ringing")
    if blocking:
        return _by_time(min(seen.last_news_at + wait, silence), now, tuple(blocking), opened)
    left = (stay.until for stay in seen.stays if stay.until is not None)
    return Ending(over_at=max([hangup.received_at, *left]), due_at=None, pending=opened)


def _host_is_silent_of_leaves(seen: Picture) -> bool:
    """Of an incoming call: nothing later will say that somebody left, and the customer is gone with the main id."""
    return seen.roles.kind != "out" and bool(seen.stays) and not seen.conversation.leaves_are_sent


def _by_time(due: datetime, now: datetime, blocking: tuple[Pending, ...], opened: tuple[Pending, ...]) -> Ending:
    if now >= due:
        return Ending(over_at=due, due_at=None, pending=opened)
    return Ending(over_at=None, due_at=due, pending=tuple(dict.fromkeys((*blocking, *opened))))


def _without_hangup(seen: Picture, settings: Settings) -> datetime:
    """After the customer's last bridge, or whatever was rung or hung up since."""
    stays = seen.stays
    if not stays or _in_bridge(seen):
        return seen.last_news_at + settings.call_max
    left = [stay.until for stay in stays if stay.until is not None]
    rung_or_hung_up = [event.received_at for event in seen.events if event.event_type in ("dial", "hangup")]
    return max([*left, *rung_or_hung_up]) + settings.finalize_after


def _in_bridge(seen: Picture) -> bool:
    """A hangup of the customer's own channel, where that is not the main id, closes it as a leave does."""
    hung_up = {event.unique_id for event in seen.events if event.event_type == "hangup"} - {seen.roles.main_id}
    return any(stay.left is None and stay.key.unique_id not in hung_up for stay in seen.stays)


def _a_leg_rings(seen: Picture) -> bool:
    """A mobile or follow-me leg that was dialled, and neither hung up nor was ever put into a bridge."""
    bridged = {stay.key.unique_id for stay in seen.conversation.stays}
    for unique_id, role in seen.roles.legs.items():
        types = {event.event_type for event in seen.roles.by_id[unique_id]}
        if role in ("mobile", "follow_me") and "dial" in types and "hangup" not in types and unique_id not in bridged:
            return True
    return False


def _opened(seen: Picture, *, ringing: bool) -> tuple[Pending, ...]:
    """Open parts that may still bring news of a call that is over."""
    opened: list[Pending] = []
    if any(stay.left is None for stay in seen.conversation.stays):
        opened.append("open_leg")
    if ringing:
        opened.append("phone_ringing")
    return tuple(opened)


def _is_being_transferred(seen: Picture) -> bool:
    """
    The customer's channel left a bridge that a Local channel joined to another one, where somebody still is:
    Asterisk is about to move it there.
    """
    stays = seen.stays
    if not stays:
        return False
    last = max(stays, key=lambda stay: stay.last)
    before = list(connected_with(seen.customer, seen.conversation.at(last.last - 1)))
    beyond = {stay.bridge for stay in before} - {last.bridge}
    return any(
        stay.bridge in beyond and stay.left is None and not channel_named(stay.key.channel).is_local
        for stay in seen.conversation.stays
    )
