"""How much a task can tell at its end: outputs and artifacts share one termination message. Pure.

The message is `HEADER`, a line for each artifact (`@NAME SIZE DIGEST`, a dash for what is not
known), then for each output a line `NAME SIZE` and its bytes with a newline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

HEADER: Final = "runyard-outputs/1"
MESSAGE_BYTES: Final = 4096
"""What the kubelet keeps of a container's termination message."""
_ARTIFACT: Final = len("@ ") + 19 + len(" sha256:") + 64 + len("\n")
_OUTPUT: Final = len(" 0\n\n")


def artifact_bytes(names: Sequence[str]) -> int:
    """The most that artifacts of these names take."""
    return sum(len(name) + _ARTIFACT for name in names)


def frame_bytes(outputs: Sequence[str], artifacts: Sequence[str]) -> int:
    """What the names alone take: with empty outputs and the longest sizes and digests."""
    return (
        len(HEADER) + 1 + artifact_bytes(artifacts) + sum(len(each) + _OUTPUT for each in outputs)
    )
