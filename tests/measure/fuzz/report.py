"""How a run speaks: its progress, each finding with the smallest stream, its sum."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tests.measure.fuzz.case import Case
from tests.measure.fuzz.invariants import Finding
from tests.measure.fuzz.stream import OUT, Numeral, Sent, path

_LONG = 600


def progress(seconds: float, cases: int, events: int, kinds: int) -> None:
    rate = cases / seconds if seconds else 0
    say = f"{seconds:5.0f} s  cases {cases} ({rate:.0f} a second), events {events}, kinds of findings {kinds}"
    print(say, file=sys.stderr, flush=True)


def finding(invariant: str, smallest: Case, found: Iterable[Finding]) -> str:
    says = next((one.says for one in found if invariant.startswith(one.invariant)), "")
    spoiled = ", ".join(map(str, smallest.spoilings)) or "nothing spoiled"
    return "\n".join(
        [
            f"\n{invariant}: {says[:_LONG]}",
            f"  {' + '.join(part.source.name for part in smallest.parts)}; {spoiled}",
            *_lines(smallest),
            f"  again: make fuzz SEED={smallest.seed} CASE={smallest.number}",
        ]
    )


def case(one: Case) -> str:
    parts = ", ".join(f"{part.source.name} at {part.offset:+d} s" for part in one.parts)
    spoiled = ", ".join(map(str, one.spoilings))
    return "\n".join([f"{parts}; {spoiled}; keeps {one.keeps.name}", *_lines(one)])


def _lines(one: Case) -> list[str]:
    clean = {sent.tag: sent for part in one.parts for sent in one.clean(part)}
    began = min((sent.at for sent in one.stream), default=0)
    return [_line(sent, clean.get(sent.original), began) for sent in one.stream]


def _line(sent: Sent, before: Sent | None, began: float) -> str:
    """The event, and behind it what it was before."""
    was = before.body if before is not None else {}
    changed = {name: was[name] for name in was if sent.body.get(name, OUT) != was[name]}
    text = f"  {sent.at - began:8.1f}  {path(sent)} {sent.kind if sent.enveloped else ''} {_json(sent.body)}"
    if sent.record_url is not None:
        text += f" record_url {sent.record_url!r}"
    if sent.encoding != "ascii":
        text += f" in {sent.encoding}"
    if sent.origin != "live":
        text += f" {sent.origin}"
    return (text + (f"   was {_json(changed)}" if changed else ""))[: 3 * _LONG]


def _json(body: Mapping[str, object]) -> str:
    return json.dumps(body, default=lambda one: one.digits if isinstance(one, Numeral) else "-")


def summary(
    seed: int, kinds: Counter[tuple[str, ...]], first: Mapping[tuple[str, ...], int], unblamed: Counter[str]
) -> str:
    """By invariant, the spoilings that it takes, fewest first."""
    found: dict[str, list[Sequence[str]]] = defaultdict(list)
    for invariant, *spoiled in kinds:
        found[invariant].append(spoiled)
    lines = [""]
    for invariant, ways in sorted(found.items()):
        total = sum(kinds[invariant, *way] for way in ways)
        lines.append(f"{invariant}: {total} looked into, {unblamed[invariant]} more")
        for way in sorted(ways, key=lambda way: (len(way), -kinds[invariant, *way])):
            one = (invariant, *way)
            lines.append(f"  {kinds[one]:6}  {' + '.join(way) or 'nothing spoiled'}   SEED={seed} CASE={first[one]}")
    return "\n".join(lines)
