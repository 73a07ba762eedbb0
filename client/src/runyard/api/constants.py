"""Names that several parts must agree on: the API group, labels, annotations, paths in the job."""

from __future__ import annotations

from typing import Final

GROUP: Final = "runyard.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "runyard"

FINALIZER: Final = f"{GROUP}/cleanup"

LABEL_EXPERIMENT: Final = f"{GROUP}/experiment"
LABEL_TASK: Final = f"{GROUP}/task"
LABEL_UNIT: Final = f"{GROUP}/unit"
LABEL_UNIT_UID: Final = f"{GROUP}/unit-uid"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "runyard"
ANNOTATION_KEY: Final = f"{GROUP}/key"
"""Carries the attempt's key on the child that was made for it."""

JOB_DIR: Final = "/nemo_run"
"""The job directory inside every container, as NeMo-Run has it."""
CODE_DIR: Final = f"{JOB_DIR}/code"
SCRIPTS_DIR: Final = f"{JOB_DIR}/scripts"
OUTPUTS_DIR: Final = f"{JOB_DIR}/outputs"
PACKAGES_DIR: Final = f"{JOB_DIR}/packages"

LABEL_MEMBER: Final = f"{GROUP}/member"
"""The index of a matrix member, on its ExecutionUnit."""

MAX_TASKS: Final = 128
MAX_FINALLY: Final = 16
MAX_MEMBERS: Final = 10_000
"""Members of all matrices of an experiment together, its plain tasks counted as one each."""
MAX_OUTPUT_BYTES: Final = 3500
"""All outputs of a task together, in bytes: they travel in the kubelet's termination message, which
holds 4096 bytes for a container, framing included."""
MAX_INLINE_CODE_BYTES: Final = 900_000
"""All inline files together, in bytes: a ConfigMap holds 1,048,576 decoded bytes, an etcd value
about 1.5 MiB, and an Experiment holds the same text once more."""

CHUNK_BYTES: Final = 1_000_000
"""Bytes of a bundle's archive in one ConfigMap, the last one aside."""
MAX_CONFIGMAP_BUNDLE_BYTES: Final = 3_000_000
"""A bundle up to this size lies in ConfigMaps, a bigger one in the code store."""
MAX_BUNDLE_BYTES: Final = 10_000_000_000
LABEL_BUNDLE: Final = f"{GROUP}/bundle"
"""On the ConfigMaps of a bundle: the first 16 hexadecimal digits of its digest."""
ANNOTATION_DIGEST: Final = f"{GROUP}/digest"
ANNOTATION_SIZE: Final = f"{GROUP}/size"
