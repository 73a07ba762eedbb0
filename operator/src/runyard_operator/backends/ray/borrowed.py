"""What a job takes along to a Ray cluster that was made without it. Pure.

Its pods have the experiment's code, and the environment of the task that made the cluster. Of the
job's own task, Ray's runtime environment carries the literal variables and the scripts; a Secret
cannot be carried so, since Ray shows runtime environments to whoever may see its dashboard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runyard.api.constants import CODE_DIR, JOB_DIR
from runyard.api.ray import RayExecutor
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.pods import packages
from runyard_operator.backends.ray.cluster import environment as pod_environment
from runyard_operator.backends.ray.entrypoint import FILES_VARIABLE, packed
from runyard_operator.engine import reasons

MAX_ENVIRONMENT_BYTES: Final = 98_304
"""Ray hands the runtime environment to the driver in one environment variable, of which Linux takes
131,072 bytes; with escapes it grows."""


@dataclass(frozen=True, slots=True)
class Host:
    """The cluster that a job borrows.

    `references` are the variables of its head whose values come from elsewhere, by name;
    `packages` are the requirements that are installed in it. None when the cluster is not there
    yet, so that nobody knows.
    """

    name: str
    references: Mapping[str, Any] | None = None
    packages: tuple[str, ...] | None = None


def folder(target: Target) -> str:
    """Where the job's own files are, on the node of its driver."""
    executor = target.spec.executor.ray
    base = JOB_DIR if executor is not None and executor.cluster_from is not None else "/tmp/runyard"  # noqa: S108
    return f"{base}/jobs/{target.key}"


def code_folder(target: Target) -> str:
    """The job's working directory: the code, which only clusters of the experiment have.

    Raises:
        Refused: the script needs code that is not there.
    """
    executor, script = target.spec.executor.ray, target.spec.script
    if executor is not None and executor.cluster_from is not None:
        return CODE_DIR
    if script is not None and script.path is not None:
        raise Refused(
            reasons.INVALID_SPEC,
            "script.path needs the experiment's code, which the pods of the cluster that"
            " executor.ray.clusterSelector names do not have: write script.inline, name a"
            " working_dir in executor.ray.runtimeEnv, or make a cluster with executor.ray.cluster",
        )
    return folder(target)


def environment(target: Target, files: Mapping[str, str], host: Host) -> dict[str, Any]:
    """Ray's runtime environment for the job.

    Raises:
        Refused: a variable cannot be carried, or all together are too large.
    """
    executor = target.spec.executor.ray
    if executor is None:
        raise Refused(reasons.INVALID_SPEC, "the unit has no executor.ray")
    _check_packages(target, host)
    found = runtime_env(executor)
    ours = {**_variables(target, host), FILES_VARIABLE: packed(files)}
    variables = {**found.get("env_vars", {}), **ours}
    size = len(json.dumps(variables).encode())
    if size > MAX_ENVIRONMENT_BYTES:
        raise Refused(
            reasons.INVALID_SPEC,
            f"the script and the environment of a job on a shared Ray cluster take {size} bytes,"
            f" compressed, and at most {MAX_ENVIRONMENT_BYTES} can be carried: put the script into"
            " the experiment's code (script.path)",
        )
    return {**found, "env_vars": variables}


def runtime_env(executor: RayExecutor) -> dict[str, Any]:
    """The runtime environment as the task has it.

    Raises:
        Refused: its env_vars are not texts by name.
    """
    found = dict(executor.runtime_env or {})
    variables = found.get("env_vars", {})
    if not isinstance(variables, dict) or not all(
        isinstance(each, str) for each in variables.values()
    ):
        raise Refused(
            reasons.INVALID_SPEC,
            "executor.ray.runtimeEnv.env_vars must be a map of texts: put numbers in quotes",
        )
    return found


def _variables(target: Target, host: Host) -> dict[str, str]:
    """Runyard's variables, and the task's literal ones."""
    jobs = folder(target)
    found: dict[str, str] = {}
    for each in pod_environment(target):
        name, value = each["name"], each.get("value")
        if name.startswith("RUNYARD_") and value is not None:
            inside = value.startswith(f"{JOB_DIR}/") and value != CODE_DIR
            found[name] = f"{jobs}{value.removeprefix(JOB_DIR)}" if inside else value
    for variable in target.spec.env:
        if variable.name in found:
            continue
        if variable.value_from is not None:
            _check_reference(variable.name, variable.value_from.to_dict(), host)
            continue
        value = variable.value or ""
        if "$" in value:
            raise Refused(
                reasons.INVALID_SPEC,
                f"env {variable.name}: on a shared Ray cluster a value cannot have '$', which Ray"
                " itself would expand: set the variable on the task that makes the cluster",
            )
        has_code = code_folder(target) == CODE_DIR
        if variable.name == "PYTHONPATH" and has_code:
            path = packages.python_path(target.spec)
            value = f"{path}:{value}" if value else path
        found[variable.name] = value
    return found


def _check_reference(name: str, source: Mapping[str, Any], host: Host) -> None:
    """What the cluster's pods have in the same way is there; else it would have to be carried."""
    if host.references is None or _plain(host.references.get(name)) == _plain(source):
        return
    raise Refused(
        reasons.INVALID_SPEC,
        f"env {name} takes its value from elsewhere (valueFrom), which cannot be given to a job on"
        " a Ray cluster that is there already: set it on the task that makes the cluster, with the"
        " same source",
    )


def _check_packages(target: Target, host: Host) -> None:
    """Packages lie in the pods, which are there already."""
    wanted = target.spec.packages
    if wanted is None or host.packages is None or set(wanted.requirements) <= set(host.packages):
        return
    missing = ", ".join(each for each in wanted.requirements if each not in host.packages)
    raise Refused(
        reasons.INVALID_SPEC,
        f"packages cannot be installed into a Ray cluster that is there already ({missing}): give"
        " them to the task that makes the cluster",
    )


def _plain(source: Any) -> Any:
    """Without what means "unset"."""
    if isinstance(source, Mapping):
        return {key: _plain(each) for key, each in source.items() if each is not False}
    return source
