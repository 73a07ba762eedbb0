"""A place outside the cluster, in memory: it runs jobs and outlives the operator.

The line to it can be told to misbehave in the ways that real ones do; what the place counts
shows what came of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runyard.api.unit import Handle
from runyard_operator.backends.base import BackendError, Unreachable
from runyard_operator.conformance.words import (
    ENDED,
    STOPPING,
    SUSPENDED,
    WAITING,
    Died,
    Job,
    Request,
    Taken,
    Trouble,
)
from runyard_operator.engine import reasons


@dataclass(slots=True)
class Place:
    """Jobs by the place's own number.

    Attributes:
        clock: seconds; only differences count.
        unique_names: a name can be taken once, as in Kubernetes; otherwise each submit makes a
            job, as in Slurm, and a DOUBLED one makes two.
        forgetful: an ended job is purged at once, so that nobody can learn how it ended.
        lag_seconds: how long a new job is not found although it is there.
        hidden_until: until then nothing is found.
        delay_seconds: how late a DELAYED call arrives.
        reachable: whether calls arrive at all.
        mood: raised at submits: the place refuses them, or wants a human first.
        trouble: is asked at each call, by the call's name, what the line does to it.
        begun: how many jobs were ever made, by key.
        most_alive: how many jobs of a unit were alive at the same time, at most, by its UID.
    """

    clock: Callable[[], float]
    unique_names: bool = True
    forgetful: bool = False
    lag_seconds: float = 0.0
    hidden_until: float = 0.0
    delay_seconds: float = 0.0
    reachable: bool = True
    mood: BackendError | None = None
    trouble: Callable[[str], Trouble | None] = lambda _: None
    begun: Counter[str] = field(default_factory=Counter)
    most_alive: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, Job] = field(default_factory=dict)
    _late: list[tuple[float, Callable[[float], object]]] = field(default_factory=list)
    _numbers: int = 0

    # What backends call: over the line

    def submit(self, request: Request) -> Job:
        """Makes a job.

        Raises:
            Taken: `unique_names`, and the name is in use.
            BackendError: the place's mood.
            Unreachable: the line broke; the job may have been made, or may still be.
        """
        with self._line("submit", lambda at: self._begin(request, at)):
            job = self._begin(request, self.clock())
        return job

    def find(self, key: str) -> list[Job]:
        """The jobs with this key, the oldest first.

        Raises:
            Unreachable: no answer.
        """
        with self._line("find"):
            found = [each for each in self.jobs.values() if each.key == key]
            now = self.clock()
            seen = [each for each in found if max(each.visible_at, self.hidden_until) <= now]
        return seen

    def named(self, name: str) -> Job | None:
        """The job of this name, whosever it is.

        Raises:
            Unreachable: no answer.
        """
        with self._line("named"):
            found = next((each for each in self.jobs.values() if each.name == name), None)
        return found

    def stop(self, number: str) -> None:
        """Asks a job to end; one that is gone or has ended is left as it is.

        Raises:
            Unreachable: the line broke; the job may have been told.
        """
        self._tell("stop", number, STOPPING)

    def hold(self, number: str) -> None:
        """Asks a job to give up what it holds.

        Raises:
            Unreachable: see `stop`.
        """
        self._tell("hold", number, SUSPENDED)

    def release(self, number: str) -> None:
        """Lets a held job go on.

        Raises:
            Unreachable: see `stop`.
        """
        self._tell("release", number, WAITING)

    # What the world does

    def become(self, key: str, state: str) -> None:
        """The jobs with this key get this state; a stopping one has gone instead."""
        for number, job in list(self.jobs.items()):
            if job.key != key:
                continue
            if job.state == STOPPING or (self.forgetful and state in ENDED):
                del self.jobs[number]
            else:
                job.state = state

    def purge(self, key: str) -> None:
        """The place forgets what it had by this key."""
        self.jobs = {number: job for number, job in self.jobs.items() if job.key != key}

    def sweep(self) -> bool:
        """Lets stopping jobs vanish; whether there were any."""
        stopping = [number for number, job in self.jobs.items() if job.state == STOPPING]
        for number in stopping:
            del self.jobs[number]
        return bool(stopping)

    def arrive(self) -> None:
        """Calls that were on their way come in, those whose time has come."""
        due = [each for each in self._late if each[0] <= self.clock()]
        self._late = [each for each in self._late if each not in due]
        for at, call in due:
            try:
                call(at)
            except (Taken, BackendError):
                continue  # nobody listens to the answer any more

    @property
    def next_arrival(self) -> float | None:
        """When the next late call comes in; None when there is none."""
        return min((at for at, _ in self._late), default=None)

    def add(self, request: Request, at: float = 0.0) -> Job:
        """A job that is made at this time, by whomever."""
        self._numbers += 1
        number = str(self._numbers)
        handle = Handle(kind="Job", name=request.name, uid=number)
        visible = at + self.lag_seconds
        self.jobs[number] = Job(
            request.key, request.name, request.unit, handle, request.objects, visible_at=visible
        )
        return self.jobs[number]

    def alive(self, key: str | None = None) -> list[Job]:
        """The jobs that may run or use anything, all or those with this key."""
        return [each for each in self.jobs.values() if each.alive and key in (None, each.key)]

    def _begin(self, request: Request, at: float) -> Job:
        if self.unique_names and any(each.name == request.name for each in self.jobs.values()):
            raise Taken(request.name)
        if self.mood is not None:
            raise self.mood
        self.begun[request.key] += 1
        job = self.add(request, at)
        alive = sum(each.unit == request.unit for each in self.alive())
        self.most_alive[request.unit] = max(alive, self.most_alive[request.unit])
        return job

    def _tell(self, call: str, number: str, state: str) -> None:
        def told(_at: float) -> None:
            job = self.jobs.get(number)
            if job is not None and job.alive and job.state != STOPPING:
                job.state = state

        with self._line(call, told):
            told(self.clock())

    @contextmanager
    def _line(self, call: str, again: Callable[[float], object] | None = None) -> Iterator[None]:
        """Around a call: what the line does to it; `again` is the effect of the call."""
        self.arrive()
        if not self.reachable:
            raise _lost("connection refused")
        trouble = self.trouble(call)
        if trouble is Trouble.DIE_BEFORE:
            raise Died
        if trouble is Trouble.NOT_SENT:
            raise _lost("the connection broke")
        if trouble is Trouble.DELAYED:
            if again is not None:
                self._late.append((self.clock() + self.delay_seconds, again))
            raise _lost("no answer in time")
        if trouble is Trouble.DOUBLED and again is not None:
            again(self.clock())
        yield
        if trouble is Trouble.DIE_AFTER:
            raise Died
        if trouble is Trouble.ANSWER_LOST:
            raise _lost("the connection broke before the answer")


def _lost(message: str) -> Unreachable:
    return Unreachable(reasons.UNREACHABLE, message)
