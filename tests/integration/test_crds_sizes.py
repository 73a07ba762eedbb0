"""The biggest objects that the schemas allow are within the budget of the API server for rules.

The API server stops an expression, or an object's expressions together, that cost too much while
they run. Only the object itself shows it: the check of the CRD is an estimate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.api.constants import MAX_FINALLY, MAX_MEMBERS, MAX_TASKS
from testbed.cluster import Cluster
from tests.support.crds import Manifest, experiment, installed, job, task, unit
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration

# An object in etcd holds 1.5 MiB; the defaults that the API server writes out count as well.
ROOM = 800_000
LONG = "x" * 54


def names(number: int) -> list[str]:
    """As many task names, each as long as a name can be."""
    return [f"task-{index:03}-{LONG}" for index in range(number)]


def fitted(make: Callable[[int], Manifest], most: int) -> Manifest:
    """The object with the most elements, up to `most`, that still fits into etcd."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if len(json.dumps(make(middle))) <= ROOM:
            low = middle
        else:
            high = middle - 1
    return make(low)


def graph() -> Manifest:
    """All tasks with all edges."""
    known = names(MAX_TASKS)
    return experiment(
        *(
            task(name, after=[{"task": each} for each in known[max(index - 32, 0) : index]])
            for index, name in enumerate(known)
        ),
        name="x" * 63,
        **{"finally": [task(f"finally-{index}") for index in range(MAX_FINALLY)]},
    )


def everywhere(**fields: Any) -> Callable[[int], Manifest]:
    """An experiment of so many tasks with these fields."""
    return lambda number: experiment(*(task(name, **fields) for name in names(number)))


def variables(number: int) -> list[dict[str, Any]]:
    """Environment variables, each from another place."""
    return [
        {"name": f"V{index}", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
        for index in range(number)
    ]


def volumes(number: int) -> Manifest:
    """An executor block with volumes, each mounted."""
    return job(
        volumes=[{"name": f"v{index}", "emptyDir": {}} for index in range(number)],
        volumeMounts=[{"name": f"v{index}", "mountPath": f"/d/{index}"} for index in range(number)],
    )


def matrix(parameters: dict[str, list[str]], **more: Any) -> Manifest:
    """An experiment with one matrix of these parameters."""
    return experiment(task(matrix={"parameters": parameters, **more}))


ROLES = [
    {"name": f"r{index}", "script": {"inline": "true"}, "env": variables(16)} for index in range(8)
]
COMBINATION = {f"p{index}": "x" * 64 for index in range(16)}
KEYS = [{"key": f"k{index}", "path": f"a/b/c/{index}"} for index in range(256)]
BIGGEST: dict[str, Callable[[], Manifest]] = {
    "graph": graph,
    "matrix by one parameter": lambda: matrix({"p": [f"{n:05}" for n in range(MAX_MEMBERS)]}),
    "matrix by two parameters": lambda: matrix(
        {name: [f"{n:0256}" for n in range(100)] for name in ("p", "q")}
    ),
    "matrix with exceptions": lambda: matrix(
        {name: ["x" * 256] for name in COMBINATION},
        include=[COMBINATION] * 256,
        exclude=[COMBINATION] * 256,
    ),
    "matrices": lambda: fitted(
        everywhere(matrix={"parameters": {name: ["a", "b"] for name in COMBINATION}}), MAX_TASKS
    ),
    "parameters": lambda: experiment(
        params=[{"name": f"p{index}", "value": "x" * 4096} for index in range(64)]
    ),
    "variables": lambda: fitted(everywhere(env=variables(256)), MAX_TASKS),
    "variables of one task": lambda: experiment(
        task(env=[{"name": f"V{n}", "value": "x" * 3000} for n in range(256)])
    ),
    "volumes": lambda: fitted(everywhere(executor=volumes(64)), MAX_TASKS),
    "keys of volumes": lambda: fitted(
        everywhere(
            executor=job(volumes=[{"name": "v", "secret": {"secretName": "a", "items": KEYS}}])
        ),
        MAX_TASKS,
    ),
    "groups": lambda: fitted(
        lambda number: experiment(
            *(
                {"name": name, "group": {"roles": ROLES}, "executor": job()}
                for name in names(number)
            )
        ),
        MAX_TASKS,
    ),
    "retries": lambda: everywhere(
        retry={
            "limit": 1000,
            "exitCodes": list(range(1, 65)),
            "failureClasses": ["Error", "Timeout"],
        },
        outputs=[{"name": f"o{index}"} for index in range(32)],
    )(MAX_TASKS),
    "arguments": lambda: fitted(
        everywhere(script={"inline": "x", "args": ["x" * 16] * 256}), MAX_TASKS
    ),
    "code": lambda: experiment(
        code={"inline": [{"path": f"a/{n}", "content": "x" * 6000} for n in range(128)]}
    ),
    "verdicts": lambda: everywhere(approval={})(MAX_TASKS)
    | {
        "spec": everywhere(approval={})(MAX_TASKS)["spec"]
        | {
            "approvals": [{"task": name, "message": "x" * 1024} for name in names(MAX_TASKS)],
            "suspendTasks": names(MAX_TASKS),
        }
    },
    "unit": lambda: unit(
        env=[{"name": f"V{n}", "value": "x" * 2000} for n in range(256)],
        executor=volumes(64),
        outputs=[{"name": f"o{index}"} for index in range(32)],
        adopted={
            "experiment": "a", "unit": "a-b", "uid": "u",
            "outputs": [{"name": f"o{index}", "value": "x" * 4096} for index in range(32)],
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Kubectl]:
    """Kubectl in one namespace for the whole module, with the CRDs installed."""
    with installed(cluster) as kubectl:
        yield kubectl


@pytest.mark.parametrize("name", BIGGEST)
def test_the_biggest_is_accepted_changed_and_reported_on(
    api: Kubectl, tmp_path: Path, name: str
) -> None:
    """Rules about changes compare all of the old object with all of the new one."""
    manifest = BIGGEST[name]()
    manifest["metadata"] = {"name": "biggest"}
    kind = f"{manifest['kind'].lower()}.runyard.dev"
    path = tmp_path / "biggest.json"
    path.write_text(json.dumps(manifest))
    api.run("create", "--validate=strict", "-f", str(path))
    try:
        change = json.dumps({"spec": {"suspend": True}})
        api.run("patch", kind, "biggest", "--type=merge", "-p", change)
        status = json.dumps({"status": {"phase": "Running", "observedGeneration": 2}})
        api.run("patch", kind, "biggest", "--subresource=status", "--type=merge", "-p", status)
    finally:
        api.run("delete", kind, "biggest")
