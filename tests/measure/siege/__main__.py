"""
`make siege`: an enterprise whose phone rings twice a second, alone and then beside each attack.

Each attack gets a running system of its own, started as `make run` does, so that memory and what is still under way
are its own. Everything goes through the local gateway on loopback, bounded in time and size; pop-ups and rows are judged
by what the CRMs hold. Exit code 1 when an attack cost the others something, or the attacker something that was accepted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.stand_ins.stack import Crashed
from tests.harness import folders
from tests.measure.siege import guesses, heavy_events, long_calls, recovery, slow_bodies, strangers, verdict
from tests.measure.siege.attack import Attack
from tests.measure.siege.siege import besiege
from tests.measure.siege.verdict import UNHEEDED_SECONDS, Seen

NOTHING: Final = Attack(name="nothing", title="nothing", run=lambda _ground, _tally: None)
ATTACKS: Final = (
    strangers.ATTACK,
    recovery.LIVE,
    recovery.DOWNLOAD,
    long_calls.BATCHES,
    long_calls.POSTS,
    long_calls.BRIDGE,
    heavy_events.LISTS,
    heavy_events.NAMES,
    slow_bodies.ATTACK,
    guesses.TOKENS,
    guesses.CLIENT_IDS,
)


def run(attacks: Sequence[Attack], *, seconds: float) -> bool:
    """Prints a table; whether the bar was kept."""
    quiet = _seen(NOTHING, seconds=seconds, limit=UNHEEDED_SECONDS)
    limit = verdict.limit_seconds(quiet)
    found = [quiet, *(_seen(attack, seconds=seconds, limit=limit) for attack in attacks)]
    print(f"\n{verdict.report(found)}\n")
    broken = [f"{seen.name}: {rule}" for seen in found for rule in verdict.broken(seen, limit=limit)]
    print("\n".join(broken) or f"Nobody hurt anybody else (a pop-up may take {limit:.1f} s).")
    return not broken


def _seen(attack: Attack, *, seconds: float, limit: float) -> Seen:
    say(f"beside {attack.title}")
    with tempfile.TemporaryDirectory(prefix="siege-", dir=folders.in_memory(), ignore_cleanup_errors=True) as folder:
        try:
            return besiege(attack, Path(folder), seconds=seconds, limit=limit, say=say)
        except Crashed as crash:
            say(str(crash))
            return Seen(name=attack.title, rings=[], failure=str(crash).splitlines()[0])


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make siege", description="Can one hurt another?")
    names = [attack.name for attack in ATTACKS]
    parser.add_argument("--only", action="append", default=[], choices=names, help="this attack, beside nothing else")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long an attack lasts (default: %(default)s)")
    given = parser.parse_args()
    attacks = [attack for attack in ATTACKS if attack.name in given.only or not given.only]
    return 0 if run(attacks, seconds=given.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
