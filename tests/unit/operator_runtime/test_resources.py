"""Names of objects and the URLs that follow from them."""

from __future__ import annotations

import pytest

from runyard_operator.kube.resources import RESOURCES, Ref, resource


def test_paths_of_both_worlds() -> None:
    """The core group lives under /api, all others under /apis."""
    assert Ref("v1", "Pod", "p", "team").path("log") == "/api/v1/namespaces/team/pods/p/log"
    assert resource("batch/v1", "Job").path(None) == "/apis/batch/v1/jobs"
    unit = Ref("runyard.dev/v1alpha1", "ExecutionUnit", "u", "team")
    assert unit.path("status").endswith("/namespaces/team/executionunits/u/status")
    backend = Ref("runyard.dev/v1alpha1", "Backend", "eos")
    assert backend.path() == "/apis/runyard.dev/v1alpha1/backends/eos"


def test_names_cannot_escape_their_place() -> None:
    """A hostile name stays one segment of the path."""
    assert Ref("v1", "Pod", "../nodes?x", "team").path() == (
        "/api/v1/namespaces/team/pods/..%2Fnodes%3Fx"
    )


def test_a_namespace_is_not_forgotten() -> None:
    """A namespaced object without its namespace is a mistake, not another URL."""
    with pytest.raises(ValueError, match="Pod p needs a namespace"):
        Ref("v1", "Pod", "p").path()


def test_unknown_kinds_are_named() -> None:
    """A kind that is not in the table says where to add it."""
    with pytest.raises(LookupError, match="Deployment of apps/v1 is not in"):
        resource("apps/v1", "Deployment")
    assert len(RESOURCES) == len({(each.group, each.plural) for each in RESOURCES.values()})


def test_a_reference_from_an_object() -> None:
    """An object knows its own name."""
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"}}
    assert Ref.of(manifest) == Ref("v1", "Pod", "p", "team")
    assert str(Ref.of(manifest)) == "Pod team/p"
