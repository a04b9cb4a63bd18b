"""
Whether, and how fast, an account of a CRM may be asked: decisions over what all instances share, without a clock.

A request occupies a place from before it is sent until one second after it has ended. Requests that arrive within one
second all occupy their places when that second ends, so there are never more of them than places, however long
processes and networks dawdle in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

Refusal = Literal["crm_busy", "crm_away", "authentication", "account_refused"]

SECOND: Final = timedelta(seconds=1)
# A place becomes free when a request ends, which nobody knows before: look again soon.
_SOON_SECONDS: Final = 0.25
# Somebody finds out at this moment whether the CRM is back.
_PROBED_SECONDS: Final = 1.0
FAILURES: Final = 4
OPEN_SECONDS: Final = (5.0, 60.0)
BUSY_SECONDS: Final = (0.5, 60.0)
AUTHENTICATION_SECONDS: Final = 300.0
# An account that is paid for again is soon used; one that has moved is asked no more often than a refused key.
ACCOUNT_SECONDS: Final = (5.0, 300.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """Requests of one kind: until when each that is under way may last, and when the last ones ended."""

    under_way: Sequence[datetime] = ()
    ended: Sequence[datetime] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many places there are, and how many requests may be under way at once; 0: as many as come."""

    per_second: int
    at_once: int = 0

    def without_reserve(self) -> Limits:
        """For what can wait: a quarter of the rate, and half of the ways, stay free for what cannot."""
        return Limits(per_second=_rest(self.per_second, 4), at_once=_rest(self.at_once, 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Breaker:
    """
    `away_since` None: closed. Else nobody asks before `ask_at`, and then one does, alone (`is_probed`, until `ask_at`
    again). `pause_until`: the CRM is there and wants to be left alone.
    """

    failures: int = 0
    away_since: datetime | None = None
    ask_at: datetime | None = None
    is_probed: bool = False
    probes_failed: int = 0
    pause_until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """
    An enterprise whose key was refused, or whose account takes nothing at all (`reason`); `credentials` are those that
    it was asked with, `refusals` how often in a row.
    """

    credentials: bytes
    since: datetime
    until: datetime
    reason: Refusal = "authentication"
    refusals: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """
    What a request came to: an outcome as in `attempts`, the status, and how long the CRM wants to be left alone.
    `concerns_account`: whatever else is sent to the account would be answered alike.
    """

    outcome: str
    http_status: int | None = None
    retry_after_seconds: float | None = None
    concerns_account: bool = False

    @property
    def shows_life(self) -> bool:
        return self.outcome in {"done", "permanent", "authentication"} or self.concerns_account

    @property
    def is_fault(self) -> bool:
        """Of the CRM: 429 is its good right."""
        if self.concerns_account:
            return False
        return self.outcome in {"unavailable", "in_doubt"} or (self.outcome == "busy" and self.http_status != 429)

    @property
    def refuses(self) -> Refusal | None:
        """Why the enterprise's other requests would come to nothing, too."""
        if self.outcome == "authentication":
            return "authentication"
        return "account_refused" if self.concerns_account else None


def enter(lane: Lane, limits: Limits, *, now: datetime, until: datetime) -> Lane | float:
    """The lane with one more request under way, or the seconds after which to ask again."""
    present = _at(lane, now)
    if limits.at_once and len(present.under_way) >= limits.at_once:
        return _SOON_SECONDS
    if limits.per_second:
        too_many = len(present.under_way) + len(present.ended) - limits.per_second + 1
        if too_many > len(present.ended):
            return _SOON_SECONDS
        if too_many > 0:
            return (sorted(present.ended)[too_many - 1] + SECOND - now).total_seconds()
    return replace(present, under_way=(*present.under_way, until))


def leave(lane: Lane, limits: Limits, *, now: datetime, until: datetime, was_sent: bool = True) -> Lane:
    """The lane after the end of the request that was to last until then at most."""
    present = _at(lane, now)
    under_way = list(present.under_way)
    if until not in under_way:
        return present  # it took longer than it may, and counts as ended since
    under_way.remove(until)
    counts = was_sent and limits.per_second
    return Lane(under_way=under_way, ended=(*present.ended, now) if counts else present.ended)


def may_ask(breaker: Breaker, *, now: datetime, until: datetime) -> Breaker | tuple[Refusal, float]:
    """The breaker after somebody was let through, or why not and the seconds after which to ask again."""
    if breaker.away_since is not None and breaker.ask_at is not None:
        left = (breaker.ask_at - now).total_seconds()
        if left > 0:
            return "crm_away", min(left, _PROBED_SECONDS) if breaker.is_probed else left
        return replace(breaker, ask_at=until, is_probed=True)
    if breaker.pause_until is not None and now < breaker.pause_until:
        return "crm_busy", (breaker.pause_until - now).total_seconds()
    return breaker


def after(breaker: Breaker, answer: Answer | None, *, now: datetime, was_probe: bool) -> Breaker:
    """
    Any sign of life closes; a fault opens when it is one too many in a row, or the probe's. No answer: nothing was
    asked after all.
    """
    if answer is None:
        return replace(breaker, ask_at=now, is_probed=False) if was_probe else breaker
    if answer.shows_life:
        return Breaker()
    failures = breaker.failures + answer.is_fault
    if breaker.away_since is not None:
        if not was_probe:
            return replace(breaker, failures=failures)
        failed = breaker.probes_failed + 1
        ask_at = now + _open_for(answer, failed)
        return replace(breaker, failures=failures, probes_failed=failed, ask_at=ask_at, is_probed=False)
    if failures >= FAILURES:
        return Breaker(failures=failures, away_since=now, ask_at=now + _open_for(answer, 0))
    pause_until = breaker.pause_until
    if answer.outcome == "busy" and answer.retry_after_seconds:
        pause_until = max(pause_until or now, now + _clamped(answer.retry_after_seconds, BUSY_SECONDS))
    return replace(breaker, failures=failures, pause_until=pause_until)


def may_try(
    pause: Pause | None, credentials: bytes, *, now: datetime, until: datetime
) -> Pause | tuple[Refusal, float] | None:
    """The pause after somebody was let through: other credentials are free, the refused ones are tried by one."""
    if pause is None or pause.credentials != credentials:
        return pause
    if now < pause.until:
        return pause.reason, (pause.until - now).total_seconds()
    return replace(pause, until=until)


def pause_after(pause: Pause | None, credentials: bytes, answer: Answer, *, now: datetime) -> Pause | None:
    """Refused credentials, and an account that takes nothing, are left alone for a while; any good answer ends it."""
    reason = answer.refuses
    if reason is None:
        return None if answer.outcome in {"done", "permanent"} else pause
    same = pause if pause and pause.credentials == credentials and pause.reason == reason else None
    refusals = same.refusals + 1 if same else 1
    return Pause(
        credentials=credentials,
        since=same.since if same else now,
        until=now + timedelta(seconds=_paused_for(reason, refusals)),
        reason=reason,
        refusals=refusals,
    )


def _paused_for(reason: Refusal, refusals: int) -> float:
    if reason == "authentication":
        return AUTHENTICATION_SECONDS
    base, most = ACCOUNT_SECONDS
    return min(most, base * float(2 ** min(refusals - 1, 10)))


def _open_for(answer: Answer, probes_failed: int) -> timedelta:
    base, most = OPEN_SECONDS
    seconds = min(most, base * 2 ** min(probes_failed, 10))
    return max(timedelta(seconds=seconds), _clamped(answer.retry_after_seconds or 0, (0, most)))


def _clamped(seconds: float, span: tuple[float, float]) -> timedelta:
    return timedelta(seconds=min(max(seconds, span[0]), span[1]))


def _at(lane: Lane, now: datetime) -> Lane:
    """Without what does not count any more; who never came back ended when its time was over."""
    lapsed = [until for until in lane.under_way if until <= now]
    return Lane(
        under_way=[until for until in lane.under_way if until > now],
        ended=[moment for moment in (*lane.ended, *lapsed) if moment > now - SECOND],
    )


def _rest(count: int, share: int) -> int:
    return count - count // share
