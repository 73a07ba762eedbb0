"""Two and more candidates for one lease, with lost answers, races, stops and skewed clocks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runyard_operator.kube.errors import NotFound
from runyard_operator.leadership import NotLeadingError
from runyard_operator.lease import Terms
from tests.unit.operator_runtime.leases import (
    TERMS,
    Candidate,
    Cluster,
    EndedError,
    Fault,
    SkippingLoop,
)


@pytest.fixture
def cluster() -> Cluster:
    """A cluster without a lease."""
    return Cluster()


def pair(cluster: Cluster, **second: float) -> tuple[Candidate, Candidate]:
    """Two candidates whose clocks began at different times."""
    return Candidate(cluster, "a", boot=1000.0), Candidate(cluster, "b", boot=5.0, **second)


async def test_the_first_leads_and_the_second_stands_by(cluster: Cluster) -> None:
    """Whoever creates the lease leads; the other may not write."""
    a, b = pair(cluster)
    assert await a.step()
    assert not await b.step()
    a.leadership.check()
    assert (a.leadership.epoch, b.leadership.epoch) == (1, 0)
    assert b.leadership.transitions == 1
    with pytest.raises(NotLeadingError):
        b.leadership.check()


async def test_a_renewed_lease_is_never_taken(cluster: Cluster) -> None:
    """As long as the record changes in time, nobody else gets it, and the epoch stays."""
    a, b = pair(cluster)
    await a.step()
    for _ in range(50):
        assert not await b.step()
        cluster.time += TERMS.renew
        assert await a.step()
    a.leadership.check()
    assert cluster.record.transitions == 1


async def test_a_silent_leader_is_replaced(cluster: Cluster) -> None:
    """It is waited for as long as it said, counted from when the record was first seen."""
    a, b = pair(cluster)
    await a.step()
    cluster.time += 3.0
    await b.step()
    cluster.time += TERMS.seconds - 0.1
    assert not await b.step()
    cluster.time += 0.1
    assert await b.step()
    assert b.leadership.epoch == 2
    assert cluster.record.holder == "b"


async def test_the_old_leader_has_stopped_before_the_new_one_begins(cluster: Cluster) -> None:
    """A leader that goes on after a stop ends itself at its next write, whatever it is."""
    a, b = pair(cluster)
    await a.step()
    await b.step()
    cluster.time += TERMS.seconds
    assert await b.step()
    with pytest.raises(EndedError, match="not renewed in time"):
        a.leadership.check()


async def test_a_stopped_leader_does_not_even_renew(cluster: Cluster) -> None:
    """Continued after its time, it sends nothing, though nobody has taken the lease yet."""
    a = Candidate(cluster, "a")
    await a.step()
    cluster.time += TERMS.valid
    writes = a.line.writes
    with pytest.raises(EndedError):
        await a.step()
    assert a.line.writes == writes


@pytest.mark.parametrize("skew", [-86400.0, 86400.0])
async def test_wall_clocks_do_not_count(cluster: Cluster, skew: float) -> None:
    """A candidate whose clock is a day off takes over no sooner and no later."""
    a, b = pair(cluster, skew=skew)
    await a.step()
    await b.step()
    cluster.time += TERMS.seconds - 0.1
    assert not await b.step()
    cluster.time += 0.1
    assert await b.step()


async def test_the_holders_own_duration_counts(cluster: Cluster) -> None:
    """A leader with a longer lease is waited for as long as it wants."""
    a, b = pair(cluster)
    await a.step()
    assert cluster.stored is not None
    cluster.stored["spec"]["leaseDurationSeconds"] = 60
    await b.step()
    cluster.time += 59.0
    assert not await b.step()
    cluster.time += 1.0
    assert await b.step()


async def test_a_race_for_a_free_lease_has_one_winner(cluster: Cluster) -> None:
    """Of two that write at the same moment, the second is refused: to create and to take over."""
    a, b = pair(cluster)
    a.line.before_write = b.step
    assert not await a.step()
    assert b.may_write
    cluster.time += 1.0
    await a.step()
    c = Candidate(cluster, "c")
    await c.step()
    cluster.time += TERMS.seconds
    a.line.before_write = c.step
    assert not await a.step()
    assert (c.may_write, a.may_write) == (True, False)
    assert c.leadership.epoch == 2


async def test_a_lost_answer_is_found_again(cluster: Cluster) -> None:
    """A lease that was won without our knowing is renewed, under the epoch that it was won with."""
    a = Candidate(cluster, "a")
    assert not await a.step(None, Fault.ANSWER_LOST)
    assert not a.may_write
    assert cluster.record.holder == "a"
    assert await a.step()
    assert a.leadership.epoch == cluster.record.transitions == 1


async def test_a_lost_renewal_is_repeated(cluster: Cluster) -> None:
    """After a renewal whose answer was lost the next ones meet a conflict, look, and go on."""
    a, b = pair(cluster)
    await a.step()
    cluster.time += TERMS.renew
    assert not await a.step(Fault.ANSWER_LOST)
    # Without an answer the time counts from the renewal before.
    cluster.time += TERMS.valid - TERMS.renew - 0.1
    assert a.may_write
    assert await a.step()
    cluster.time += TERMS.valid - 0.1
    a.leadership.check()
    assert not await b.step()


async def test_time_counts_from_before_the_request(cluster: Cluster) -> None:
    """A renewal that took long is worth as much less."""

    async def slow() -> None:
        cluster.time += 4.0

    a = Candidate(cluster, "a")
    a.line.before_write = slow
    assert await a.step()
    cluster.time += TERMS.valid - 4.0
    assert not a.may_write


async def test_losing_the_lease_ends_the_process(cluster: Cluster) -> None:
    """Whether another holds it or somebody has deleted it: there is no way on."""
    a, b = Candidate(cluster, "a"), Candidate(cluster, "b")
    assert await a.step()
    assert cluster.stored is not None
    cluster.write({**cluster.stored, "spec": {"holderIdentity": "c"}}, new=False)
    assert not await a.step()
    with pytest.raises(EndedError, match="c holds it"):
        await a.step()
    cluster.write({**cluster.stored, "spec": {}}, new=False)
    assert await b.step()
    cluster.stored = None
    assert not await b.step()
    with pytest.raises(EndedError, match="deleted"):
        await b.step()


async def test_a_deleted_lease_does_not_set_the_epoch_back(cluster: Cluster) -> None:
    """A standby that has seen the old lease makes the new one go on from there."""
    a, b = pair(cluster)
    await a.step()
    assert cluster.stored is not None
    cluster.stored["spec"]["leaseTransitions"] = 41
    await b.step()
    cluster.stored = None
    for _ in range(2):
        assert not await b.step()
    cluster.time += TERMS.seconds
    assert await b.step()
    assert b.leadership.epoch == 42


async def test_a_lease_that_is_given_back_is_free_at_once(cluster: Cluster) -> None:
    """The next look takes it, with an epoch of its own; the one who gave it back cannot write."""
    a, b = pair(cluster)
    await a.step()
    await b.step()
    await a.leadership.release()
    with pytest.raises(NotLeadingError):
        a.leadership.check()
    assert await b.step()
    assert b.leadership.epoch == 2


async def test_only_ones_own_lease_is_given_back(cluster: Cluster) -> None:
    """Neither a standby nor one that was replaced frees what another holds."""
    a, b = pair(cluster)
    await a.step()
    await b.step()
    await b.leadership.release()
    assert cluster.record.holder == "a"
    cluster.time += TERMS.seconds
    c = Candidate(cluster, "c")
    await c.step()
    cluster.time += TERMS.seconds
    await c.step()
    await a.leadership.release()
    assert cluster.record.holder == "c"


async def test_a_claim_without_an_answer_is_given_back(cluster: Cluster) -> None:
    """A process that ends before it knows that it leads leaves no lease to be waited for."""
    a = Candidate(cluster, "a")
    await a.step(None, Fault.ANSWER_LOST)
    await a.leadership.release()
    assert cluster.record.holder == ""


async def test_what_others_wrote_on_the_lease_stays(cluster: Cluster) -> None:
    """Labels and fields that are not ours survive a takeover; an empty Lease is free."""
    assert cluster.stored is not None
    cluster.stored["metadata"]["labels"] = {"a": "b"}
    a = Candidate(cluster, "a")
    assert await a.step()
    assert cluster.stored["metadata"]["labels"] == {"a": "b"}
    assert cluster.record.holder == "a"


async def hold(candidate: Candidate) -> None:
    """What a leader does, as the operator runs it."""
    async with asyncio.TaskGroup() as group:
        group.create_task(candidate.leadership.renew())
        group.create_task(candidate.leadership.keep_time())


def in_its_time(cluster: Cluster, story: Coroutine[Any, Any, None]) -> None:
    """Runs what has loops and pauses, without waiting for them."""
    with asyncio.Runner(loop_factory=lambda: SkippingLoop(cluster)) as runner:
        runner.run(story)


@pytest.mark.parametrize("lag", [n / 10 for n in range(20)])
def test_takeover_takes_less_than_ten_seconds(cluster: Cluster, lag: float) -> None:
    """After a kill of the leader, in whichever phase the two loops are to each other."""
    a, b = pair(cluster)

    async def story() -> None:
        await a.leadership.acquire()
        holding = asyncio.create_task(hold(a))
        await asyncio.sleep(lag)
        waiting = asyncio.create_task(b.leadership.acquire())
        await asyncio.sleep(30.0)
        assert not waiting.done()
        a.leadership.check()
        holding.cancel()
        killed = cluster.time
        await waiting
        assert cluster.time - killed < 10.0
        assert b.leadership.epoch == 2

    in_its_time(cluster, story())


@pytest.mark.parametrize("lag", [n / 10 for n in range(20)])
def test_a_leader_that_is_cut_off_ends_before_the_next_begins(cluster: Cluster, lag: float) -> None:
    """On a line that swallows everything it gives up by its own clock, no sooner than it must."""
    a, b = pair(cluster)

    async def story() -> None:
        await a.leadership.acquire()
        holding = asyncio.create_task(hold(a))
        waiting = asyncio.create_task(b.leadership.acquire())
        await asyncio.sleep(10.0 + lag)
        a.line.dead = True
        cut = cluster.time
        await asyncio.wait({holding})
        assert a.ended == "it was not renewed in time"
        assert TERMS.valid - TERMS.renew <= cluster.time - cut <= TERMS.valid
        assert not waiting.done()
        await waiting
        assert isinstance(holding.exception(), BaseExceptionGroup)

    in_its_time(cluster, story())


def test_a_short_silence_is_survived(cluster: Cluster) -> None:
    """A leader that loses one request, and no more, goes on with the same epoch."""
    a = Candidate(cluster, "a")

    async def story() -> None:
        await a.leadership.acquire()
        holding = asyncio.create_task(hold(a))
        for _ in range(20):
            a.line.dead = True
            await asyncio.sleep(TERMS.renew)
            a.line.dead = False
            await asyncio.sleep(TERMS.renew)
        a.leadership.check()
        assert a.leadership.epoch == 1
        holding.cancel()

    in_its_time(cluster, story())


def test_what_keeps_a_standby_from_leading_is_told_once(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes on trying, is not ready before it has read the lease, and the log is not flooded."""
    cluster.stored = None
    a = Candidate(cluster, "a")

    async def refuse() -> None:
        a.line.before_write = refuse
        raise NotFound('namespaces "home" not found', status=404)

    async def story() -> None:
        a.line.before_write = refuse
        waiting = asyncio.create_task(a.leadership.acquire())
        await asyncio.sleep(TERMS.seconds * 3)
        assert a.leadership.since_try() <= TERMS.look
        a.line.before_write = None
        await waiting

    with caplog.at_level(logging.WARNING):
        in_its_time(cluster, story())
    assert [each.getMessage() for each in caplog.records] == [
        'The lease could not be read or written: namespaces "home" not found'
    ]


async def test_nobody_leads_at_once_by_making_the_lease(cluster: Cluster) -> None:
    """Whoever held it may not know yet that it was deleted, and is given its time."""
    a, b = pair(cluster)
    await a.step()
    cluster.stored = None
    for _ in range(2):
        assert not await b.step()
    cluster.time += TERMS.seconds - 0.1
    assert not await b.step()
    assert not a.may_write
    cluster.time += 0.1
    assert await b.step()


def test_the_times_of_a_lease_fit_into_each_other() -> None:
    """A renewal may fail and be repeated before the holder's own time is up."""
    for seconds in (3, 6, 600):
        terms = Terms(seconds)
        assert terms.renew + terms.patience + terms.again < terms.valid < terms.seconds


class Elections(RuleBasedStateMachine):
    """Random histories of three candidates; some stop for long, some are replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.born = 0
        self.epochs: dict[int, Candidate] = {}
        self.candidates = [self._fresh() for _ in range(3)]
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        self.loop.close()

    def _fresh(self) -> Candidate:
        self.born += 1
        return Candidate(
            self.cluster, f"c{self.born}", boot=self.born * 77.0, skew=self.born * -500.0
        )

    def _step(self, number: int, *faults: Fault | None) -> None:
        each = self.candidates[number]

        async def tried() -> None:
            try:
                await each.step(*faults)
            except EndedError:
                self.candidates[number] = self._fresh()

        self.loop.run_until_complete(tried())

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.9, 5.0, 6.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.time += seconds

    @rule(
        number=st.integers(0, 2),
        faults=st.lists(st.sampled_from([None, *Fault]), max_size=2),
    )
    def tries(self, number: int, faults: list[Fault | None]) -> None:
        self._step(number, *faults)

    @rule(
        number=st.integers(0, 2),
        other=st.integers(0, 2),
        seconds=st.sampled_from([0.0, 1.0, 5.0, 6.0]),
    )
    def tries_in_between(self, number: int, other: int, seconds: float) -> None:
        """Between one's look and its write time passes, and another tries."""
        if other == number:
            return

        async def meanwhile() -> None:
            self.cluster.time += seconds
            try:
                await self.candidates[other].step()
            except EndedError:
                self.candidates[other] = self._fresh()

        self.candidates[number].line.before_write = meanwhile
        self._step(number)

    @rule(number=st.integers(0, 2), clean=st.booleans())
    def ends(self, number: int, clean: bool) -> None:
        if clean:
            self.loop.run_until_complete(self.candidates[number].leadership.release())
        self.candidates[number] = self._fresh()

    @precondition(lambda self: self.cluster.stored is not None)
    @rule()
    def lease_is_deleted(self) -> None:
        self.cluster.stored = None
        # Numbers begin anew where nobody remembers the old ones.
        self.epochs.clear()

    @invariant()
    def one_writes(self) -> None:
        leaders = [each for each in self.candidates if each.may_write]
        assert len(leaders) <= 1
        for each in leaders:
            assert self.epochs.setdefault(each.leadership.epoch, each) is each
            assert each.leadership.epoch == max(self.epochs)


TestElections = Elections.TestCase
