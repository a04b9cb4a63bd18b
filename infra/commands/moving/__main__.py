"""
Brings the enterprises of the old system here: `make import FROM=<dsn of its database>`. A report comes first, then
everything that it says, one enterprise after another, each whole or not at all.

What is here already stays as it is; what is missing is added. So it may be stopped and run again at any time, and a run
behind a complete one changes nothing. RetailCRM comes switched off: `make switch` lets an enterprise go over
(docs/moving.md). The address of the old database is in OLD_DATABASE_URL, for arguments are seen by everybody.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from infra import command
from infra.commands import numbers, person
from infra.commands.moving import here, old, report
from infra.commands.moving.decide import decide
from infra.commands.moving.integrations import problems_of
from infra.commands.moving.old import OldDatabase
from infra.commands.moving.report import Pair
from infra.commands.moving.translate import Defaults, Translated, translate_all
from lib.runtime import config, db, logs
from lib.runtime.errors import InvalidPayload, NotFound

_SECRET_CHARACTERS = 8


@dataclass(frozen=True, kw_only=True)
class Source:
    old_database_url: str = field(repr=False)


def main() -> int:
    given = _arguments()
    try:
        command.begin()
        config.load(config.Vault)
        source, by = config.load(Source).old_database_url, person.of(given.by)
        defaults, only = _defaults(given), frozenset(numbers.read(given.only))
        found = old.read(source)
        coming = _coming(found, defaults, only)
        with db.transaction() as conn:
            now_here = here.read(conn, coming)
        pairs = [(theirs, decide(theirs, now_here, overwrite=given.overwrite)) for theirs in coming]
        hidden = _secrets(coming)
        for line in report.lines(pairs, found.remarks, overwrite=given.overwrite):
            print(logs.hide(line, hidden))
        if given.dry:
            print("Nothing was changed: a dry run.")
            return 0
        return _bring(pairs, overwrite=given.overwrite, by=by)
    except command.FAILURES as error:
        return command.fail("import", f"{command.words(error)}; what is done is done, run it again")
    finally:
        db.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make import", description="Brings the enterprises of the old system here")
    parser.add_argument("--dry", action="store_true", help="only say what would be done")
    parser.add_argument("--only", default="", help="numbers of enterprises, separated by commas; all")
    parser.add_argument("--overwrite", action="store_true", help="what is here in another way becomes as it is there")
    parser.add_argument("--asterisk-url", default="", help="the Asterisk service of those that have none here")
    parser.add_argument("--region", default="", help="of those that come new (BY)")
    parser.add_argument("--timezone", default="", help="of those that come new (Europe/Minsk)")
    parser.add_argument("--by", default="", help="who wants it; the user of the operating system")
    return parser.parse_args()


def _defaults(given: argparse.Namespace) -> Defaults:
    """Raises InvalidPayload."""
    said = {name: getattr(given, name).strip() for name in ("region", "timezone", "asterisk_url")}
    chosen = {name: value for name, value in said.items() if value}
    if problems := problems_of(**chosen):
        raise InvalidPayload(
            "; ".join(f"{problem.partition(':')[0].upper()}:{problem.partition(':')[2]}" for problem in problems)
        )
    return Defaults(**chosen)


def _coming(found: OldDatabase, defaults: Defaults, only: AbstractSet[str]) -> list[Translated]:
    """Raises NotFound for a number that the old database does not have."""
    if strange := sorted(only - {one.number for one in found.enterprises}):
        raise NotFound(f"ONLY: the old database has no enterprise {', '.join(strange)}")
    return translate_all(found.enterprises, defaults=defaults, only=only)


def _bring(pairs: Sequence[Pair], *, overwrite: bool, by: str) -> int:
    """Writes what there is to write; 1 when something could not be written."""
    wanted = [theirs for theirs, change in pairs if change.is_written]
    failed = written = 0
    for place, theirs in enumerate(wanted, start=1):
        try:
            change, notes = here.write(theirs, overwrite=overwrite, by=by)
        except InvalidPayload as error:
            failed += 1
            print(f"{theirs.number} was not written: {error}", file=sys.stderr)
            continue
        written += change.is_written
        for note in notes:
            print(f"{theirs.number}: {note}")
        if place % 50 == 0:
            print(f"  {place} of {len(wanted)}")
    cannot = sum(change.state == "cannot" and not theirs.is_skipped for theirs, change in pairs)
    print(f"Done: {written} enterprises were written, {failed} were not, {cannot} cannot come.")
    return 1 if failed else 0


def _secrets(coming: Sequence[Translated]) -> list[str]:
    """Safety net: nothing of the report is meant to hold one of them."""

    def found() -> Iterator[str]:
        for theirs in coming:
            yield from (theirs.file.get("token") or "", theirs.file.get("secret") or "")
            for section in theirs.file.get("integrations_config", {}).values():
                yield section.get("api_key") or ""

    return sorted({one for one in found() if len(one) >= _SECRET_CHARACTERS}, key=len, reverse=True)


if __name__ == "__main__":
    sys.exit(main())
