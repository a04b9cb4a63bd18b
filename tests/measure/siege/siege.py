"""One attack on a running system, and what a victim beside it sees until all of it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.measure.siege import verdict
from tests.measure.siege.attack import Attack, Ground, Tally
from tests.measure.siege.http_posts import Client
from tests.measure.siege.memory import peaks
from tests.measure.siege.site import ATTACKER, VICTIM, Site, site
from tests.measure.siege.verdict import Own, Seen
from tests.measure.siege.victim import Victim

# Processes meet the enterprises and open their connections.
WARM_UP_SECONDS: Final = 5.0
# A pop-up is news for 15 s, and its request may take 3 s more: what has not come by then never does.
POPUP_SECONDS: Final = 20.0
RECOVERY_SECONDS: Final = 120.0
DRAIN_SECONDS: Final = 600.0
PROGRESS_SECONDS: Final = 5.0

Say = Callable[[str], None]


def besiege(attack: Attack, folder: Path, *, seconds: float, limit: float, say: Say) -> Seen:
    """`limit`: from how many seconds on a pop-up is late. Raises Crashed when a part of the system ended."""
    with site(folder, bystanders=attack.bystanders) as here, peaks(here.pids()) as memory:
        host = Client(url=here.gateway, token=here.tokens[VICTIM])
        victim = Victim(host, number=VICTIM, crm=here.crms[VICTIM])
        siege = _Siege(attack=attack, here=here, victim=victim, tally=Tally(), seconds=seconds, limit=limit, say=say)
        victim.start()
        try:
            here.stack.pause(WARM_UP_SECONDS)
            began = time.time()
            siege.attack_to_its_end(began)
            ended_at = time.time()
            drained = siege.wait_until_done()
            siege.wait_until_normal(began, ended_at)
        finally:
            victim.stop()
        siege.wait_for_late_pop_ups(began)
        return siege.seen(began, ended_at, drained, dict(memory))


@dataclass(kw_only=True)
class _Siege:
    attack: Attack
    here: Site
    victim: Victim
    tally: Tally
    seconds: float
    limit: float
    say: Say
    failure: str = ""
    told_at: float = 0.0

    def attack_to_its_end(self, began: float) -> None:
        thread = threading.Thread(target=self._attack, name=self.attack.name)
        thread.start()
        while thread.is_alive() or time.time() < began + self.seconds:
            self.here.stack.pause(0.5)
            self._tell(began, f"answers {dict(self.tally.answers)}")

    def wait_until_done(self) -> float | None:
        """How long what was accepted took to be done."""
        began = time.time()
        return self.here.wait_until_done(DRAIN_SECONDS, lambda left: self._tell(began, f"{left} under way"))

    def wait_until_normal(self, began: float, ended_at: float) -> None:
        until = time.time() + RECOVERY_SECONDS
        while self._normal_after(began, ended_at) is None and time.time() < until:
            self.here.stack.pause(0.5)
            self._tell(began, "not normal yet")

    def wait_for_late_pop_ups(self, began: float) -> None:
        until = time.time() + POPUP_SECONDS
        while verdict.missing(self.victim.rings(since=began)) and time.time() < until:
            self.here.stack.pause(0.5)

    def seen(self, began: float, ended_at: float, drained: float | None, memory: dict[str, float]) -> Seen:
        over = began + self.seconds
        rings = self.victim.rings(since=began)
        return Seen(
            name=self.attack.title,
            rings=[ring for ring in rings if ring.due_at < over],
            later=[ring for ring in rings if ring.due_at >= over],
            peaks=memory,
            normal_after=verdict.normal_after(rings, ended_at=ended_at, limit=self.limit),
            own=self.here.own(self.tally.offered, self.tally.accepted, drained) if self.tally.offered else Own(),
            answers=self.tally.answers,
            others_refused=self.tally.others_refused,
            failure=self.failure,
        )

    def _attack(self) -> None:
        ground = Ground(
            gateway=self.here.gateway,
            seconds=self.seconds,
            token=self.here.tokens[ATTACKER],
            bystanders=self.here.bystanders,
        )
        try:
            self.attack.run(ground, self.tally)
        except Exception as error:  # noqa: BLE001  (an attack that did not take place proves nothing)
            self.failure = f"the attack itself failed: {error!r}"

    def _normal_after(self, began: float, ended_at: float) -> float | None:
        """By the rings of which it is known how they came."""
        known_until = time.time() - self.limit
        rings = [one for one in self.victim.rings(since=began) if one.shown_at is not None or one.due_at < known_until]
        return verdict.normal_after(rings, ended_at=ended_at, limit=self.limit)

    def _tell(self, began: float, words: str) -> None:
        if time.time() - self.told_at < PROGRESS_SECONDS:
            return
        self.told_at = time.time()
        rings = self.victim.rings(since=began)
        shown = len(rings) - verdict.missing(rings)
        self.say(f"{self.attack.name}: {self.told_at - began:.0f} s, {shown} pop-ups of {len(rings)} rings; {words}")
