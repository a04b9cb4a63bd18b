"""The backlog of one subscription against a simple account of what it owes, for any sequence of events."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from infra.stand_ins.emulator.model import Backlog, Lease, Message, Policy, State


class BacklogMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.backlog = Backlog(
            Policy(ordered=True, retain_acked=True, min_backoff_seconds=1, max_backoff_seconds=8, max_attempts=4)
        )
        self.now = 0.0
        self.sequence = 0
        self.owed: dict[int, Message] = {}
        self.settled: dict[int, Message] = {}
        self.leases: list[Lease] = []

    @rule(key=st.sampled_from(["", "a", "b"]))
    def publish(self, key):
        self.sequence += 1
        message = Message(
            sequence=self.sequence, published_at=float(self.sequence), ordering_key=key, size=1, content=None
        )
        self.owed[message.sequence] = message
        self.backlog.add(message)

    @rule(limit=st.integers(1, 5), deadline=st.sampled_from([None, 5.0]))
    def take(self, limit, deadline):
        for lease in self.backlog.take(limit, self.now, deadline_seconds=deadline):
            assert lease.message.sequence in self.owed
            key = lease.message.ordering_key
            earlier = [m for m in self.owed.values() if m.ordering_key == key and m.sequence < lease.message.sequence]
            assert not key or not earlier, "a key was overtaken"
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def ack(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        acked = self.backlog.ack(lease.ack_id)
        assert (acked is not None) == (lease.message.sequence in self.owed)
        self.settle(lease.message.sequence)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def nack(self, data):
        self.bury(self.backlog.nack(data.draw(st.sampled_from(self.leases)).ack_id, self.now))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def extend(self, data):
        self.backlog.extend(data.draw(st.sampled_from(self.leases)).ack_id, self.now, deadline_seconds=7)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds):
        self.now += seconds
        for lease in self.backlog.advance(self.now):
            self.bury(lease)
        assert (at := self.backlog.next_timer()) is None or at > self.now

    @rule(data=st.data())
    def seek(self, data):
        at = data.draw(st.integers(0, self.sequence + 1))
        everything = self.owed | self.settled
        self.owed = {number: message for number, message in everything.items() if number >= at}
        self.settled = {number: message for number, message in everything.items() if number < at}
        self.backlog.seek(float(at))

    def bury(self, exhausted):
        if exhausted is not None:
            assert exhausted.attempt >= 4
            assert self.backlog.bury(exhausted.ack_id) is not None
            self.settle(exhausted.message.sequence)

    def settle(self, sequence):
        if sequence in self.owed:
            self.settled[sequence] = self.owed.pop(sequence)

    @invariant()
    def it_owes_what_is_not_settled(self):
        assert {message.sequence for message in self.backlog.unacked()} == set(self.owed)
        assert {message.sequence for message in self.backlog.retained()} == set(self.settled)
        assert sum(self.backlog.count(state) for state in State if state is not State.GONE) == len(self.owed)

    def teardown(self):
        """Whatever happened, a patient subscriber gets everything that is owed."""
        for _ in range(10 * len(self.owed)):
            self.now += 100
            self.wait(0)
            for lease in self.backlog.take(100, self.now, deadline_seconds=None):
                self.backlog.ack(lease.ack_id)
                self.settle(lease.message.sequence)
            for lease in self.leases:
                self.bury(self.backlog.nack(lease.ack_id, self.now))
        assert len(self.backlog) == 0


BacklogMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBacklog = BacklogMachine.TestCase


def test_acknowledged_messages_are_forgotten_when_their_time_is_over():
    backlog = Backlog(Policy(retain_acked=True, retention_seconds=600))
    for number in (1, 2):
        backlog.add(Message(sequence=number, published_at=number * 500.0, ordering_key="", size=1, content=None))
    [first] = backlog.take(1, 0, deadline_seconds=None)
    backlog.ack(first.ack_id)

    backlog.prune(1_300)

    assert list(backlog.retained()) == []
    assert [message.sequence for message in backlog.unacked()] == [2]
