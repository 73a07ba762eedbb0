"""What the API server says, put into words; the messages are real ones of Kubernetes 1.34."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runyard.cli.errors import explain
from runyard.cli.manifests import Manifest, read
from runyard.cli.refusals import refusal
from runyard.kube.errors import ApiError, UnreachableError

TEXT = """\
apiVersion: runyard.dev/v1alpha1
kind: Experiment
metadata: {name: demo}
spec:
  tasks:
  - name: a
    executor: {job: {cpus: 1}}
"""
PATH = "/apis/runyard.dev/v1alpha1/namespaces/default/experiments/demo"


def manifest(tmp_path: Path) -> Manifest:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    return read([str(path)])[0]


def error(code: int, message: str, **details: Any) -> ApiError:
    return ApiError(code, {"message": message, "details": details}, "PATCH", PATH)


def test_an_unknown_field_has_a_line_and_a_suggestion(tmp_path: Path) -> None:
    """Server-side apply's own words for it are understood, at any depth."""
    said = (
        "failed to create typed patch object (default/demo; runyard.dev/v1alpha1, Kind=Experiment):"
        ' .spec.tasks[name="a"].executor.job.cpus: field not declared in schema'
    )
    head, line = refusal(manifest(tmp_path), error(500, said))
    assert head.endswith("x.yaml: experiment demo was refused:")
    assert line == (
        '  line 7: spec.tasks[name="a"].executor.job.cpus: there is no such field;'
        " did you mean cpu or gpus?"
    )


def test_strict_decoding_is_understood_too(tmp_path: Path) -> None:
    """Other kinds of requests word unknown fields differently."""
    said = (
        'Experiment in version "v1alpha1" cannot be handled as a Experiment: strict decoding error:'
        ' unknown field "spec.taks", unknown field "spec.tasks[0].nam"'
    )
    _, first, second = refusal(manifest(tmp_path), error(400, said))
    assert first == "  line 4: spec.taks: there is no such field; did you mean tasks?"
    assert second == "  line 6: spec.tasks[0].nam: there is no such field; did you mean name?"


def test_values_are_not_echoed(tmp_path: Path) -> None:
    """A cause's message goes without the value, which may be a whole object."""
    causes = [
        {
            "field": "spec.tasks[0].executor",
            "message": 'Invalid value: "object": set exactly one executor',
        },
        {"field": "spec.tasks[0].name", "message": "Required value"},
        {
            "field": "<nil>",
            "message": "Invalid value: null: some validation rules were not checked",
        },
    ]
    lines = refusal(manifest(tmp_path), error(422, "is invalid", causes=causes))
    assert lines[1:] == [
        "  line 6: spec.tasks[0].name: a value is required",
        "  line 7: spec.tasks[0].executor: set exactly one executor",
    ]


def test_other_refusals_keep_their_words(tmp_path: Path) -> None:
    """A quota or a policy says itself what is wrong."""
    (line,) = refusal(manifest(tmp_path), error(400, "exceeded quota: experiments"))
    assert line.endswith("x.yaml: experiment demo was refused: exceeded quota: experiments")


def test_rights_and_reachability_are_explained_in_place(tmp_path: Path) -> None:
    """The hint stands beneath the manifest it is about."""
    said = (
        'experiments.runyard.dev "demo" is forbidden: User "ann" cannot patch resource'
        ' "experiments" in API group "runyard.dev" in the namespace "default"'
    )
    head, hint = refusal(manifest(tmp_path), error(403, said))
    assert head.endswith("ann may not patch experiments.runyard.dev in namespace default")
    assert hint.endswith("kubectl auth can-i patch experiments.runyard.dev -n default")
    assert refusal(manifest(tmp_path), UnreachableError("gone"))[0].endswith("was refused: gone")


def test_a_missing_right_in_the_whole_cluster_is_worded_so() -> None:
    """Listing all namespaces needs a ClusterRole; core resources have no group."""
    said = (
        'nodes is forbidden: User "ann" cannot list resource "nodes" in API group ""'
        " at the cluster scope"
    )
    told = explain(error(403, said))
    assert str(told) == "ann may not list nodes in the whole cluster"
    assert told.hint.endswith("kubectl auth can-i list nodes -A")


def test_missing_kinds_say_how_to_install() -> None:
    """A 404 without a name is about the kind."""
    told = explain(error(404, "the server could not find the requested resource"))
    assert "Runyard is not installed" in str(told)
    named = explain(error(404, 'experiments.runyard.dev "demo" not found', name="demo"))
    assert str(named) == 'experiments.runyard.dev "demo" not found'
