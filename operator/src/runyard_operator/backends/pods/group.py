"""The containers of a group: one for each role, and how the end of one reaches the others.

With successPolicy All every role is a container of the pod. The kubelet leaves the other containers
alone when one fails, so a shell around each command does it: it holds the role's own named pipe
open and reads those of the others. A pipe ends with the shell that holds it, in whatever way that
one died; unless the role said before that it ended well, it has failed, and the others are ended.

With successPolicy Leader the leader is the pod's only container and the other roles are sidecars:
the kubelet starts them before the leader, ends them after it, and leaves their exit codes out of
the pod's result. It also starts them again when they end, so a shell around each command stays
until it is told to stop, and runs the command no second time.
"""

from __future__ import annotations

from textwrap import indent
from typing import Final, TypeVar

from runyard.api.podfields import PodFields
from runyard.api.task import Role, SuccessPolicy
from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods.command import (
    escaped,
    plain_command,
    with_flag,
    with_outputs,
)
from runyard_operator.backends.pods.placement import is_gang, leads, shape
from runyard_operator.backends.pods.shell import WAIT, start
from runyard_operator.backends.pods.template import GROUP_DIR
from runyard_operator.engine.naming import bounded

ENDED_HEADER: Final = "runyard-ended/1"
"""First line of the termination message of a role that failed after another one had failed."""
GRACE_SECONDS: Final = 30
"""How long a role may take to end after SIGTERM because another one failed."""

_PREFIX: Final = "role-"

# Both wrappers need sh and sleep of the user's image. The first words are the folder of the pipes
# and the role's name, the last ones are the command.
_SIGNALS: Final = """\
child=; signalled=; stopped=; code=127
trap 'signalled=1; stopped=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
"""
_WAIT: Final = indent(WAIT, "  ")

# Descriptor 9 is the pipe of this role, which nobody but this shell may hold. To open the pipe of
# another role for reading would block when that one has ended already: opened for both first, it
# never does. `set -C` lets one role only be the first that failed. A watcher sleeps first, since a
# command that is just being started would not hear its signal.
_EQUAL: Final = f"""\
dir=$1; me=$2; others=$3; shift 3
log=${{RUNYARD_TERMINATION_LOG:-/dev/termination-log}}
{_SIGNALS}\
blame() {{ (set -C; echo "$1" > "$dir/failed") 2>/dev/null || :; }}
watch() {{
  sleep 1
  until [ -e "$dir/$1.started" ]; do sleep 1; done
  exec 8<>"$dir/$1" 7<"$dir/$1" 8<&-
  read -r _ <&7
  [ ! -e "$dir/$1.ok" ] || return 0
  blame "$1"
  read -r first < "$dir/failed"
  echo "runyard: role ${{first:-$1}} has failed: ending this one" >&2
  kill -TERM "$child" 2>/dev/null
  sleep {GRACE_SECONDS} >/dev/null 2>&1
  kill -KILL "$child" 2>/dev/null
}}
exec 9<>"$dir/$me" || exit 127
: > "$dir/$me.started"
{start("9<&-")}\
watchers=
for other in $others; do
  (exec 9<&-; trap - TERM INT HUP; watch "$other") &
  watchers="$watchers $!"
done
{_WAIT}\
kill $watchers 2>/dev/null
if [ "$code" -eq 0 ]; then
  : > "$dir/$me.ok"
  exit 0
fi
blame "$me"
read -r first < "$dir/failed"
[ "$first" = "$me" ] || {{ echo {ENDED_HEADER}; echo "$first"; }} > "$log"
exit "$code"
"""

_SIDECAR: Final = f"""\
dir=$1; me=$2; shift 2
{_SIGNALS}\
if [ -e "$dir/$me.started" ]; then
  echo "runyard: this role was killed, and it is not started again" >&2
  code=137
else
  : > "$dir/$me.started"
{indent(start(), "  ")}\
{_WAIT}\
  child=
fi
while [ -z "$stopped" ]; do
  sleep 2 &
  wait "$!"
done
exit "$code"
"""


# A role that follows in pods of its own: how it ends does not count, and the JobSet would take a
# failure for the group's.
_FOLLOWER: Final = f"""\
{_SIGNALS}\
{start()}\
{_WAIT}\
[ "$code" -eq 0 ] || echo "runyard: this role has ended with exit code $code" >&2
exit 0
"""

Block = TypeVar("Block", bound=PodFields)
_OWN: Final = ("image", "cpu", "cpu_limit", "memory", "memory_limit")


def container_name(role: Role) -> str:
    """The name of the container of a role that is not the leader."""
    return bounded(f"{_PREFIX}{role.name}")


def are_sidecars(spec: UnitSpec) -> bool:
    """Whether the roles beside the leader run as sidecars."""
    return spec.group is not None and spec.group.success_policy is SuccessPolicy.LEADER


def role_command(target: Target, role: Role) -> list[str]:
    """The command of a role's container. The leader, and it alone, writes the outputs.

    Roles with pods of their own have no pipes: there the JobSet ends the others.
    """
    spec = target.spec
    roles = spec.group.roles if spec.group else []
    leader = leads(target, role)
    plain = plain_command(spec, target.name, role, shape(target, role))
    plain = with_outputs(spec, plain, role) if leader else with_flag(spec, role, plain)
    if is_gang(target):
        if are_sidecars(spec) and not leader:
            plain = ["sh", "-c", _FOLLOWER, "runyard", *plain]
    elif not are_sidecars(spec):
        others = " ".join(each.name for each in roles if each.name != role.name)
        plain = ["sh", "-c", _EQUAL, "runyard", GROUP_DIR, role.name, others, *plain]
    elif not leader:
        plain = ["sh", "-c", _SIDECAR, "runyard", GROUP_DIR, role.name, *plain]
    return escaped(plain)


def block_of(fields: Block, role: Role) -> Block:
    """The executor block as it holds for the containers of a role.

    A limit belongs to the request beside which it is written: one of the block's does not limit
    what a role asks for itself.
    """
    own = {name: getattr(role, name) for name in _OWN if getattr(role, name) is not None}
    for request in ("cpu", "memory"):
        if request in own:
            own.setdefault(f"{request}_limit", None)
    return fields.model_copy(update=own)


def gpus_of(own: int | None, role: Role | None) -> int | None:
    """The GPUs of a role's container; `own` are those that the executor block says."""
    if role is None or role.gpus_per_node is None:
        return own
    return role.gpus_per_node or None


def ended_by(message: str) -> str | None:
    """The role that had failed before, as the termination message of another one says."""
    header, _, rest = message.partition("\n")
    return rest.strip() if header == ENDED_HEADER else None
