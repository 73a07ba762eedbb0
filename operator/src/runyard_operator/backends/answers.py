"""What the API server's refusals mean for a submit or a cancel. Pure."""

from __future__ import annotations

from runyard_operator.backends.base import BackendError, Refused, Stalled, Unreachable
from runyard_operator.engine import reasons
from runyard_operator.kube.errors import Forbidden, Invalid, KubeError, NotFound
from runyard_operator.kube.resources import Ref

_UNAUTHORIZED = 401


def to_backend_error(error: KubeError, ref: Ref) -> BackendError:
    """The error to raise instead of `error`, which a request about `ref` brought.

    What is not understood is Unreachable: nothing is concluded from it.
    """
    text = str(error)
    if isinstance(error, Invalid):
        return Refused(reasons.REFUSED, f"the API server refuses {ref}: {text}")
    if isinstance(error, NotFound):
        return Stalled(
            reasons.REFUSED,
            f"{ref} cannot be created, its namespace or its kind is missing: {text}",
        )
    if isinstance(error, Forbidden) and error.status != _UNAUTHORIZED:
        return _forbidden(text, ref)
    return Unreachable(reasons.UNREACHABLE, f"no clear answer about {ref}: {text}")


def _forbidden(text: str, ref: Ref) -> BackendError:
    """403 has three meanings, told apart by the API server's own words."""
    if "exceeded quota" in text:
        return Stalled(
            reasons.QUOTA_EXCEEDED,
            f"{ref} waits for quota: end something in the namespace or raise the quota ({text})",
        )
    if "denied the request" in text or "denied request" in text:
        return Refused(reasons.REFUSED, f"an admission policy refuses {ref}: {text}")
    return Stalled(
        reasons.FORBIDDEN,
        f"the operator may not touch {ref}: install the chart's RBAC for this namespace ({text})",
    )
