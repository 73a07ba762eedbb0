"""The work queue's decisions, with the time as an argument."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from runyard_operator.kube.errors import Unavailable
from runyard_operator.queue import BACKOFF_BASE, BACKOFF_CAP, Key, Schedule

KEYS = [Key("ExecutionUnit", "team", f"{group}-{number}") for group in "ab" for number in range(3)]


def group_of(key: Key) -> str:
    return key.name[0]


def schedule() -> Schedule:
    return Schedule(group_of, random.Random(7))


class ScheduleMachine(RuleBasedStateMachine):
    """Any history of wishes, timers and workers, against a model of what is still owed."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = schedule()
        self.now = 0.0
        self.held: set[Key] = set()
        self.owed: set[Key] = set()
        self.timed: dict[Key, float] = {}

    @rule(key=st.sampled_from(KEYS))
    def add(self, key: Key) -> None:
        self.schedule.add(key, self.now)
        self.owed.add(key)

    @rule(key=st.sampled_from(KEYS), seconds=st.floats(0, 50))
    def add_later(self, key: Key, seconds: float) -> None:
        when = self.now + seconds
        self.schedule.add_at(key, when)
        self.timed[key] = min(when, self.timed.get(key, when))

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        alarm = self.schedule.ripen(self.now)
        due = {key for key, when in self.timed.items() if when <= self.now}
        self.owed |= due
        self.timed = {key: when for key, when in self.timed.items() if key not in due}
        assert alarm == (min(self.timed.values()) if self.timed else None)

    @rule()
    def worker_takes(self) -> None:
        key = self.schedule.take(self.now)
        if key is None:
            assert self.owed <= self.held
            return
        assert key not in self.held
        assert key in self.owed
        self.owed.discard(key)
        self.held.add(key)

    @rule(data=st.data(), fails=st.booleans())
    def worker_ends(self, data: st.DataObject, fails: bool) -> None:
        if not self.held:
            return
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(key)
        before = self.timed.get(key)
        error = RuntimeError("no luck") if fails else None
        self.schedule.done(key, self.now, error=error)
        if fails:
            alarm = self.schedule.due(key)
            assert alarm is not None
            assert alarm <= self.now + BACKOFF_CAP
            assert before is None or alarm <= before
            self.timed[key] = alarm

    @invariant()
    def counts_agree(self) -> None:
        assert self.schedule.depth == len(self.owed)
        assert self.schedule.ready == len(self.owed - self.held)

    def teardown(self) -> None:
        for key in sorted(self.held):
            self.schedule.done(key, self.now, error=None)
        self.schedule.ripen(self.now + 1000)
        wanted = self.owed | set(self.timed)
        taken = []
        while (last := self.schedule.take(self.now)) is not None:
            taken.append(last)
        assert sorted(taken) == sorted(wanted)


ScheduleMachine.TestCase.settings = settings(max_examples=150, deadline=None)
TestSchedule = ScheduleMachine.TestCase


def test_groups_take_turns() -> None:
    """A small group waits for one key of a big one, not for all of them."""
    queue = schedule()
    for number in range(100):
        queue.add(Key("ExecutionUnit", "team", f"a-{number}"), 0.0)
    small = Key("ExecutionUnit", "team", "b-0")
    queue.add(small, 0.0)
    assert small in (queue.take(1.0), queue.take(1.0))


def test_a_key_added_while_held_comes_again() -> None:
    """News that arrives during a run causes another run, and only one."""
    queue, key = schedule(), KEYS[0]
    queue.add(key, 0.0)
    assert queue.take(0.0) == key
    queue.add(key, 1.0)
    queue.add(key, 2.0)
    assert queue.take(2.0) is None
    queue.done(key, 3.0, error=None)
    assert queue.take(3.0) == key
    queue.done(key, 4.0, error=None)
    assert queue.take(4.0) is None


def test_what_takes_long_lets_others_go_first() -> None:
    """A key that rests comes back once, after its rest, however often it is wanted."""
    queue, big, small = schedule(), KEYS[0], KEYS[1]
    queue.add(big, 0.0)
    assert queue.take(0.0) == big
    queue.add(big, 0.1)
    queue.done(big, 0.2, error=None, rest=1.0)
    queue.add(big, 0.3)
    queue.add(small, 0.3)
    assert queue.take(0.3) == small
    assert queue.take(0.3) is None
    alarm = queue.ripen(0.4)
    assert alarm is not None
    assert alarm == pytest.approx(1.2)
    queue.ripen(alarm)
    assert queue.take(alarm) == big
    queue.done(big, alarm, error=None)
    queue.ripen(10.0)
    assert queue.take(10.0) is None


def test_a_rest_is_bounded_and_a_short_one_is_none() -> None:
    """The biggest experiment is looked at every few seconds; a small one at once."""
    queue, key = schedule(), KEYS[0]
    for rest, at_least, at_most in ((1000.0, 1.0, 10.0), (0.001, 0.0, 0.0)):
        queue.add(key, 0.0)
        assert queue.take(0.0) == key
        queue.add(key, 0.0)
        queue.done(key, 0.0, error=None, rest=rest)
        alarm = queue.ripen(0.0) or 0.0
        assert at_least <= alarm <= at_most
        queue.ripen(alarm)
        assert queue.take(alarm) == key
        queue.done(key, alarm, error=None)
        queue.ripen(100.0)


def waits(errors: list[BaseException | None]) -> list[float]:
    """The pause after each of these ends of one key's runs."""
    queue, key, now, found = schedule(), KEYS[0], 0.0, []
    for error in errors:
        queue.add(key, now)
        queue.take(now)
        queue.done(key, now, error=error)
        alarm = queue.ripen(now)
        found.append(alarm - now if alarm is not None else 0.0)
        now = alarm if alarm is not None else now
        queue.ripen(now)
    return found


def test_backoff_grows_to_its_cap_and_ends_with_success() -> None:
    """Failures wait longer and longer, at most five minutes; a success forgets them."""
    failures: list[BaseException | None] = [RuntimeError()] * 40
    found = waits([*failures, None, RuntimeError()])
    for number, wait in enumerate(found[:40], start=1):
        assert BACKOFF_BASE <= wait <= min(BACKOFF_BASE * 2**number, BACKOFF_CAP)
    assert max(found) > BACKOFF_CAP / 2
    assert found[41] <= BACKOFF_BASE * 2


def test_backoff_obeys_the_server() -> None:
    """A Retry-After hint is waited for, within the cap."""
    patient, endless = Unavailable("busy"), Unavailable("busy")
    patient.retry_after, endless.retry_after = 42.0, 1e9
    assert waits([patient]) == [42.0]
    assert waits([endless]) == [BACKOFF_CAP]


def test_ages_are_those_of_the_oldest() -> None:
    """The longest wait and the longest run are reported."""
    queue = schedule()
    queue.add(KEYS[0], 10.0)
    queue.add(KEYS[1], 20.0)
    assert queue.oldest_age(25.0) == 15.0
    queue.take(30.0)
    assert queue.oldest_age(35.0) == 15.0
    assert queue.longest_run(40.0) == 10.0
