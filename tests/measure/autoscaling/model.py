"""
A model of the gateway in Google Cloud: instances that the autoscaler starts, pushes that Pub/Sub holds back, one database,
one assembler for each enterprise. Virtual time, no network; the same seed gives the same run.

What is measured comes from docs/performance.md, what Google documents from its pages, and what is neither is in `Guesses`.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

# No instance had room in time.
SERVED, REFUSED = 200, 429


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Processor milliseconds of an event: docs/performance.md, "After", at 100 events a second."""

    intake_ms: float = 1.99
    deliver_ms: float = 5.40
    # Of the database for intake (one statement), and for everything else.
    store_ms: float = 1.0
    assemble_ms: float = 4.6
    # A row has as many statements and one request, as a pop-up has.
    row_ms: float = 5.40
    # Whoever finds another at its enterprise asks twice and goes.
    left_ms: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """Nobody has measured these on a real project."""

    # From the function to Cloud SQL and back; a commit waits for the disk of two zones.
    round_trip_ms: float = 1.0
    commit_ms: float = 3.0
    pubsub_ms: float = 30.0
    crm_ms: float = 200.0
    cold_start_seconds: float = 6.0


@dataclass(frozen=True, kw_only=True)
class Documented:
    """Of Cloud Run and Pub/Sub."""

    target: float = 0.6  # of the processor, and of the requests at once, averaged over a minute
    window_seconds: float = 60.0
    look_seconds: float = 5.0
    queue_seconds: float = 10.0  # a request for which no instance has room; then 429
    backoff_seconds: float = 1.0  # retry policy of infra/topology.json, doubled up to
    backoff_most_seconds: float = 60.0
    first_window: int = 4  # pushes at once; grows with each answer, is halved by a refusal


@dataclass(frozen=True, kw_only=True)
class Size:
    min: int
    max: int
    threads: int
    pool: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """`peak`: by how much the rate jumps from one second to the next, from the middle of the run on, for a minute."""

    enterprises: int
    calls_an_hour: float = 30.0
    events_a_call: int = 7
    call_seconds: float = 40.0
    seconds: float = 300.0
    peak: float = 3.0
    # The largest enterprises have most calls: 1 / rank ** skew.
    skew: float = 0.6


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._count), do))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, do = heapq.heappop(self._due)
            do()


class Processor:
    """`cores` that serve one after the other."""

    def __init__(self, clock: Clock, cores: int) -> None:
        self._clock = clock
        self._free = [0.0] * cores
        self.busy_seconds = 0.0

    def spend(self, milliseconds: float) -> float:
        """When it is done, in seconds from now."""
        seconds = milliseconds / 1000
        begins = max(self._clock.now, heapq.heappop(self._free))
        heapq.heappush(self._free, begins + seconds)
        self.busy_seconds += seconds
        return begins + seconds - self._clock.now


class Instance:
    def __init__(self, clock: Clock) -> None:
        self.processor = Processor(clock, 1)
        self.requests = 0


# A request: it is told its instance, and what to call when it has been answered.
Work = Callable[[Instance, Callable[[], None]], None]


class Service:
    """A service of Cloud Run."""

    def __init__(self, clock: Clock, size: Size, guesses: Guesses, documented: Documented) -> None:
        self._clock, self._size, self._guesses, self._documented = clock, size, guesses, documented
        self._instances = [Instance(clock) for _ in range(size.min)]
        self._starting = 0
        self._queue: deque[tuple[float, Work, Callable[[int], None]]] = deque()
        self._samples: deque[tuple[float, float, int]] = deque()
        self._seen_busy = 0.0
        self.most_instances = size.min
        self.refused = 0
        clock.after(documented.look_seconds, self._look)

    @property
    def instances(self) -> int:
        return len(self._instances)

    def request(self, work: Work, done: Callable[[int], None]) -> None:
        """`done` hears the status: SERVED or REFUSED."""
        instance = min(self._instances, key=lambda one: one.requests)
        if instance.requests < self._size.threads:
            self._serve(instance, work, done)
            return
        self._queue.append((self._clock.now + self._documented.queue_seconds, work, done))
        self._start(1 if self._starting == 0 else 0)
        self._clock.after(self._documented.queue_seconds, self._give_up)

    def _serve(self, instance: Instance, work: Work, done: Callable[[int], None]) -> None:
        instance.requests += 1

        def answered() -> None:
            instance.requests -= 1
            done(SERVED)
            self._next(instance)

        work(instance, answered)

    def _next(self, instance: Instance) -> None:
        if self._queue and instance.requests < self._size.threads:
            _, work, done = self._queue.popleft()
            self._serve(instance, work, done)

    def _give_up(self) -> None:
        while self._queue and self._queue[0][0] <= self._clock.now:
            _, _, done = self._queue.popleft()
            self.refused += 1
            done(REFUSED)

    def _look(self) -> None:
        """The autoscaler, every few seconds, by the averages of the last minute."""
        busy = sum(one.processor.busy_seconds for one in self._instances)
        spent, self._seen_busy = max(0.0, busy - self._seen_busy), busy
        requests = sum(one.requests for one in self._instances)
        self._samples.append((self._clock.now, spent / self._documented.look_seconds, requests))
        while self._samples[0][0] < self._clock.now - self._documented.window_seconds:
            self._samples.popleft()
        cores = sum(one for _, one, _ in self._samples) / len(self._samples)
        at_once = sum(one for _, _, one in self._samples) / len(self._samples)
        target = self._documented.target
        wanted = math.ceil(max(cores / target, at_once / (target * self._size.threads)))
        self._start(wanted - self.instances - self._starting)
        self._clock.after(self._documented.look_seconds, self._look)

    def _start(self, count: int) -> None:
        for _ in range(min(count, self._size.max - self.instances - self._starting)):
            self._starting += 1
            self._clock.after(self._guesses.cold_start_seconds, self._started)

    def _started(self) -> None:
        self._starting -= 1
        instance = Instance(self._clock)
        self._instances.append(instance)
        self.most_instances = max(self.most_instances, self.instances)
        for _ in range(self._size.threads):
            self._next(instance)


class Subscription:
    """Pushes to a service: so many at once as its answers allow, and again later what was refused."""

    def __init__(self, clock: Clock, service: Service, documented: Documented) -> None:
        self._clock, self._service, self._documented = clock, service, documented
        self._waiting: deque[tuple[Work, int]] = deque()
        self._window = float(documented.first_window)
        self._under_way = 0
        self.most_waiting = 0

    def publish(self, work: Work, tries: int = 0) -> None:
        self._waiting.append((work, tries))
        self.most_waiting = max(self.most_waiting, len(self._waiting))
        self._push()

    def _push(self) -> None:
        while self._waiting and self._under_way < int(self._window):
            work, tries = self._waiting.popleft()
            self._under_way += 1
            self._service.request(work, partial(self._answered, work, tries))

    def _answered(self, work: Work, tries: int, status: int) -> None:
        self._under_way -= 1
        if status == SERVED:
            self._window = min(3000.0, self._window + 1)
        else:
            self._window = max(1.0, self._window / 2)
            pause = min(self._documented.backoff_most_seconds, self._documented.backoff_seconds * 2**tries)
            self._clock.after(pause, lambda: self.publish(work, tries + 1))
        self._push()


@dataclass
class Enterprise:
    """`left`: what came while somebody assembled it: when it is due, and whether a phone rings by it."""

    is_assembled: bool = False
    left: list[tuple[float, bool]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """Times in milliseconds. `processor`: the busy share of the database's cores in the busiest ten seconds."""

    events: int
    acks: list[float]
    pop_ups: list[float]
    unsent: int
    instances: Mapping[str, int]
    refused: Mapping[str, int]
    waiting: int
    connections: int
    processor: float


class Gateway:
    """What passes through the functions, from a host's event to the request to the CRM."""

    def __init__(
        self,
        load: Load,
        sizes: Mapping[str, Size],
        *,
        cores: int,
        costs: Costs | None = None,
        guesses: Guesses | None = None,
        seed: int = 1,
    ) -> None:
        self.load, self.costs, self.guesses = load, costs or Costs(), guesses or Guesses()
        self.clock, self.random = Clock(), random.Random(seed)
        documented = Documented()
        self.sizes = sizes
        self.services = {name: Service(self.clock, size, self.guesses, documented) for name, size in sizes.items()}
        self.database = Processor(self.clock, cores)
        self.cores = cores
        self.calls = Subscription(self.clock, self.services["retailcrm-deliver"], documented)
        self.rows = Subscription(self.clock, self.services["retailcrm-upload"], documented)
        self.enterprises = [Enterprise() for _ in range(load.enterprises)]
        self.acks: list[float] = []
        self.pop_ups: list[float] = []
        self.rung = self.events = 0
        self.busiest = 0.0

    def run(self) -> Result:
        for moment, enterprise in self._calls():
            self.clock.after(moment, partial(self._call, enterprise))
        self._watch(0.0)
        # What is under way gets another minute.
        self.clock.run(self.load.seconds + self.load.call_seconds + 60)
        return Result(
            events=self.events,
            acks=self.acks,
            pop_ups=self.pop_ups,
            unsent=self.rung - len(self.pop_ups),
            instances={name: one.most_instances for name, one in self.services.items()},
            refused={name: one.refused for name, one in self.services.items()},
            waiting=self.calls.most_waiting,
            connections=sum(one.most_instances * (self.sizes[name].pool + 1) for name, one in self.services.items()),
            processor=self.busiest,
        )

    def _calls(self) -> Iterator[tuple[float, int]]:
        """When which enterprise is called."""
        load = self.load
        weights = [1 / rank**load.skew for rank in range(1, load.enterprises + 1)]
        cumulative = list(itertools.accumulate(weights))
        rate = load.enterprises * load.calls_an_hour / 3600
        middle, moment = load.seconds / 2, 0.0
        while True:
            is_peak = middle <= moment < middle + 60
            moment += self.random.expovariate(rate * (load.peak if is_peak else 1.0))
            if moment >= load.seconds:
                return
            yield moment, self.random.choices(range(load.enterprises), cum_weights=cumulative)[0]

    def _call(self, enterprise: int) -> None:
        """Start and dial together, the others over the time of the call; then its row."""
        load = self.load
        for number in range(load.events_a_call):
            at = 0.05 * number if number < 2 else load.call_seconds * (number - 1) / (load.events_a_call - 2)
            # The customer rings somebody, and a card opens; at the end it is closed.
            rings = number == 1
            asks = rings or number == load.events_a_call - 1
            self.clock.after(at, partial(self._event, enterprise, rings=rings, asks=asks))
        # Rows settle for some seconds.
        self.clock.after(load.call_seconds + 5, lambda: self.rows.publish(self._row))

    def _event(self, enterprise: int, *, rings: bool, asks: bool) -> None:
        self.events += 1
        self.rung += rings
        began = self.clock.now

        def store(instance: Instance, answered: Callable[[], None]) -> None:
            self._in_turn(instance, self.costs.intake_ms, self.costs.store_ms, round_trips=1, then=answered)

        def stored(status: int) -> None:
            self.acks.append((self.clock.now - began) * 1000 if status == SERVED else math.inf)
            if status == SERVED:
                work = self._assembly(enterprise, began, rings=rings, asks=asks)
                self.clock.after(self.guesses.pubsub_ms / 1000, lambda: self.calls.publish(work))

        self.services["dispatch-call-event"].request(store, stored)

    def _assembly(self, enterprise: int, began: float, *, rings: bool, asks: bool) -> Work:
        def work(instance: Instance, answered: Callable[[], None]) -> None:
            place = self.enterprises[enterprise]
            if place.is_assembled:
                place.left.append((began, rings))
                self._in_turn(instance, self.costs.left_ms, self.costs.left_ms / 2, round_trips=2, then=answered)
                return
            place.is_assembled = True
            self._assemble(instance, place, [(began, rings)], asks=asks, answered=answered)

        return work

    def _assemble(
        self,
        instance: Instance,
        place: Enterprise,
        taken: list[tuple[float, bool]],
        *,
        asks: bool,
        answered: Callable[[], None],
    ) -> None:
        def committed() -> None:
            self._ring(taken)
            asked = asks or any(rings for _, rings in taken)
            if place.left:
                more, place.left = place.left, []
                self._assemble(instance, place, more, asks=asked, answered=answered)
                return
            place.is_assembled = False
            self.clock.after(self.guesses.crm_ms / 1000 if asked else 0.0, answered)

        # Events that are taken along share the statements.
        share = 1 + 0.4 * (len(taken) - 1)
        self._in_turn(
            instance, self.costs.deliver_ms * share, self.costs.assemble_ms * share, round_trips=4, then=committed
        )

    def _ring(self, taken: list[tuple[float, bool]]) -> None:
        for began, rings in taken:
            # An older one is no news, and is not sent (popup_max_age_seconds).
            if rings and self.clock.now - began <= 15.0:
                self.pop_ups.append((self.clock.now - began) * 1000)

    def _row(self, instance: Instance, answered: Callable[[], None]) -> None:
        self._in_turn(
            instance,
            self.costs.row_ms,
            self.costs.assemble_ms,
            round_trips=4,
            then=lambda: self.clock.after(self.guesses.crm_ms / 1000, answered),
        )

    def _in_turn(
        self, instance: Instance, own_ms: float, database_ms: float, *, round_trips: int, then: Callable[[], None]
    ) -> None:
        """The processor of the instance, then the database, with as many round trips and one commit."""

        def ask() -> None:
            waiting = (round_trips * self.guesses.round_trip_ms + self.guesses.commit_ms) / 1000
            self.clock.after(self.database.spend(database_ms) + waiting, then)

        self.clock.after(instance.processor.spend(own_ms), ask)

    def _watch(self, seen: float) -> None:
        busy = self.database.busy_seconds
        self.busiest = max(self.busiest, (busy - seen) / (10 * self.cores))
        if self.clock.now < self.load.seconds + self.load.call_seconds:
            self.clock.after(10, lambda: self._watch(busy))


def percentile(values: list[float], share: float) -> float:
    """0 for nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
