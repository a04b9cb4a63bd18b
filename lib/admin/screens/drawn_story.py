"""The story of a call as the page draws it: a lane for each party with its waiting, ringing and talking, and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lib.admin.schemas import (
    COUNT,
    DATA,
    FLAG,
    MAYBE_ID,
    MAYBE_MOMENT,
    MAYBE_NUMBER,
    MAYBE_TEXT,
    MOMENT,
    NUMBER,
    TEXT,
    listed,
    maybe,
    one_of,
    record,
)
from lib.calls.directory import Directory
from lib.enterprises.rules import directory
from lib.runtime import db
from lib.store import people
from lib.store.enterprises import Enterprise

Story = Mapping[str, Any]


@dataclass(kw_only=True)
class _Lane:
    number: str
    role: str
    bars: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, since: float, until: float | None) -> None:
        """Bars of one kind without a gap between them become one."""
        last = self.bars[-1] if self.bars else None
        if last and last["kind"] == kind and (last["until"] is None or last["until"] >= since):
            last["until"] = until
        else:
            self.bars.append({"kind": kind, "since": since, "until": until})


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Who is at an extension, as far as this enterprise knows."""

    known: Directory
    names: Mapping[str, str]

    def of(self, extension: str | None) -> dict[str, Any]:
        if extension is None:
            return {"name": None, "user_id": None}
        return {"name": self.names.get(extension), "user_id": self.known.extension_users.get(extension)}

    def name_of_user(self, user_id: int) -> str | None:
        """Of a manager, as the owner of their extension is called here."""
        held = (extension for extension, user in self.known.extension_users.items() if user == user_id)
        return next((self.names[extension] for extension in held if extension in self.names), None)


def faces(conn: db.Connection, enterprise: Enterprise) -> Faces:
    phones = people.list_internal_phones(conn, enterprise.number)
    names = {phone.extension: " ".join(filter(None, (phone.first_name, phone.last_name))) for phone in phones}
    return Faces(known=directory(enterprise), names={held: name for held, name in names.items() if name})


def drawn(story: Story, seen: Faces) -> dict[str, Any]:
    """The story with lanes, and with names for its numbers."""
    line = seen.known.lines.get(story["line_id"] or "")
    return {
        **story,
        "line_name": (line.name or None) if line else None,
        "ends_at": ends_at(story),
        "lanes": [
            {"number": lane.number, "role": lane.role, **seen.of(_extension(lane)), "bars": lane.bars}
            for lane in lanes(story, seen.known)
        ],
        "told": [{**row, "managers": _managers(row, seen)} for row in story["told"]],
    }


def lanes(story: Story, known: Directory) -> list[_Lane]:
    """The customer first, then everybody in the order in which they come in."""
    if not story["rang"] and not story["talked"]:
        return _lanes_of_channels(story, known)
    found: dict[str, _Lane] = {}

    def lane(name: str) -> _Lane:
        number = known.person(name) or name
        role = "extension" if known.is_extension(number) else "outside"
        return found.setdefault(number, _Lane(number=number, role=role))

    bars = [(at, 0, name, "dial" if story["kind"] == "out" else "ring", until) for name, at, until in _rings(story)]
    bars += [(talk["since"], 1, talk["person"], "talk", talk["until"]) for talk in story["talked"]]
    for since, _, name, kind, until in sorted(bars, key=lambda bar: bar[:2]):
        lane(name).add(kind, since, until)
    return [*_customer(story), *found.values()]


def ends_at(story: Story) -> float | None:
    """The end of the drawing. A call that was ended by a timeout ends with its last event. None: it goes on."""
    if story["over_at"] is None:
        return None
    over = (datetime.fromisoformat(story["over_at"]) - datetime.fromisoformat(story["started_at"])).total_seconds()
    last = max((event["at"] for event in story["timeline"]), default=over)
    return max([0.0, min(round(over, 1), last), *(float(talk["until"]) for talk in story["talked"])])


def _customer(story: Story) -> list[_Lane]:
    if not story["customer"]:
        return []
    lane = _Lane(number=story["customer"], role="customer")
    talks = sorted(story["talked"], key=lambda talk: talk["since"])
    began = min((ring["at"] for ring in story["rang"]), default=0.0) if story["kind"] == "out" else 0.0
    first = talks[0]["since"] if talks else ends_at(story)
    if first is None or first > began:
        lane.add("wait", began, first)
    for talk in talks:
        before = lane.bars[-1]["until"] if lane.bars else None
        if before is not None and before < talk["since"]:
            lane.add("hold", before, talk["since"])
        lane.add("talk", talk["since"], talk["until"])
    return [lane]


def _rings(story: Story) -> list[tuple[str, float, float | None]]:
    """
    No event says when a telephone stops ringing. It stops when somebody answers, when other telephones are dialled
    instead, or when the call ends. In a call known by its hangup alone, the telephones rang all the time.
    """
    found = []
    answers = [talk["since"] for talk in story["talked"]]
    for ring in story["rang"]:
        at = 0.0 if ring["synthetic"] else ring["at"]
        for name in ring["extensions"]:
            instead = (other["at"] for other in story["rang"] if name not in other["extensions"])
            end = ends_at(story)
            stops = [moment for moment in (*answers, *instead) if moment > at]
            found.append((name, at, min([*stops, *([max(at, end)] if end is not None else [])], default=None)))
    return found


def _lanes_of_channels(story: Story, known: Directory) -> list[_Lane]:
    """For a call of which only channels in bridges are known, like an internal one."""
    found: dict[str, _Lane] = {}
    customer = _customer(story)
    for leg in story["legs"]:
        number = leg["number"] or leg["channel"]
        if leg["role"] == "customer" and customer:
            continue
        role = "extension" if known.is_extension(number) else "outside"
        for stay in leg["stays"]:
            found.setdefault(number, _Lane(number=number, role=role)).add("talk", stay["since"], stay["until"])
    return [*customer, *found.values()]


def _extension(lane: _Lane) -> str | None:
    return lane.number if lane.role == "extension" else None


def _managers(row: Story, seen: Faces) -> list[dict[str, Any]]:
    extensions: Sequence[str] = row["extensions"]
    return [{"extension": extension, **seen.of(extension)} for extension in extensions]


KIND: Final = one_of("in", "out", "internal", "unknown")
RESULT: Final = one_of("answered", "no answer", "not allowed", "unknown")
EFFECT: Final = one_of("popup", "hangup", "upload")
STATE: Final = one_of(
    "ready",
    "leased",
    "retry",
    "in_doubt",
    "delivered",
    "failed",
    "not_shown",
    "expired",
    "superseded",
    "held",
    "preview",
)
DECISION: Final = record({"code": TEXT, "params": DATA, "at": MAYBE_TEXT})
_ATTEMPT: Final = record(
    {
        "started_at": MOMENT,
        "finished_at": MAYBE_MOMENT,
        "at": NUMBER,
        "outcome": MAYBE_TEXT,
        "http_status": maybe(COUNT),
        "error": MAYBE_TEXT,
        "words": MAYBE_TEXT,
        "request": DATA,
        "response": MAYBE_TEXT,
    },
    optional=("words",),
)
_TOLD: Final = record(
    {
        "id": MAYBE_ID,
        "effect": EFFECT,
        "state": STATE,
        "reason": MAYBE_TEXT,
        "external_id": TEXT,
        "extensions": listed(TEXT),
        "at": MAYBE_NUMBER,
        "managers": listed(record({"extension": TEXT, "name": MAYBE_TEXT, "user_id": MAYBE_ID})),
        "is_replayable": FLAG,
        "is_latest": FLAG,
        "generation": COUNT,
        "requested_by": MAYBE_TEXT,
        "requested_at": MAYBE_MOMENT,
        "attempts": listed(_ATTEMPT),
    },
    optional=("is_replayable", "is_latest", "generation", "requested_by", "requested_at"),
)
_BAR: Final = record({"kind": one_of("wait", "hold", "ring", "dial", "talk"), "since": NUMBER, "until": MAYBE_NUMBER})
STORY: Final = record(
    {
        "unique_id": TEXT,
        "kind": KIND,
        "customer": MAYBE_TEXT,
        "line_id": MAYBE_TEXT,
        "line_name": MAYBE_TEXT,
        "external_phone": MAYBE_TEXT,
        "site": MAYBE_TEXT,
        "started_at": MOMENT,
        "date": MAYBE_TEXT,
        "answered": FLAG,
        "answered_by_status": FLAG,
        "result": RESULT,
        "owner": MAYBE_TEXT,
        "owner_user_id": MAYBE_ID,
        "duration_seconds": COUNT,
        "duration_is_estimate": FLAG,
        "waiting_seconds": maybe(COUNT),
        "record_url": MAYBE_TEXT,
        "over_at": MAYBE_MOMENT,
        "pending": listed(TEXT),
        "wake_at": MAYBE_MOMENT,
        "ends_at": MAYBE_NUMBER,
        "lanes": listed(
            record(
                {
                    "number": TEXT,
                    "role": one_of("customer", "extension", "outside"),
                    "name": MAYBE_TEXT,
                    "user_id": MAYBE_ID,
                    "bars": listed(_BAR),
                }
            )
        ),
        "rang": listed(
            record(
                {
                    "at": NUMBER,
                    "extensions": listed(TEXT),
                    "people": listed(TEXT),
                    "unmapped": listed(TEXT),
                    "synthetic": FLAG,
                }
            )
        ),
        "talked": listed(record({"person": TEXT, "since": NUMBER, "until": NUMBER, "channel": TEXT, "seen": FLAG})),
        "transfers": listed(record({"at": NUMBER, "from": MAYBE_TEXT, "to": MAYBE_TEXT})),
        "legs": listed(
            record(
                {
                    "channel": TEXT,
                    "unique_id": TEXT,
                    "role": one_of("customer", "phone", "line", "local"),
                    "leg": MAYBE_TEXT,
                    "number": TEXT,
                    "stays": listed(record({"bridge": TEXT, "since": NUMBER, "until": MAYBE_NUMBER})),
                }
            )
        ),
        "decisions": listed(DECISION),
        "warnings": listed(DECISION),
        "timeline": listed(
            record(
                {
                    "at": NUMBER,
                    "received_at": MOMENT,
                    "event_id": TEXT,
                    "event_type": TEXT,
                    "unique_id": TEXT,
                    "origin": TEXT,
                    "says": TEXT,
                }
            )
        ),
        "told": listed(_TOLD),
        "click": maybe(
            record(
                {
                    "clicked_at": MOMENT,
                    "user_id": MAYBE_ID,
                    "extension": TEXT,
                    "phone": TEXT,
                    "http_status": maybe(COUNT),
                    "message": MAYBE_TEXT,
                }
            )
        ),
        "host_clock": maybe(record({"lag_seconds": MAYBE_NUMBER, "wall_seconds": MAYBE_NUMBER, "observed_at": MOMENT})),
        "is_replayable": FLAG,
    }
)
