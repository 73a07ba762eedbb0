"""What each source of code, and packages, make of a pod."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from runyard.api.constants import CODE_DIR
from runyard.api.policy import FailureClass
from runyard_operator.backends.base import Refused
from runyard_operator.backends.job.render import render as render_job
from runyard_operator.backends.pods import packages
from runyard_operator.backends.pods.failure import why_failed
from runyard_operator.backends.pods.sources import IN_CODE, IN_SECRET, KEYS_DIR
from runyard_operator.backends.pods.template import INIT_CONTAINER
from runyard_operator.backends.pods.view import ContainerView, PodView
from runyard_operator.backends.trainjob.render import render as render_train_job
from runyard_operator.bundles.tokens import get_token
from runyard_operator.unpack import KINDS
from tests.unit.backends.rendering import TORCH_RUNTIME
from tests.unit.backends.samples import CONFIG, job_spec, target, train_spec

DIGEST = f"sha256:{'ab' * 32}"
COMMIT = "c0ffee00" * 5
STORE = replace(CONFIG, store_url="http://store.runyard-system", store_key=b"k" * 32)


def pod_of(config: Any = CONFIG, **spec: Any) -> dict[str, Any]:
    """The pod of a Job with this code."""
    pod: dict[str, Any] = render_job(target(job_spec(**spec)), config).objects[-1]["spec"][
        "template"
    ]["spec"]
    return pod


def env_of(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def entry_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What the unpacker is told about the code."""
    entries = json.loads(env_of(pod["initContainers"][0])["RUNYARD_UNPACK"])
    assert all(each["kind"] in KINDS for each in entries)
    found: dict[str, Any] = entries[0]
    return found


def volumes_of(pod: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in pod["volumes"]}


def mounts_of(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["mountPath"]: each for each in container["volumeMounts"]}


def test_a_small_bundle_is_mounted_in_its_parts() -> None:
    """In their order, as one folder, read by the init container alone."""
    pod = pod_of(code={"bundle": {"digest": DIGEST, "size": 2_400_000}})
    assert entry_of(pod) == {
        "kind": "parts", "source": IN_CODE, "target": CODE_DIR, "digest": DIGEST,
    }  # fmt: skip
    parts = volumes_of(pod)["runyard-code"]["projected"]["sources"]
    assert [each["configMap"]["name"] for each in parts] == [
        f"code-abababababababab-{index}" for index in range(3)
    ]
    paths = [each["configMap"]["items"][0]["path"] for each in parts]
    assert paths == sorted(paths)
    assert IN_CODE in mounts_of(pod["initContainers"][0])
    assert IN_CODE not in mounts_of(pod["containers"][0])


def test_a_large_bundle_comes_from_the_store() -> None:
    """With the right to read this one; without a store the task is refused."""
    code = {"bundle": {"digest": DIGEST, "size": 40_000_000}}
    pod = pod_of(STORE, code=code)
    assert entry_of(pod)["url"] == f"http://store.runyard-system/v1/bundles/{DIGEST}"
    token = env_of(pod["initContainers"][0])["RUNYARD_STORE_TOKEN"]
    assert token == get_token(STORE.store_key, DIGEST)
    assert token not in json.dumps(pod["containers"])
    with pytest.raises(Refused, match=r"bundleStore\.enabled"):
        pod_of(code=code)


def test_git_with_a_secret() -> None:
    """The Secret is shown to the init container alone, and copied into memory only."""
    git = {"url": "git@host:a.git", "ref": "main", "commit": COMMIT, "subpath": "x",
           "submodules": True, "secret": {"name": "deploy"}}  # fmt: skip
    pod = pod_of(code={"git": git})
    assert entry_of(pod) == {
        "kind": "git", "url": "git@host:a.git", "commit": COMMIT, "target": CODE_DIR, "ref": "main",
        "subpath": "x", "submodules": True, "secret": IN_SECRET,
    }  # fmt: skip
    first, main = pod["initContainers"][0], pod["containers"][0]
    assert env_of(first)["RUNYARD_KEYS"] == KEYS_DIR
    assert {IN_SECRET, KEYS_DIR} <= mounts_of(first).keys()
    assert not {IN_SECRET, KEYS_DIR} & mounts_of(main).keys()
    assert volumes_of(pod)["runyard-keys"]["emptyDir"]["medium"] == "Memory"
    assert volumes_of(pod)["runyard-code-secret"]["secret"]["secretName"] == "deploy"


def test_a_claim_is_mounted_where_it_is() -> None:
    """Nothing is copied; with a digest the init container looks at it first."""
    pvc = {"claimName": "shared", "subPath": "src"}
    pod = pod_of(code={"pvc": pvc})
    main = mounts_of(pod["containers"][0])[CODE_DIR]
    assert main == {
        "name": "runyard-code", "mountPath": CODE_DIR, "subPath": "src", "readOnly": True,
    }  # fmt: skip
    assert IN_CODE not in mounts_of(pod["initContainers"][0])
    pod = pod_of(code={"pvc": {**pvc, "digest": DIGEST, "readOnly": False}})
    assert "readOnly" not in mounts_of(pod["containers"][0])[CODE_DIR]
    assert mounts_of(pod["initContainers"][0])[IN_CODE]["subPath"] == "src"
    assert entry_of(pod) == {"kind": "check", "source": IN_CODE, "digest": DIGEST}


def test_an_archive_with_a_secret() -> None:
    """Address and digest go to the init container, the Secret to nobody else."""
    uri = {"url": "s3://b/a.tgz", "digest": DIGEST, "secret": {"name": "files"}}
    pod = pod_of(code={"uri": uri})
    assert entry_of(pod) == {
        "kind": "uri", "url": "s3://b/a.tgz", "digest": DIGEST, "target": CODE_DIR,
        "secret": IN_SECRET,
    }  # fmt: skip
    assert IN_SECRET not in mounts_of(pod["containers"][0])


def test_a_unit_alone_must_name_its_commit() -> None:
    """Nobody looks it up for it."""
    with pytest.raises(Refused, match=r"code\.git\.commit is not set"):
        pod_of(code={"git": {"url": "https://host/a.git"}})


def test_packages_are_installed_by_the_tasks_image() -> None:
    """After the tools came, with what the task may use, before anything else on both paths."""
    wanted = {
        "requirements": ["a", "b $(X)"],
        "indexSecret": {"name": "index", "key": "url"},
        "extraIndexUrls": ["https://x/simple", "https://y/simple"],
        "cache": {"claimName": "sets"},
    }
    env = [{"name": "PIP_CERT", "value": "/ca.pem"}, {"name": "PYTHONPATH", "value": "/opt"}]
    executor = {"job": {"image": "img:1", "cpu": "2", "memory": "4Gi", "gpus": 1}}
    config = replace(CONFIG, package_index="https://default/simple")
    pod = pod_of(config, packages=wanted, env=env, executor=executor)
    first, second = pod["initContainers"]
    assert json.loads(env_of(first)["RUNYARD_UNPACK"])[-1] == packages.entry()
    assert (second["name"], second["image"]) == (packages.CONTAINER, "img:1")
    assert second["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"},
    }  # fmt: skip
    seen = env_of(second)
    assert seen["PIP_INDEX_URL"]["secretKeyRef"]["name"] == "index"
    assert seen["PIP_EXTRA_INDEX_URL"] == "https://x/simple https://y/simple"
    assert (seen["PIP_CERT"], "PYTHONPATH" in seen) == ("/ca.pem", False)
    assert json.loads(seen["RUNYARD_REQUIREMENTS"]) == ["a", "b $$(X)"]
    main = pod["containers"][0]
    assert env_of(main)["PYTHONPATH"] == "/nemo_run/code:/nemo_run/packages:/opt"
    assert main["command"][:2] == ["sh", "-c"]
    assert main["command"][2].startswith("PATH=/nemo_run/packages/bin:$PATH;")
    assert mounts_of(main)[packages.CACHE_DIR]["readOnly"] is True
    assert "readOnly" not in mounts_of(second)[packages.CACHE_DIR]


@pytest.mark.parametrize(
    ("env", "wanted", "index"),
    [
        ([], {}, "https://default/simple"),
        ([{"name": "PIP_INDEX_URL", "value": "https://env/simple"}], {}, "https://env/simple"),
        (
            [{"name": "PIP_INDEX_URL", "value": "https://env/simple"}],
            {"indexUrl": "https://task/simple"},
            "https://task/simple",
        ),
    ],
)
def test_which_index_is_asked(
    env: list[dict[str, str]], wanted: dict[str, str], index: str
) -> None:
    """The task's word on packages, then its environment, then the operator's default."""
    config = replace(CONFIG, package_index="https://default/simple")
    pod = pod_of(config, packages={"requirements": ["a"], **wanted}, env=env)
    assert env_of(pod["initContainers"][1])["PIP_INDEX_URL"] == index


def test_packages_of_a_train_job_come_into_every_node() -> None:
    """Its runtime has the init container, with the runtime's image where the task has none."""
    spec = train_spec(packages={"requirements": ["a"]}, executor={"trainJob": {"numNodes": 2}})
    runtime = render_train_job(target(spec), TORCH_RUNTIME, CONFIG).objects[0]
    node = runtime["spec"]["template"]["spec"]["replicatedJobs"][1]["template"]["spec"]["template"]
    assert [each["name"] for each in node["spec"]["initContainers"][:2]] == [
        "runyard-code", packages.CONTAINER,
    ]  # fmt: skip
    assert node["spec"]["initContainers"][1]["image"] == "pytorch/pytorch:2.6"


@pytest.mark.parametrize(
    ("name", "end", "said"),
    [
        (
            packages.CONTAINER,
            {"end_message": "log\nrunyard: no such thing"},
            "runyard: no such thing",
        ),
        (
            packages.CONTAINER,
            {"end_reason": "StartError", "end_message": 'exec: "python3": not found'},
            "packages need python3 in the task's image",
        ),
        (packages.CONTAINER, {"end_reason": "OOMKilled"}, "raise executor memory"),
        (INIT_CONTAINER, {"end_reason": "OOMKilled"}, "had too little memory"),
        (INIT_CONTAINER, {"end_message": "x\nrunyard: another digest"}, "runyard: another digest"),
        ("theirs", {"end_message": "x"}, "init container theirs ended with 1"),
    ],
)
def test_why_a_pod_did_not_get_its_code(name: str, end: dict[str, str], said: str) -> None:
    """The init container's own last word, where it is ours and could say one."""
    broken = ContainerView(name=name, exit_code=1, **end)  # type: ignore[arg-type]
    found = why_failed([PodView(name="p", phase="Failed", init=(broken,))], {})
    assert found.failure_class is FailureClass.LAUNCH_FAILED
    assert said in found.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"packages": {"requirements": ["a"], "indexUrl": "https://x/s",
                          "indexSecret": {"name": "i", "key": "k"}}},
            "set one, the Secret holds the whole address",
        ),
        (
            {"packages": {"requirements": ["a"]}, "script": None, "group": {"roles": [
                {"name": "a", "script": {"inline": "true"}},
                {"name": "b", "script": {"inline": "true"}, "image": "other:1"}]}},
            "role 'b' has an image of its own",
        ),
    ],
)  # fmt: skip
def test_packages_that_cannot_be_honoured(spec: dict[str, Any], said: str) -> None:
    """They are refused, with what to write."""
    with pytest.raises(Refused, match=said):
        pod_of(**spec)
