"""How simulated nodes and pods behave, in kwok's terms: stages that an object passes through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# A pod of a Job succeeds after this long; the annotation sets another time (for example 30s).
RUN_MILLISECONDS = 1000
RUN_ANNOTATION = "simulated.runyard.dev/runs-for"

_ALIVE = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'

_NODE_READY = """\
phase: Running
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
{{ end }}
addresses:
- {type: Hostname, address: {{ .metadata.name | Quote }}}
"""

_POD_RUNNING = """\
phase: Running
startTime: {{ Now | Quote }}
{{ $m := .metadata }}
podIP: {{ index (PodIPsWith .spec.nodeName false $m.uid $m.name $m.namespace) 0 | Quote }}
conditions:
{{ range (list "Initialized" "ContainersReady" "Ready") }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ Now | Quote }}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ Now | Quote }}
      finishedAt: {{ Now | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ Now | Quote }}}}
{{ end }}
"""

_POD_SUCCEEDED = """\
phase: Succeeded
conditions:
- {type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ Now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ Now | Quote }}
      finishedAt: {{ Now | Quote }}
{{ end }}
"""


def _stage(
    name: str,
    kind: str,
    conditions: Sequence[Mapping[str, Any]],
    then: Mapping[str, Any],
    delay: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": list(conditions)},
        "next": then,
    }
    if delay:
        spec["delay"] = delay
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": spec,
    }


def _is(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def stages() -> list[dict[str, Any]]:
    """Return all stages: nodes become and stay Ready; pods run, those of Jobs succeed."""
    run = {
        "durationMilliseconds": RUN_MILLISECONDS,
        "durationFrom": {"expressionFrom": f'.metadata.annotations["{RUN_ANNOTATION}"]'},
    }
    of_job = _is(".metadata.ownerReferences.[].kind", "In", "Job")
    beat = {"durationMilliseconds": 20_000, "jitterDurationMilliseconds": 25_000}
    ready = {"statusTemplate": _NODE_READY}
    return [
        _stage("node-starts", "Node", [_is(_READY, "NotIn", "True")], ready),
        _stage("node-beats", "Node", [_is(_READY, "In", "True")], ready, beat),
        _stage(
            "pod-starts",
            "Pod",
            [_ALIVE, _is(".status.phase", "In", "Pending")],
            {"statusTemplate": _POD_RUNNING},
        ),
        _stage(
            "pod-succeeds",
            "Pod",
            [_ALIVE, _is(".status.phase", "In", "Running"), of_job],
            {"statusTemplate": _POD_SUCCEEDED},
            run,
        ),
        _stage(
            "pod-goes",
            "Pod",
            [{"key": ".metadata.deletionTimestamp", "operator": "Exists"}],
            {"delete": True},
        ),
    ]


def render() -> str:
    """Return kwok's configuration file."""
    return "\n---\n".join(json.dumps(stage) for stage in stages()) + "\n"
