"""The copy that is planned, and what differs between two plans."""

from __future__ import annotations

from typing import Any

from runyard.cli.plan import copy_of
from runyard.cli.plandiff import HIDDEN, Planned, diff

SPEC: dict[str, Any] = {
    "tasks": [{"name": "a"}],
    "params": [{"name": "token", "value": "secret-1"}],
}


def test_a_copy_is_planned_and_shows_the_name_that_is_meant() -> None:
    """Whatever the file says of a run: a plan runs nothing."""
    item = {
        "metadata": {"name": "sft", "labels": {"a": "b"}},
        "spec": {**SPEC, "suspend": True, "cancel": True, "maxParallel": 2, "approvals": []},
    }
    copy = copy_of(item, "x7k2q")
    assert copy["metadata"] == {
        "name": "sft-plan-x7k2q",
        "labels": {"runyard.dev/plan-of": "sft"},
    }
    assert copy["spec"] == {
        **SPEC,
        "maxParallel": 2,
        "mode": "Plan",
        "ttlSecondsAfterFinished": 600,
    }


def test_the_copy_of_a_long_name_has_a_valid_one() -> None:
    """The label has the whole name."""
    copy = copy_of({"metadata": {"name": "s" * 63}, "spec": SPEC}, "x7k2q")
    assert len(copy["metadata"]["name"]) == 63
    assert copy["metadata"]["name"].endswith("s-plan-x7k2q")
    assert copy["metadata"]["labels"]["runyard.dev/plan-of"] == "s" * 63


def test_equal_plans_do_not_differ() -> None:
    """Nothing is said."""
    plan = Planned(SPEC, [{"name": "big", "spec": {}}], {"a.yaml": "x\n"})
    assert diff("sft", plan, plan) == []


def test_a_difference_is_shown_by_task() -> None:
    """From what exists to what is planned."""
    before = Planned(SPEC, [], {"a.yaml": "image: one\n", "gone.yaml": "x\n"})
    after = Planned(SPEC, [], {"a.yaml": "image: two\n", "new.yaml": "y\n"})
    assert diff("sft", before, after) == [
        "--- running/sft/a.yaml",
        "+++ planned/sft/a.yaml",
        "@@ -1 +1 @@",
        "-image: one",
        "+image: two",
        "--- running/sft/new.yaml",
        "+++ planned/sft/new.yaml",
        "@@ -0,0 +1 @@",
        "+y",
        "--- running/sft/gone.yaml",
        "+++ planned/sft/gone.yaml",
        "@@ -1 +0,0 @@",
        "-x",
    ]


def test_what_no_object_shows_is_seen_in_the_spec_and_the_profiles() -> None:
    """Retries and edges are the operator's own; a profile may have changed since."""
    before = Planned({**SPEC, "failurePolicy": "FailFast"}, [{"name": "p", "spec": {"env": []}}])
    after = Planned({**SPEC, "failurePolicy": "Continue"}, [{"name": "p", "spec": {}}])
    lines = diff("sft", before, after)
    assert "-failurePolicy: FailFast" in lines
    assert "+failurePolicy: Continue" in lines
    assert "--- running/sft/profiles.yaml" in lines


def test_secrets_are_not_shown_and_their_change_is_no_equality() -> None:
    """A diff goes into logs."""
    other = {**SPEC, "params": [{"name": "token", "value": "secret-2"}]}
    assert diff("sft", Planned(SPEC), Planned(other)) == [f"# {HIDDEN}"]
    longer = {**other, "failurePolicy": "Continue"}
    lines = diff("sft", Planned(SPEC), Planned(longer))
    assert not any("secret-" in line for line in lines)
