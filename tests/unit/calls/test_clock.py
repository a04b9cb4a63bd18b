from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from lib.calls import clock
from lib.calls.event import RawEvent, parse

MINSK = ZoneInfo("Europe/Minsk")
# 06:00:00 in Minsk.
EPOCH = 1760497200
RECEIVED = datetime.fromtimestamp(EPOCH + 25, UTC)


def hangup(**raw):
    sent = {"UniqueId": f"{EPOCH}.7", "Phone": "375291111111", "CallType": 0, "CallStatus": "2", **raw}
    return parse(RawEvent(event_id="1", event_type="hangup", unique_id=f"{EPOCH}.7", raw=sent, received_at=RECEIVED))


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ({"StartTime": "2025-10-15 06:00:03", "EndTime": "2025-10-15 06:00:23"}, 20),
        ({"EndTime": "2025-10-15 06:00:23"}, 23),
        ({"EndTime": "2025-10-15 18:00:23"}, None),  # twelve hours after we heard of it
        ({"EndTime": "2025-10-15 05:00:23"}, None),  # before its channel began
        ({"StartTime": "2025-10-15 06:00:03"}, None),
    ],
)
def test_a_call_lasted_as_long_as_times_say_that_can_be_believed(times, seconds):
    lasted = clock.lasted(hangup(**times), MINSK)

    assert lasted == (None if seconds is None else timedelta(seconds=seconds))
