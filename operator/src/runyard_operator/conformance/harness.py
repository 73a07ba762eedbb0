"""What a backend's author supplies so that the suite can drive the backend and its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from runyard_operator.backends.base import Backend, Manifest, Plan, Target


class Harness(ABC):
    """One place with one backend on it; each check gets a new one."""

    backend: Backend
    """The backend under test; `restart` puts a new one here."""

    @abstractmethod
    async def restart(self) -> None:
        """The operator dies and comes back: a new backend that remembers nothing."""

    @abstractmethod
    async def target(self, attempt: int = 1) -> Target:
        """An attempt of the one unit of this harness."""

    @abstractmethod
    async def settle(self) -> None:
        """Lets more than `backend.settle_seconds` pass."""

    @abstractmethod
    async def pause(self) -> None:
        """Lets some time pass, for the place to do what it was asked to do."""

    # The line to the place

    @abstractmethod
    async def lose_request(self) -> None:
        """The next request that changes something never arrives, and fails."""

    @abstractmethod
    async def lose_answer(self) -> None:
        """The next request that changes something arrives, and fails at the caller's side."""

    @abstractmethod
    async def delay_request(self) -> None:
        """The next request that changes something fails, and arrives within `settle_seconds`."""

    @abstractmethod
    async def cut(self) -> None:
        """No request arrives any more."""

    @abstractmethod
    async def mend(self) -> None:
        """Requests arrive again."""

    # The place

    @abstractmethod
    async def run(self, target: Target) -> None:
        """The attempt's job, which waits, begins to run."""

    @abstractmethod
    async def end(self, target: Target, *, success: bool) -> None:
        """The attempt's job, which runs, ends."""

    @abstractmethod
    async def purge(self, target: Target) -> None:
        """The place forgets the attempt's job, which has ended."""

    @abstractmethod
    async def confuse(self, target: Target) -> None:
        """The attempt's job says something about its state that no backend has ever seen."""

    @abstractmethod
    async def take_name(self, target: Target) -> object:
        """Somebody else makes a job by the name that the attempt's job would have."""

    @abstractmethod
    async def foreign(self, target: Target) -> object:
        """That job as it is now, in the form that `take_name` returned; None if it is gone."""

    @abstractmethod
    async def begun(self, target: Target) -> int:
        """How many jobs were ever made for the attempt."""

    @abstractmethod
    async def alive(self, target: Target) -> int:
        """How many jobs of the attempt may run or use anything now."""

    @abstractmethod
    async def received(self, target: Target, plan: Plan) -> Sequence[Manifest]:
        """What the place has got for each object of the plan; defaults may be filled in."""
