"""The link keys that are kept of waiting events are those that would be made."""

from __future__ import annotations

from datetime import UTC, datetime

from lib.calls.directory import Directory
from lib.ledger.assemble import _KEPT, _WaitingKeys
from lib.store.events import StoredEvent

KNOWN = Directory(internal_phones=frozenset({"150"}))


def waiting(number):
    return StoredEvent(
        event_id=f"00000000-0000-0000-0000-{number:012}",
        enterprise_number="0367",
        unique_id=f"1760000000.{number}",
        event_type="start",
        raw={"UniqueId": f"1760000000.{number}", "Phone": "375291111111", "CallType": 0, "Trunk": "0001301"},
        record_url=None,
        data_source="live",
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        call_id=None,
    )


def test_they_are_made_once_and_only_of_what_still_waits():
    kept = _WaitingKeys()

    first = kept.of("0367", KNOWN, [waiting(1), waiting(2)])
    second = kept.of("0367", KNOWN, [waiting(2), waiting(3)])

    assert second.keys() == {waiting(2).event_id, waiting(3).event_id}
    assert second[waiting(2).event_id] is first[waiting(2).event_id]
    assert "c<+375291111111" in second[waiting(3).event_id].weak


def test_another_configuration_makes_them_anew():
    kept = _WaitingKeys()
    before = kept.of("0367", KNOWN, [waiting(1)])

    after = kept.of("0367", Directory(internal_phones=frozenset({"375291111111"})), [waiting(1)])

    assert before[waiting(1).event_id].weak != after[waiting(1).event_id].weak


def test_only_those_of_the_enterprises_looked_at_last_are_kept():
    kept = _WaitingKeys()
    first = kept.of("0", KNOWN, [waiting(1)])
    for number in range(1, _KEPT + 1):
        kept.of(str(number), KNOWN, [waiting(1)])

    again = kept.of("0", KNOWN, [waiting(1)])

    assert again == first
    assert again[waiting(1).event_id] is not first[waiting(1).event_id]
