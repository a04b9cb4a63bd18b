"""
What a CRM must hear about a call at this moment: a ring, an end, a row of history.

`plan` has no memory but its arguments: the rows of the ledger (`Told`), and the decisions of the plan before
(`decided`). The notices are for any CRM, and `lib.retailcrm` makes its requests of them; but the values of `result` and
`status` are RetailCRM's own words, which the ledger and the page use too. Another CRM has to translate them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from lib.calls import kept_decisions
from lib.calls.call import Call, Ring
from lib.calls.decision import Decision
from lib.calls.outcome import Result
from lib.calls.settings import Settings

Direction = Literal["in", "out"]
Effect = Literal["popup", "hangup", "upload"]

# States of a pop-up that was never on a screen, and never will be.
_NOT_SHOWN: Final = frozenset({"expired", "superseded", "failed", "not_shown"})
# How much later than its own times a hangup may arrive: the hosts' queue, on top of the age of a pop-up.
_QUEUE: Final = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RingNotice:
    """
    Show the customer's card to these people, until `expires_at`. `phone` is E.164. `user_ids`: who they are for a CRM
    that does not know their extensions, in the same order.
    """

    direction: Direction
    phone: str
    extensions: tuple[str, ...]
    call_id: str
    line_number: str | None
    site: str | None
    expires_at: datetime
    synthetic: bool = False
    user_ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EndNotice:
    phone: str
    extensions: tuple[str, ...]
    status: str
    call_id: str
    line_number: str | None
    site: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRow:
    """One row of history. `date` is on the wall of the CRM account; durations are seconds."""

    direction: Direction
    phone: str
    external_id: str
    date: datetime
    result: Result
    extension: str | None
    user_id: int | None
    duration: int
    waiting: int | None
    record_url: str | None
    line_number: str | None
    site: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """
    A row of the ledger about this call, in any `state`; `content` is its payload, if that is known.

    `waiting`: the CRM certainly has not received it yet, so it may still be changed or withdrawn.
    """

    effect: Effect
    extensions: tuple[str, ...] = ()
    state: str = "ready"
    content: Mapping[str, object] | None = None
    waiting: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """
    `wanted`: notices that are due now; a waiting history row gets this content. `withdraw_popups`: the call is over, so
    pop-ups that were not sent have expired. `withdraw_rows`: ids of waiting rows that must not be sent, because their
    call became part of another one, or goes on. `wake_at`: when to plan again if no event comes; None: never.
    """

    wanted: tuple[RingNotice | EndNotice | CallRow, ...] = ()
    withdraw_popups: bool = False
    withdraw_rows: tuple[str, ...] = ()
    wake_at: datetime | None = None
    decisions: tuple[Decision, ...] = field(default=())


def plan(call: Call, told: Sequence[Told], now: datetime, settings: Settings, decided: Sequence[Decision] = ()) -> Plan:
    decisions = list(call.decisions)
    if not settings.enabled:
        return Plan(decisions=(*decisions, Decision(code="integration_disabled", at=now)))
    if not call.goes_to_crm:
        return Plan(decisions=tuple(decisions), withdraw_popups=True, withdraw_rows=_waiting_ids(told))
    rings, why = _rings(call, told, now, settings)
    decisions += why
    ends = _end(call, told, rings)
    history = _history(call, told, now, settings)
    decisions += history.decisions
    row = [history.row] if history.row is not None else []
    moments = {ring.at for ring in call.rings}
    seen = _notified(told) | {extension for ring in rings for extension in ring.extensions}
    # A second device whose person was told of the call was left out only until its channel showed whose it is.
    seen |= {name for ring in call.rings for name in ring.devices if ring.devices[name] in seen}
    return Plan(
        wanted=(*rings, *ends, *row),
        withdraw_popups=call.over and not any(ring.synthetic for ring in call.rings),
        withdraw_rows=_needless_rows(told, row),
        wake_at=history.wake_at,
        decisions=kept_decisions.merge(decided, decisions, rings=moments, told=seen),
    )


def end_extensions(told: Iterable[Told]) -> tuple[str, ...]:
    """The extensions with a pop-up on the screen, or perhaps with one."""
    shown = (row.extensions for row in told if row.effect == "popup" and row.state not in _NOT_SHOWN)
    return tuple(sorted({extension for extensions in shown for extension in extensions}))


def _rings(
    call: Call, told: Sequence[Told], now: datetime, settings: Settings
) -> tuple[list[RingNotice], list[Decision]]:
    """Pop-ups: every telephone that begins to ring, once, while it is news."""
    notified = _notified(told)
    something_told = bool(notified)
    notices: list[RingNotice] = []
    decisions: list[Decision] = []
    for ring in call.rings:
        if ring.unmapped:
            decisions.append(Decision(code="no_mapping", params={"numbers": ring.unmapped}, at=ring.at))
        new = tuple(extension for extension in ring.people if extension not in notified)
        if not new or (ring.synthetic and something_told):
            continue
        reason = _why_not(call, ring, now, settings)
        if reason is not None:
            decisions.append(Decision(code=reason[0], params={"extensions": new, "why": reason[1]}, at=ring.at))
            continue
        if ring.synthetic:
            decisions.append(Decision(code="synthetic_dial", params={"extensions": new}, at=ring.at))
        notified |= set(new)
        notices.append(
            RingNotice(
                direction=_direction(call),
                phone=call.customer or "",
                extensions=new,
                call_id=call.main_unique_id,
                line_number=call.external_phone,
                site=call.site,
                expires_at=ring.at + settings.popup_max_age,
                synthetic=ring.synthetic,
            )
        )
    return notices, decisions


def _notified(told: Iterable[Told]) -> set[str]:
    return {extension for row in told if row.effect == "popup" for extension in row.extensions}


def _why_not(call: Call, ring: Ring, now: datetime, settings: Settings) -> tuple[str, str] | None:
    """Freshness. The synthetic dial is the one exception to "not after the hangup"."""
    if ring.origin != "live":
        return "expired", "recovered"
    if now - ring.at > settings.popup_max_age:
        return "expired", "too_old"
    if not ring.synthetic:
        return ("expired", "call_over") if call.over or call.hung_up_at is not None else None
    if not settings.synthetic_dial:
        return "synthetic_dial_off", "setting"
    if ring.happened_at is not None and ring.at - ring.happened_at > settings.popup_max_age + _QUEUE:
        return "expired", "replayed"
    return None


def _end(call: Call, told: Sequence[Told], rings: Sequence[RingNotice]) -> list[EndNotice]:
    """Once per call that had a pop-up, to all who had it."""
    if not call.over or any(row.effect == "hangup" for row in told):
        return []
    extensions = {*end_extensions(told), *(extension for ring in rings for extension in ring.extensions)}
    if not extensions:
        return []
    return [
        EndNotice(
            phone=call.customer or "",
            extensions=tuple(sorted(extensions)),
            status=call.hangup_status,
            call_id=call.main_unique_id,
            line_number=call.external_phone,
            site=call.site,
        )
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _History:
    """The history row that is due now, and when to plan again."""

    row: CallRow | None = None
    wake_at: datetime | None = None
    decisions: Sequence[Decision] = ()


def _history(call: Call, told: Sequence[Told], now: datetime, settings: Settings) -> _History:
    """
    One row per call, once it is due; a row under another id of the call counts. A waiting row is derived again, as if
    it had never been entered; so is a row that a person sends again.
    """
    row = _call_row(call)
    uploads = [said for said in told if said.effect == "upload" and not said.waiting and _tells(said, call)]
    if uploads:
        return _told_history(call, row, told, uploads, now)
    if call.upload_due_at is None:
        return _History(wake_at=call.wake_at)
    if row is None:
        return _History(decisions=[Decision(code="no_date", at=now)])
    due = max(call.upload_due_at, _recording_awaited_until(call, settings) or call.upload_due_at)
    if now >= due:
        return _History(row=row)
    if now >= call.upload_due_at:
        waiting = Decision(code="waiting_for_recording", params={"until": due}, at=now)
        return _History(wake_at=due, decisions=[waiting])
    return _History(wake_at=due)


def _told_history(
    call: Call, row: CallRow | None, told: Sequence[Told], uploads: Sequence[Told], now: datetime
) -> _History:
    if not call.over:
        return _History(wake_at=call.wake_at)
    asked_again = row is not None and _is_asked_again(told, row.external_id)
    return _History(row=row if asked_again else None, decisions=_corrections(row, uploads, now))


def _recording_awaited_until(call: Call, settings: Settings) -> datetime | None:
    if not call.answered or call.record_url is not None or call.over_at is None:
        return None
    return call.over_at + settings.wait_for_recording


def _call_row(call: Call) -> CallRow | None:
    if call.date_local is None:
        return None
    return CallRow(
        direction=_direction(call),
        phone=call.customer or "",
        external_id=call.main_unique_id,
        date=call.date_local,
        result=call.result,
        extension=call.owner_extension,
        user_id=call.owner_user_id,
        duration=call.duration_seconds,
        waiting=call.waiting_seconds,
        record_url=call.record_url if call.answered else None,
        line_number=call.external_phone,
        site=call.site,
    )


def _tells(said: Told, call: Call) -> bool:
    """Calls may be joined after the row of one was sent: the same customer's row is this call's row, a leg's is not."""
    content = said.content or {}
    return content.get("external_id") in (None, call.main_unique_id) or content.get("phone") == call.customer


def _waiting_ids(told: Iterable[Told]) -> tuple[str, ...]:
    return tuple(sorted({_id(said) for said in told if said.effect == "upload" and said.waiting}))


def _is_asked_again(told: Sequence[Told], external_id: str) -> bool:
    """Whether a row waits that was sent, or given up, before: a replay."""
    ids = [(_id(said), said.waiting) for said in told if said.effect == "upload"]
    return (external_id, True) in ids and (external_id, False) in ids


def _needless_rows(told: Sequence[Told], wanted: Sequence[CallRow]) -> tuple[str, ...]:
    ids = {row.external_id for row in wanted}
    return tuple(one for one in _waiting_ids(told) if one not in ids and not _is_asked_again(told, one))


def _id(said: Told) -> str:
    return str((said.content or {}).get("external_id") or "")


def _corrections(row: CallRow | None, uploads: Sequence[Told], now: datetime) -> list[Decision]:
    """A row is sent once, because a CRM ignores duplicates. Fields that would differ now are kept as a decision."""
    decisions = []
    for said in uploads:
        if row is None or said.content is None or said.content.get("external_id") != row.external_id:
            continue
        mine = {name: _plain(value) for name, value in asdict(row).items()}
        changed = sorted(name for name, value in mine.items() if name in said.content and said.content[name] != value)
        if changed:
            params = {"changed": {name: [said.content[name], mine[name]] for name in changed}}
            decisions.append(Decision(code="corrected_after_upload", params=params, at=now))
    return decisions


def row_content(row: CallRow) -> dict[str, object]:
    """The `content` of an upload in the ledger, by which corrections differ from repeats."""
    return {name: _plain(value) for name, value in asdict(row).items()}


def _plain(value: object) -> object:
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value


def _direction(call: Call) -> Direction:
    return "out" if call.kind == "out" else "in"
