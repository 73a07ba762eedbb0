"""A log is followed through any breaks: every line once, in order, and little is sent twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.kube.errors import ApiError, UnreachableError
from runyard.logs import tail as tail_module
from runyard.logs.position import Position
from runyard.logs.reader import GoneError, NotYetError, Span
from runyard.logs.tail import End, Options, Tail
from tests.unit.logs.memory import Line, MemoryReader, stamped


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two tries."""
    monkeypatch.setattr(tail_module, "_RETRY_SECONDS", 0.0)


def log(count: int, *, apart: int = 300_000_000) -> list[Line]:
    """Lines that differ, some in each second."""
    return [(number * apart, f"line {number}") for number in range(count)]


def texts(lines: Sequence[Line]) -> list[str]:
    return [text for _, text in lines]


def run(reader: Any, *, follow: bool = True, **more: Any) -> list[str]:
    """What is written until the end."""
    written: list[str] = []
    options = Options(**more.pop("options", {}))
    made = Tail(reader, options, lambda line: written.append(line.decode()), **more)
    assert made.run(follow=follow) is End.OVER
    return written


# Few texts, so that lines are often the same; and times that are often in one second, or the same.
LINES = st.lists(
    st.tuples(st.integers(0, 2 * 10**9), st.sampled_from(["a", "b", "loss", ""])), max_size=40
).map(
    lambda pairs: [
        (sum(each[0] for each in pairs[: at + 1]), pairs[at][1]) for at in range(len(pairs))
    ]
)
BREAKS = st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=6)


@given(LINES, BREAKS, st.integers(0, 40), st.integers(0, 9), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_line_is_written_once(
    lines: list[Line], breaks: list[int | None], grown: int, growth: int, stamps: bool
) -> None:
    """Whatever breaks, however many lines are alike, while the log grows."""
    reader = MemoryReader(lines, min(grown, len(lines)), list(breaks), max(growth, 1))
    wanted = [stamped(each).decode()[:-1] for each in lines] if stamps else texts(lines)
    assert run(reader, options={"timestamps": stamps}) == wanted


@given(LINES, BREAKS, st.integers(0, 40), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_tail_is_followed_from_where_it_began(
    lines: list[Line], breaks: list[int | None], grown: int, wanted: int
) -> None:
    """The last lines that there were, then every new one."""
    # Lines that have all the same time cannot be told apart by it.
    lines = [(at + number, text) for number, (at, text) in enumerate(lines)]
    grown = min(grown, len(lines))
    reader = MemoryReader(lines, grown, list(breaks))
    written = run(reader, options={"tail": wanted})
    assert written == texts(lines)[max(0, grown - wanted) :]


@given(LINES, st.integers(0, 40), st.integers(0, 40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_another_program_goes_on_where_the_first_was(
    lines: list[Line], first: int, then: int, stamps: bool
) -> None:
    """By the place that the first one has kept; with timestamps or without."""
    places: list[Position] = []
    early = MemoryReader(lines, min(first, len(lines)), growth=0)
    written = run(early, follow=False, keep=places.append)
    reader = MemoryReader(lines, min(max(first, then), len(lines)), growth=0)
    options = {"timestamps": stamps}
    rest = run(reader, follow=False, place=places[-1], options=options)
    rest = [line.partition(" ")[2] for line in rest] if stamps else rest
    assert written + rest == texts(lines)[: max(first, then)]


def test_after_a_silence_a_break_costs_little() -> None:
    """The second of the last line is looked up, so that the beginning is not sent again."""
    now = [0.0]

    class Silent(MemoryReader):
        """Every stream is silent for a minute at its end, and counts as dead then."""

        def pieces(self, span: Span) -> Any:
            yield from super().pieces(span)
            if span.follow and not self.over():
                now[0] += 60.0
                raise UnreachableError("silent")

    lines = log(20_000, apart=10_000_000)
    reader = Silent(lines, 19_800, growth=20, size=4096)
    assert run(reader, clock=lambda: now[0]) == texts(lines)
    whole = sum(len(text) + 1 for text in texts(lines))
    assert reader.sent < 1.5 * whole
    assert reader.spans[0].since is None
    assert reader.spans[-1].since is not None


def test_a_rotated_log_is_taken_up_at_the_same_line() -> None:
    """What was before is gone, so counting from the beginning would skip lines."""
    lines = log(60)

    class Rotating(MemoryReader):
        def pieces(self, span: Span) -> Any:
            if len(self.spans) == 1:
                self.lines, self.grown = lines[20:], 30
            return super().pieces(span)

    notes: list[str] = []
    # The first stream breaks after line 29 or so.
    reader = Rotating(lines, 40, [9 * 30])
    assert run(reader, note=notes.append) == texts(lines)
    assert notes == []


def test_lines_that_were_rotated_away_are_told_of() -> None:
    """Nothing is written twice, and that lines are missing is no secret."""
    lines = log(60)

    class Rotating(MemoryReader):
        def pieces(self, span: Span) -> Any:
            if len(self.spans) == 1:
                self.lines, self.grown = lines[50:], 5
            return super().pieces(span)

    notes: list[str] = []
    written = run(Rotating(lines, 40, [7 * 10]), note=notes.append)
    assert written == texts(lines)[:10] + texts(lines)[50:]
    assert len(notes) == 1
    assert "thrown away" in notes[0]


def test_a_line_that_is_not_ended_yet_is_written_when_it_is() -> None:
    """A stream may end in the middle of a line; the whole line comes once."""

    class Torn:
        key = "uid/main"

        def __init__(self) -> None:
            whole = b"one\ntwo\nthree"
            self.answers = [whole[:6], whole[:11], whole, whole]
            self.overs = [False, False, True, True]

        def pieces(self, _: Span) -> Any:
            yield self.answers.pop(0)

        def over(self) -> bool:
            return self.overs.pop(0)

        def stop(self) -> None:
            return None

    assert run(Torn()) == ["one", "two", "three"]


class Failing:
    """Raises, then serves."""

    key = "uid/main"

    def __init__(self, *errors: Exception, over: bool = False) -> None:
        self._errors = list(errors)
        self._over = over

    def pieces(self, _: Span) -> Any:
        if self._errors:
            raise self._errors.pop(0)
        self._over = True
        yield b"served\n"

    def over(self) -> bool:
        return self._over

    def stop(self) -> None:
        return None


def refused(code: int) -> ApiError:
    return ApiError(code, {"message": "no"}, "GET", "/log")


def test_what_passes_is_waited_for() -> None:
    """A container that waits to start, a server that restarts, one that has too much to do."""
    reader = Failing(NotYetError("creating"), UnreachableError("away"), refused(500), refused(429))
    assert run(reader) == ["served"]


def test_what_does_not_pass_is_an_error() -> None:
    """A missing right, and without following anything else."""
    with pytest.raises(ApiError, match="no"):
        run(Failing(refused(403)))
    for error in (refused(403), refused(500), UnreachableError("away")):
        with pytest.raises(type(error)):
            run(Failing(error), follow=False)


def test_a_log_that_is_complete_is_not_followed() -> None:
    """Followed, each line would come on its own, with as much around it."""
    reader = MemoryReader(log(20), 20)
    assert run(reader) == texts(log(20))
    assert [each.follow for each in reader.spans] == [False]


def test_what_was_followed_to_its_end_is_not_read_again() -> None:
    """A look at the last lines tells; where they are alike, all is read once more."""

    class Ending(MemoryReader):
        """The pod ends while its log is followed."""

        def over(self) -> bool:
            return bool(self.spans)

    for lines, again in ((log(200, apart=1), 0), ([(at, "same") for at in range(200)], 1)):
        reader = Ending(lines, len(lines))
        assert run(reader) == texts(lines)
        whole = [each for each in reader.spans if not each.follow and each.tail is None]
        assert len(whole) == again


def test_a_container_that_never_started_has_no_log() -> None:
    """Neither now, nor when its pod has ended."""
    assert run(Failing(NotYetError("creating")), follow=False) == []
    assert run(Failing(NotYetError("creating"), over=True)) == []


def test_a_pod_that_is_gone_is_told() -> None:
    """So that the rest can come from elsewhere, from the same place on."""
    lines = log(30)
    written: list[bytes] = []

    class Leaving(MemoryReader):
        def pieces(self, span: Span) -> Any:
            if self.spans:
                raise GoneError("gone")
            return super().pieces(span)

    tail = Tail(Leaving(lines, 29, [100]), Options(), written.append)
    assert tail.run(follow=True) is End.GONE
    assert 0 < len(written) < 30
    assert tail.elsewhere(MemoryReader(lines, 30)).run(follow=False) is End.OVER
    assert [each.decode() for each in written] == texts(lines)


def test_a_place_is_told_when_its_lines_have_been_flushed() -> None:
    """Who is killed in between sees them again, and misses none."""
    happened: list[str] = []
    tail = Tail(
        MemoryReader(log(20), 20),
        Options(),
        lambda _: happened.append("write"),
        flush=lambda: happened.append("flush"),
        keep=lambda place: happened.append(f"keep {place.lines}"),
    )
    tail.run(follow=False)
    for at, each in enumerate(happened):
        if each.startswith("keep"):
            assert happened[at - 1] == "flush"
            assert happened[:at].count("write") == int(each.split()[1])
    assert happened[-1] == "keep 20"
