"""A task as a RayJob, or as the RayCluster that other tasks share. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from runyard.api.constants import CODE_DIR, JOB_DIR, SCRIPTS_DIR
from runyard.api.ray import RayExecutor
from runyard.api.unit import UnitSpec
from runyard_operator.backends import kueue, naming
from runyard_operator.backends.base import Manifest, Plan, Refused, Target
from runyard_operator.backends.planning import block_of, plan
from runyard_operator.backends.pods import code, packages
from runyard_operator.backends.pods import fields as podfields
from runyard_operator.backends.pods.code import Staged
from runyard_operator.backends.pods.command import (
    literal,
    plain_command,
    script_name,
    with_outputs,
)
from runyard_operator.backends.pods.template import RESTRICTED, Fragment, PodConfig
from runyard_operator.backends.ray import borrowed, entrypoint
from runyard_operator.backends.ray.borrowed import Host
from runyard_operator.backends.ray.cluster import PRE_START_FILE, cluster_spec, pre_start_script
from runyard_operator.backends.ray.protocol import REQUEST_VARIABLE, SHARED_VARIABLE
from runyard_operator.bundles.bundle import BundleError, bundle
from runyard_operator.engine import reasons
from runyard_operator.kube.resources import RAY

SUBMITTER: Final = "main"
SUBMITTER_MODULE: Final = "runyard_operator.backends.ray.submitter"
CLUSTER_LABEL: Final = "ray.io/cluster"
STAYS_SECONDS: Final = 10
"""How long a cluster stays after its job, so that its pods can still say what happened to them."""
_STOP_SECONDS: Final = 60


def render(target: Target, config: PodConfig, host: Host | None = None) -> Plan:
    """The exact request for the attempt; `host` is the cluster that it borrows, if it does.

    Raises:
        Refused: the spec cannot be honoured; the message says which field.
    """
    executor = block_of(target, "ray", RayExecutor)
    if executor.cluster is not None:
        staged = _stage(target, executor, {})
        spec = cluster_spec(target, executor, staged, config)
        return plan(target, staged, [_object(target, executor, "RayCluster", spec)])
    if host is not None:
        return _borrowing(target, executor, config, host)
    return _own(target, executor, config)


def _stage(target: Target, executor: RayExecutor, more: Mapping[str, str]) -> Staged:
    """The task's bundles, with the files by which its pods and its driver are started."""
    staged = code.stage(target)
    files = dict(staged.scripts.files) if staged.scripts is not None else {}
    files.update(more)
    if executor.pre_ray_start_commands:
        files[PRE_START_FILE] = pre_start_script(executor.pre_ray_start_commands)
    try:
        return replace(staged, scripts=bundle(files.items()) if files else None)
    except BundleError as problem:
        raise Refused(reasons.INVALID_SPEC, str(problem)) from problem


def _own(target: Target, executor: RayExecutor, config: PodConfig) -> Plan:
    """A RayJob with a cluster of its own, which goes when it ends."""
    script = entrypoint.driver(
        target.key,
        folder=JOB_DIR,
        code=CODE_DIR,
        command=_words(target.spec, plain_command(target.spec, target.name)),
    )
    staged = _stage(target, executor, {entrypoint.DRIVER_FILE: script})
    line, environment = entrypoint.line(SCRIPTS_DIR), borrowed.runtime_env(executor)
    spec: Fragment = {
        **_job(target, executor, config, line, environment),
        "rayClusterSpec": cluster_spec(target, executor, staged, config),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": STAYS_SECONDS,
        **kueue.spec(executor),
    }
    return plan(target, staged, [_object(target, executor, "RayJob", spec)])


def _words(spec: UnitSpec, plain: list[str]) -> list[str]:
    """The command with all that is put around it in the pods of other executors."""
    return packages.on_path(spec, with_outputs(spec, plain))


def _borrowing(target: Target, executor: RayExecutor, config: PodConfig, host: Host) -> Plan:
    """A RayJob on a cluster that stays; its script and environment travel with it."""
    spec = target.spec
    folder = borrowed.folder(target)
    command = plain_command(spec, target.name)
    files = {}
    if spec.script is not None and spec.script.inline is not None:
        name = script_name(spec, target.name)
        files[name] = spec.script.inline
        command = [f"{folder}/{name}" if w == f"{SCRIPTS_DIR}/{name}" else w for w in command]
    files[entrypoint.DRIVER_FILE] = entrypoint.driver(
        target.key,
        folder=folder,
        code=borrowed.code_folder(target),
        command=_words(spec, command),
    )
    line = entrypoint.line_with_files(folder)
    environment = borrowed.environment(target, files, host)
    request = {
        **_job(target, executor, config, line, environment, shared=True),
        "clusterSelector": {CLUSTER_LABEL: host.name},
    }
    found = _object(target, executor, "RayJob", request)
    # Kueue cannot hold a job whose cluster is there already; its pods count where they are made.
    for name in kueue.labels(executor):
        found["metadata"]["labels"].pop(name, None)
    return plan(target, Staged(code=None, scripts=None), [found])


def _job(
    target: Target,
    executor: RayExecutor,
    config: PodConfig,
    line: str,
    environment: Mapping[str, Any],
    *,
    shared: bool = False,
) -> Fragment:
    """What RayJobs have in common. A try is an attempt of the unit: nothing here tries again."""
    names = {"experiment": target.spec.experiment, "task": target.spec.task}
    request: Fragment = {
        "entrypoint": line,
        "submission_id": target.key,
        "metadata": {
            **{name: value for name, value in names.items() if value},
            "unit": target.name,
            "attempt": str(target.attempt),
        },
    }
    if environment:
        request["runtime_env"] = dict(environment)
    if executor.entrypoint_num_cpus:
        request["entrypoint_num_cpus"] = executor.entrypoint_num_cpus
    if executor.entrypoint_num_gpus:
        request["entrypoint_num_gpus"] = executor.entrypoint_num_gpus
    if executor.entrypoint_resources:
        request["entrypoint_resources"] = dict(executor.entrypoint_resources)
    return {
        "entrypoint": line,
        "jobId": target.key,
        "submissionMode": "K8sJobMode",
        "submitterConfig": {"backoffLimit": 0},
        "backoffLimit": 0,
        "submitterPodTemplate": _submitter(target, executor, config, request, shared=shared),
    }


def _submitter(
    target: Target,
    executor: RayExecutor,
    config: PodConfig,
    request: Fragment,
    *,
    shared: bool,
) -> Fragment:
    """The pod that submits the job and follows it, whatever image Ray itself has."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    env = {REQUEST_VARIABLE: literal(text), **({SHARED_VARIABLE: "1"} if shared else {})}
    container: Fragment = {
        "name": SUBMITTER,
        "image": config.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": [config.command[0], "-m", SUBMITTER_MODULE],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": RESTRICTED,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "metadata": podfields.pod_metadata(target, executor),
        "spec": {
            **podfields.pod_fields(executor, config, helps=True),
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            # A job on a cluster that stays is stopped first, and Ray gives it time.
            **({"terminationGracePeriodSeconds": _STOP_SECONDS} if shared else {}),
            "containers": [container],
        },
    }


def _object(target: Target, executor: RayExecutor, kind: str, spec: Fragment) -> Manifest:
    name = naming.raycluster_name if kind == "RayCluster" else naming.rayjob_name
    return {
        "apiVersion": RAY,
        "kind": kind,
        "metadata": podfields.child_metadata(target, name(target.name, target.attempt), executor),
        "spec": {**spec, **(kueue.spec(executor) if kind == "RayCluster" else {})},
    }
