"""The screens of the CRM's users: pop-ups and history, folded from the ledger's entries in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.stand_ins.retailcrm_simulator.ledger import Entry

# A pop-up's call, code and user.
_Key = tuple[str, str | None, int | None]


@dataclass(kw_only=True)
class PopUp:
    """A customer's card on one manager's screen. Times are seconds since the epoch."""

    account: str
    call_external_id: str | None
    phone: str
    direction: str
    code: str | None
    user_id: int | None
    external_phone: str | None
    site: str | None
    shown_at: float
    shown_times: int = 1
    hung_up_at: float | None = None
    hangup_status: str | None = None


@dataclass(kw_only=True)
class HistoryRow:
    """One externalId: how often it was sent, and the call that is held, once it was applied."""

    account: str
    external_id: str
    sent: int = 0
    applied: int = 0
    duplicates: int = 0
    first_sent_at: float
    applied_at: float | None = None
    call: Mapping[str, Any] | None = None


@dataclass(kw_only=True)
class _Seen:
    popups: dict[_Key, PopUp] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    rows: dict[str, HistoryRow] = field(default_factory=dict)


class Board:
    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def fold(self, entry: Entry) -> None:
        seen = self._seen.setdefault(entry.account, _Seen())
        if entry.kind == "event" and entry.applied:
            self._fold_event(seen, entry)
        elif entry.kind == "upload":
            self._fold_upload(seen, entry)

    def clear(self, account: str | None) -> None:
        if account is None:
            self._seen.clear()
        else:
            self._seen.pop(account, None)

    def popups(self, account: str | None) -> list[PopUp]:
        """In the order in which they were first shown."""
        shown = [popup for seen in self._chosen(account) for popup in seen.popups.values()]
        return sorted(shown, key=lambda popup: popup.shown_at)

    def history(self, account: str | None) -> list[HistoryRow]:
        """Everything that was ever sent, in that order; what is not held has no `call`."""
        return [row for seen in self._chosen(account) for row in seen.rows.values()]

    def held_call(self, account: str, external_id: str) -> Mapping[str, Any] | None:
        row = self._seen.get(account, _Seen()).rows.get(external_id)
        return row.call if row else None

    def doubts_about(self, account: str, event: Mapping[str, Any]) -> list[str]:
        """What a call's order of events should never be."""
        seen, call = self._seen.get(account, _Seen()), event.get("callExternalId")
        if not call:
            return []
        shown = [popup for (of, _, _), popup in seen.popups.items() if of == call]
        if event["type"] == "hangup":
            doubts = ["hangup of a call that had no pop-up"] if not shown else []
            return [*doubts, "second hangup of its call"] if call in seen.ended else doubts
        if call in seen.ended:
            return ["pop-up after the hangup of its call"]
        codes = event.get("codes") or []
        again = sorted(popup.code for popup in shown if popup.code and popup.code in codes)
        return [f"pop-up shown again to {', '.join(again)}"] if again else []

    def _chosen(self, account: str | None) -> Iterator[_Seen]:
        if account is None:
            yield from self._seen.values()
        elif account in self._seen:
            yield self._seen[account]

    @staticmethod
    def _fold_event(seen: _Seen, entry: Entry) -> None:
        applied = entry.applied or {}
        event: Mapping[str, Any] = applied["event"]
        at = entry.applied_at or entry.received_at
        call = event.get("callExternalId") or "phone " + re.sub("[^0-9]", "", event["phone"])
        if event["type"] == "hangup":
            if event.get("callExternalId"):
                seen.ended.add(call)
            _end_popups([(call, target["code"], target["user_id"]) for target in applied["shown_to"]], seen, event, at)
            return
        for target in applied["shown_to"]:
            key = (call, target["code"], target["user_id"])
            known = seen.popups.get(key)
            if known and (known.hung_up_at is None or event.get("callExternalId")):
                known.shown_times += 1
                continue
            seen.popups.pop(key, None)
            seen.popups[key] = PopUp(
                account=entry.account,
                call_external_id=event.get("callExternalId"),
                phone=event["phone"],
                direction=event["type"],
                code=target["code"],
                user_id=target["user_id"],
                external_phone=event.get("externalPhone"),
                site=event.get("site"),
                shown_at=at,
            )

    @staticmethod
    def _fold_upload(seen: _Seen, entry: Entry) -> None:
        sent = entry.fields.get("calls")
        for call in sent if isinstance(sent, list) else []:
            external_id = call.get("externalId") if isinstance(call, dict) else None
            if isinstance(external_id, str):
                fresh = HistoryRow(account=entry.account, external_id=external_id, first_sent_at=entry.received_at)
                seen.rows.setdefault(external_id, fresh).sent += 1
        applied = entry.applied or {}
        for call in applied.get("stored", ()):
            row = seen.rows[call["externalId"]]
            row.call, row.applied_at = call, entry.applied_at
            row.applied += 1
        for external_id in applied.get("duplicates", ()):
            seen.rows[external_id].duplicates += 1


def _end_popups(keys: Iterable[_Key], seen: _Seen, event: Mapping[str, Any], at: float) -> None:
    for key in keys:
        popup = seen.popups.get(key)
        if popup:
            popup.hung_up_at, popup.hangup_status = at, event["hangupStatus"]


def as_json(item: PopUp | HistoryRow) -> dict[str, Any]:
    return asdict(item)
