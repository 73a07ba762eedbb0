"""The suite has teeth: each way to break the contract fails the checks that are about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api.unit import Handle
from runyard_operator.backends.base import Plan, Target, Unreachable
from runyard_operator.conformance import suite
from runyard_operator.conformance.harness import Harness
from runyard_operator.conformance.reference import ReferenceBackend, name_of
from runyard_operator.conformance.words import Job
from runyard_operator.engine.observation import Observation, State
from tests.unit.conformance.harness import ReferenceHarness


class SubmitsWithoutLookUp(ReferenceBackend):
    """Trusts that it is called once."""

    async def submit(self, target: Target) -> tuple[Handle, str]:
        plan = await self.plan(target)
        return self._make(target, plan).handle, plan.digest


class TakesErrorForAbsence(ReferenceBackend):
    """A look-up that failed is a "no" to it."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        seen = await super().observe(target, handle)
        return replace(seen, state=State.ABSENT) if seen.state is State.UNKNOWN else seen


class RaisesAtALook(ReferenceBackend):
    """Lets a transport error out of observe."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        self._place.find(target.key)
        return await super().observe(target, handle)


class ReadsUnknownAsSuccess(ReferenceBackend):
    """Whatever is over and not known to have failed must have succeeded."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        seen = await super().observe(target, handle)
        done = seen.state is State.UNKNOWN and seen.exit_code is None and seen.reason == ""
        return replace(seen, state=State.SUCCEEDED) if done else seen


class AdoptsByName(ReferenceBackend):
    """A job of the right name is good enough."""

    def _find(self, target: Target) -> Job | None:
        return self._place.named(name_of(target))


class RemembersInMemory(ReferenceBackend):
    """Knows only what this process has submitted."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._known: dict[str, Job] = {}

    def _find(self, target: Target) -> Job | None:
        self._place.find(target.key)
        return self._known.get(target.key)

    def _make(self, target: Target, plan: Plan) -> Job:
        self._known[target.key] = super()._make(target, plan)
        return self._known[target.key]


class NeedsAHandleToCancel(ReferenceBackend):
    """Takes a job that it has no handle of for one that does not exist."""

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        if handle is not None:
            await super().cancel(target, handle)


class SaysNothingOfALostCancel(ReferenceBackend):
    """A cancel without an answer has worked, it hopes."""

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        try:
            await super().cancel(target, handle)
        except Unreachable:
            return


class SwallowsCancels(ReferenceBackend):
    """Never asks for the end of anything."""

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        self._place.find(target.key)


class StumblesOverTheUnknown(ReferenceBackend):
    """Expects every job to be there."""

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        if self._find(target) is None:
            raise Unreachable("Unreachable", "no such job")
        await super().cancel(target, handle)


class ForgetsTheAttempt(ReferenceBackend):
    """One job for each unit."""

    async def submit(self, target: Target) -> tuple[Handle, str]:
        return await super().submit(replace(target, key="1"))


class PlansByChance(ReferenceBackend):
    """Puts something new into every plan."""

    plans = 0

    async def plan(self, target: Target) -> Plan:
        type(self).plans += 1
        plan = await super().plan(target)
        return replace(plan, digest=f"{plan.digest}-{self.plans}")


class SendsAnotherThing(ReferenceBackend):
    """Plans one thing and sends another."""

    def _make(self, target: Target, plan: Plan) -> Job:
        job = {**plan.objects[0], "spec": {}}
        return super()._make(target, replace(plan, objects=(job,)))


class ResumesANewJob(ReferenceBackend):
    """Ends the job at a suspend and makes another at a resume."""

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        self._place.purge(target.key)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        await self.submit(target)


class SaysWaitingOfASuspended(ReferenceBackend):
    """Does not tell that a job holds nothing."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        seen = await super().observe(target, handle)
        return replace(seen, state=State.WAITING) if seen.state is State.SUSPENDED else seen


class TellsNoFailure(ReferenceBackend):
    """Every end is a success."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        seen = await super().observe(target, handle)
        return replace(seen, state=State.SUCCEEDED) if seen.state is State.FAILED else seen


BROKEN: dict[type[ReferenceBackend], set[str]] = {
    SubmitsWithoutLookUp: {"submit_twice", "submit_after_lost_answer", "found_after_restart"},
    TakesErrorForAbsence: {"unreachable_is_unknown", "never_seen_state"},
    RaisesAtALook: {"unreachable_is_unknown"},
    ReadsUnknownAsSuccess: {"never_seen_state"},
    AdoptsByName: {"foreign_job_is_left_alone"},
    RemembersInMemory: {"found_after_restart", "submit_after_lost_answer"},
    NeedsAHandleToCancel: {"cancel_after_lost_answer", "cancel_during_submit"},
    SaysNothingOfALostCancel: {"cancel_with_lost_answer"},
    SwallowsCancels: {"cancel_twice", "cancel_with_lost_answer"},
    StumblesOverTheUnknown: {"unknown_is_absent", "cancel_twice", "purged_after_end"},
    ForgetsTheAttempt: {"attempts_are_apart"},
    PlansByChance: {"plan_is_pure"},
    SendsAnotherThing: {"plan_is_what_is_sent"},
    ResumesANewJob: {"suspend_and_resume", "suspend_of_unknown"},
    SaysWaitingOfASuspended: {"suspend_and_resume", "cancel_while_suspended"},
    TellsNoFailure: {"failure_is_told"},
}


async def failures(make: type[ReferenceBackend], *, slow: bool) -> set[str]:
    """The names of the checks that the backend fails."""

    async def harness() -> Harness:
        return ReferenceHarness(make, slow=slow)

    return {name for name, wrong in (await suite.report(harness)).items() if wrong}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_backend_fails(broken: type[ReferenceBackend]) -> None:
    """At a slow place, which forgives nothing, each fails at least the checks named here."""
    assert BROKEN[broken] <= await failures(broken, slow=True)


async def test_each_check_can_fail() -> None:
    """No check is there for nothing: some backend fails it."""
    failed = set()
    for broken in BROKEN:
        failed |= await failures(broken, slow=True)
    assert failed == {each.__name__ for each in suite.checks(can_suspend=True)}


async def test_the_whole_reference_fails_nothing() -> None:
    """The report is clean where the backend is."""
    assert await failures(ReferenceBackend, slow=True) == set()
