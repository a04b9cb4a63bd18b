"""What comes from the old system, what does not and why, in words for the operator: names, never values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from infra.commands.moving.decide import Change, State
from infra.commands.moving.translate import Translated
from infra.commands.moving.values import printable, shown
from lib.runtime.auth import TOKEN_DIGITS
from lib.store.integration import RETAILCRM

Pair = tuple[Translated, Change]

_STATES: Final[tuple[tuple[State, str], ...]] = (
    ("new", "come"),
    ("changed", "are here already and are changed"),
    ("kept", "are here already, differ, and stay as they are"),
    ("same", "are here already, the same"),
    ("cannot", "cannot come, or are switched off there"),
)


def lines(pairs: Sequence[Pair], remarks: Sequence[str], *, overwrite: bool) -> Iterator[str]:
    for remark in remarks:
        yield f"The old database: {remark}"
    for theirs, change in pairs:
        yield f"{shown(theirs.number) or '(no number)'} {shown(theirs.name)}: {_sentence(theirs, change)}"
        for reason in change.cannot if not theirs.is_skipped else ():
            yield f"  because {reason}"
        if change.different:
            word = "overwritten" if overwrite else "differs, and stays as it is here (OVERWRITE=1: as it is there)"
            yield f"  {word}: {', '.join(map(printable, change.different))}"
        for reason in change.behind:
            yield f"  stays behind: {printable(reason)}"
    yield ""
    yield from _summary(pairs)


def _sentence(theirs: Translated, change: Change) -> str:
    match change.state:
        case "cannot":
            return f"does not come: {change.cannot[0]}" if theirs.is_skipped else "cannot come"
        case "new":
            return f"comes with {_contents(theirs, change)}"
        case "changed" if change.added:
            return f"is here already; added: {', '.join(change.added)}"
        case "same":
            return "is here already, the same"
        case _:
            return "is here already"


def _contents(theirs: Translated, change: Change) -> str:
    users: Sequence[dict[str, Any]] = change.file["users"]
    extensions = len(change.file["internal_phones"]) + sum(len(user["internal_phones"]) for user in users)
    words = [f"people: {len(users)}", f"extensions: {extensions}", f"lines: {len(change.file['lines'])}"]
    for name in change.file["integrations_config"]:
        if name == RETAILCRM:
            words.append(f"RetailCRM, {'on' if theirs.is_on else 'not at work'} there, managers: {theirs.managers}")
        else:
            words.append(f"{name}, which no service here serves")
    return "; ".join(words)


def _summary(pairs: Sequence[Pair]) -> Iterator[str]:
    states = Counter(change.state for _, change in pairs)
    yield f"{len(pairs)} enterprises: " + "; ".join(
        f"{states[state]} {words}" for state, words in _STATES if states[state]
    )
    coming = [(theirs, change) for theirs, change in pairs if change.state != "cannot"]
    if short := sum(_is_short(theirs.file["token"]) for theirs, _ in coming):
        yield (
            f"{short} tokens are numbers that can be guessed: make rotate-token gives another, once its hosts post to"
            " nobody but us"
        )
    if mute := sum(not change.file.get("asterisk_url") for _, change in coming if change.state == "new"):
        yield f"{mute} come without the address of their Asterisk service, and cannot be clicked: ASTERISK_URL=http://…"
    if on := [theirs.number for theirs, _ in coming if theirs.is_on]:
        yield f"RetailCRM is told of calls by the old system for {len(on)}: {','.join(on)}"
        yield (
            "  Here it is switched off for all that come new, so that nobody is told twice:"
            ' make switch ENTERPRISES=… TO=on (docs/moving.md, "The day of the move")'
        )


def _is_short(token: str | None) -> bool:
    return bool(token) and str(token).isdigit() and len(str(token)) < TOKEN_DIGITS
