"""The reference backend keeps the contract, at a kind place and at a slow one."""

from __future__ import annotations

import pytest

from runyard_operator.backends.base import Refused, Stalled, Unreachable
from runyard_operator.conformance import suite
from runyard_operator.conformance.words import Died, Trouble
from runyard_operator.engine.observation import State
from tests.unit.conformance.harness import ReferenceHarness


@pytest.mark.parametrize("slow", [False, True], ids=["kind", "slow"])
@pytest.mark.parametrize("check", suite.checks(can_suspend=True))
async def test_the_reference_backend_conforms(check: suite.Check, slow: bool) -> None:
    """Where names are unique and answers are true, and where neither holds for a while."""
    await check(ReferenceHarness(slow=slow))


async def test_a_call_that_arrives_twice_makes_one_job() -> None:
    """Where a name can be taken once, the second arrival finds the first."""
    harness = ReferenceHarness()
    target = await harness.target()
    harness.next.trouble = Trouble.DOUBLED
    handle, _ = await harness.backend.submit(target)
    assert (await harness.backend.observe(target, None)).handle == handle
    assert await harness.begun(target) == 1


async def test_the_second_of_two_arrivals_is_counted() -> None:
    """Where it can be taken twice, two jobs of the unit are alive, and the place counts them."""
    harness = ReferenceHarness(slow=True)
    target = await harness.target()
    harness.next.trouble = Trouble.DOUBLED
    await harness.backend.submit(target)
    assert await harness.begun(target) == 2
    assert harness.place.most_alive[target.uid] == 2


async def test_a_new_word_is_unknown() -> None:
    """The allow-list has no room for guesses."""
    harness = ReferenceHarness()
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.confuse(target)
    seen = await harness.backend.observe(target, handle)
    assert seen.state is State.UNKNOWN
    assert "COSMIC_RAY" in seen.message


async def test_a_forgetful_place_tells_no_end() -> None:
    """What ended and was purged is absent, and absence is no success."""
    harness = ReferenceHarness()
    harness.place.forgetful = True
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.end(target, success=True)
    assert (await harness.backend.observe(target, handle)).state is State.ABSENT


async def test_a_hidden_job_is_found_again() -> None:
    """The place may lie for a while: "not found" counts only after `settle_seconds`."""
    harness = ReferenceHarness(slow=True)
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    assert (await harness.backend.observe(target, handle)).state is State.ABSENT
    await harness.settle()
    assert (await harness.backend.observe(target, handle)).state is State.WAITING
    harness.place.hidden_until = harness.clock.now + 1.0
    assert (await harness.backend.observe(target, handle)).state is State.ABSENT
    await harness.settle()
    assert (await harness.backend.observe(target, handle)).handle == handle


@pytest.mark.parametrize("mood", [Refused, Stalled])
async def test_a_mood_makes_no_job(mood: type[Refused | Stalled]) -> None:
    """A refusal is told as such, and leaves nothing."""
    harness = ReferenceHarness()
    harness.place.mood = mood("QuotaExceeded", "not today")
    with pytest.raises(mood, match="not today"):
        await harness.backend.submit(await harness.target())
    assert not harness.place.jobs


@pytest.mark.parametrize(("trouble", "begun"), [(Trouble.DIE_BEFORE, 0), (Trouble.DIE_AFTER, 1)])
async def test_a_death_is_no_error_that_anybody_catches(trouble: Trouble, begun: int) -> None:
    """The call arrived or did not; nothing of the operator's runs on."""
    harness = ReferenceHarness()
    harness.next.trouble = trouble
    target = await harness.target()
    with pytest.raises(Died):
        await harness.backend.submit(target)
    assert await harness.begun(target) == begun


async def test_what_nobody_waits_for_arrives_late() -> None:
    """A delayed call comes in when its time has come, not before."""
    harness = ReferenceHarness(slow=True)
    target = await harness.target()
    harness.next.trouble = Trouble.DELAYED
    with pytest.raises(Unreachable):
        await harness.backend.submit(target)
    assert await harness.begun(target) == 0
    assert harness.place.next_arrival == harness.clock.now + harness.place.delay_seconds
    await harness.settle()
    assert await harness.begun(target) == 1
    assert harness.place.next_arrival is None
