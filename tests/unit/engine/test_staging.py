"""Code that the spec alone does not say: looked for before the first task, and fixed then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runyard.api import Code, ExperimentPhase
from runyard.api.experiment import StagedCode
from runyard_operator.engine import effects, reasons
from runyard_operator.engine.check import InvalidSpecError, code, unit_code
from runyard_operator.engine.experiment import (
    ExperimentView,
    Fact,
    NotStaged,
    Staged,
    plan,
    staging,
)
from tests.unit.engine.builders import NOW, accepted, condition, experiment, task, told

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "a" * 64
GIT = {"git": {"url": "https://host/repo.git", "ref": "main"}}
BUNDLE = {"bundle": {"digest": DIGEST, "size": 10}}
FOUND = Staged(StagedCode(commit=COMMIT))


def waiting(**spec: Any) -> ExperimentView:
    """An accepted experiment of two tasks whose code is not known."""
    return accepted(experiment(task("a"), task("b", "a"), **{"code": GIT, **spec}))


def written(view: ExperimentView, fact: Fact = None) -> ExperimentView:
    """After a pass, with what the edge makes of the status: the code that the units name."""
    view = replace(view, status=plan(view, NOW, fact).status)
    return replace(view, staged_code=staging.fixed(view.spec.code, view.status))


@pytest.mark.parametrize("source", [GIT, BUNDLE])
def test_no_task_starts_before_the_code_is_known(source: dict[str, Any]) -> None:
    """It is asked for again and again, and the condition says so."""
    view = waiting(code=source)
    for _ in range(3):
        decision = plan(view, NOW)
        assert told(decision) == {"StageCode": "yes"}
        assert decision.requeue_after == staging.LOOK
        view = written(view)
    assert condition(plan(view, NOW), "CodeStaged").reason == reasons.STAGING_CODE
    assert view.status.phase is ExperimentPhase.RUNNING


def test_the_commit_is_written_once_and_all_units_have_it() -> None:
    """Also those that are made long after the branch has moved."""
    view = written(written(waiting()), FOUND)
    assert view.status.code == StagedCode(commit=COMMIT)
    assert condition(plan(view, NOW), "CodeStaged").message == f"commit {COMMIT}"
    [made] = [each for each in plan(view, NOW).effects if isinstance(each, effects.CreateUnit)]
    assert made.spec.code is not None
    assert made.spec.code.git is not None
    assert (made.spec.code.git.commit, made.spec.code.git.ref) == (COMMIT, "main")
    assert told(plan(view, NOW)) == {"a": "create"}


def test_what_is_not_there_stalls_and_is_looked_for_again() -> None:
    """A human may push the branch; then the experiment goes on by itself."""
    lost = NotStaged(reasons.CODE_NOT_FOUND, "no branch 'main'")
    view = written(written(waiting()), lost)
    assert condition(plan(view, NOW), "Stalled").status == "True"
    assert view.status.message == "no branch 'main'"
    assert told(plan(view, NOW)) == {"StageCode": "yes"}
    view = written(view, FOUND)
    assert condition(plan(view, NOW), "Stalled").status == "False"
    assert told(plan(view, NOW)) == {"a": "create"}


def test_a_commit_in_the_spec_needs_no_look() -> None:
    """Nor do files that are written in the spec."""
    commit = {"git": {**GIT["git"], "commit": COMMIT}}
    assert told(plan(waiting(code=commit), NOW)) == {"a": "create"}
    inline = {"inline": [{"path": "a.py", "content": ""}]}
    assert told(plan(waiting(code=inline), NOW)) == {"StageCode": "yes", "a": "create"}


def test_cancel_and_deadline_do_not_wait_for_the_code() -> None:
    """Nothing was made, so nothing is looked for any more."""
    view = written(waiting())
    cancelled = replace(view, spec=view.spec.model_copy(update={"cancel": True}))
    assert "StageCode" not in told(plan(cancelled, NOW))
    view = written(waiting(activeDeadlineSeconds=10))
    late = NOW + timedelta(seconds=11)
    assert "StageCode" not in told(plan(view, late))


@pytest.mark.parametrize(
    "url", ["https://user:secret@host/r.git", "https://token@host/r", "ssh://git:pw@host/r"]
)
def test_passwords_in_addresses_are_refused(url: str) -> None:
    """The message names the place for them."""
    with pytest.raises(InvalidSpecError, match=r"code\.git\.secret"):
        code(Code.model_validate({"git": {"url": url}}))


@pytest.mark.parametrize("url", ["ssh://git@host/r", "git@host:r", "https://host/a@b"])
def test_users_in_addresses_are_none(url: str) -> None:
    """Ssh needs one."""
    code(Code.model_validate({"git": {"url": url}}))


def test_a_unit_alone_names_its_commit() -> None:
    """Its attempts would differ otherwise."""
    with pytest.raises(InvalidSpecError, match="needs the commit"):
        unit_code(Code.model_validate(GIT))
    unit_code(Code.model_validate({"git": {**GIT["git"], "commit": COMMIT}}))
