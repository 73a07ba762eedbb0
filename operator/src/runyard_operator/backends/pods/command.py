"""The argument vector of a task's container."""

from __future__ import annotations

import re
from typing import Final

from runyard.api.constants import MAX_OUTPUT_BYTES, SCRIPTS_DIR
from runyard.api.task import Role, Script
from runyard.api.unit import UnitSpec

_PYTHON: Final = frozenset({"python", "python3"})
_EXPANDED: Final = re.compile(r"\$(?=[$(])")

OUTPUTS_HEADER: Final = "runyard-outputs/1"
ERROR_HEADER: Final = "runyard-outputs-error/1"
EXIT_OUTPUTS: Final = 65
"""Exit code of the wrapper when the command succeeded and its outputs are not as declared."""
MESSAGE_BYTES: Final = 4096
"""What the kubelet keeps of a container's termination message."""

# Needs sh, cat and wc of the user's image, and no more. The first word is the list of outputs, the
# others are the command. The shell stays, so it must pass on SIGTERM, which the kubelet sends to it
# alone: `wait` then returns early, and the loop waits for the command's own exit code (127: there
# is nothing left to wait for). Descriptor 3 saves the standard input, which a shell takes away from
# commands in the background.
_WRAPPER: Final = f"""\
names=$1; shift
child=; signalled=; code=127
trap 'signalled=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
exec 3<&0
"$@" <&3 3<&- &
child=$!
exec 3<&-
[ -z "$signalled" ] || kill -TERM "$child" 2>/dev/null
while :; do
  signalled=
  wait "$child"; now=$?
  [ "$now" -eq 127 ] || code=$now
  [ -n "$signalled" ] || break
done
[ "$code" -eq 0 ] || exit "$code"
[ "${{JOB_COMPLETION_INDEX:-0}}" = 0 ] || exit 0
log=${{RUNYARD_TERMINATION_LOG:-/dev/termination-log}}
refuse() {{
  echo "runyard: $1" >&2
  {{ echo {ERROR_HEADER}; echo "$1"; }} > "$log"
  exit {EXIT_OUTPUTS}
}}
total=0; framed={len(OUTPUTS_HEADER) + 1}
for name in $names; do
  file=$RUNYARD_OUTPUTS/$name
  [ -f "$file" ] && [ -r "$file" ] || refuse "output $name is missing: the task succeeded without \
writing the file $file"
  size=$(wc -c < "$file") || refuse "output $name cannot be read"
  size=$((size + 0))
  total=$((total + size))
  framed=$((framed + ${{#name}} + ${{#size}} + 3 + size))
  [ "$total" -le {MAX_OUTPUT_BYTES} ] || refuse "output $name is too large: all outputs together \
take $total bytes or more, and at most {MAX_OUTPUT_BYTES} are kept; write large results to a volume"
  [ "$framed" -le {MESSAGE_BYTES} ] || refuse "output $name does not fit: with their names the \
outputs take $framed bytes, and at most {MESSAGE_BYTES} are kept; declare fewer outputs"
done
{{
  echo {OUTPUTS_HEADER}
  for name in $names; do
    file=$RUNYARD_OUTPUTS/$name
    size=$(wc -c < "$file")
    echo "$name $((size + 0))"
    cat "$file"
    echo
  done
}} > "$log" || refuse "the outputs cannot be written to $log"
"""


def literal(text: str) -> str:
    """`text` so that Kubernetes leaves it as it is: it would expand `$(NAME)` and halve `$$`."""
    return _EXPANDED.sub("$$", text)


def script_name(spec: UnitSpec, unit: str, role: Role | None = None) -> str:
    """The file name of the inline script, in the scripts folder."""
    return f"{spec.task or unit}{f'-{role.name}' if role else ''}.sh"


def script_of(spec: UnitSpec, role: Role | None = None) -> Script:
    """The script of a unit that has one, or of a role of its group."""
    if role is not None:
        return role.script
    if spec.script is None:
        raise ValueError("the unit has no script")
    return spec.script


def plain_command(spec: UnitSpec, unit: str, role: Role | None = None) -> list[str]:
    """The command as it is run, before anything is escaped or wrapped.

    torchrun is not told about nodes and ranks: it reads PET_* variables, which the training
    runtime sets.
    """
    written = script_of(spec, role)
    if written.inline is not None:
        path = f"{SCRIPTS_DIR}/{script_name(spec, unit, role)}"
    else:
        path = written.path or ""
    script, entrypoint = [path, *written.args], written.program
    if spec.launcher is None or spec.launcher.torchrun is None:
        return [entrypoint, *script]
    restarts = spec.launcher.torchrun.max_restarts
    options = [] if restarts is None else ["--max-restarts", str(restarts)]
    if entrypoint in _PYTHON:
        return ["torchrun", *options, *script]
    return ["torchrun", *options, "--no-python", entrypoint, *script]


def with_outputs(spec: UnitSpec, plain: list[str]) -> list[str]:
    """The command, wrapped when the task declares outputs.

    After the command has succeeded, the wrapper writes the outputs' files to the termination
    message, where the kubelet makes them part of the pod's status.
    """
    if not spec.outputs:
        return plain
    names = " ".join(each.name for each in spec.outputs)
    return ["sh", "-c", _WRAPPER, "runyard", names, *plain]


def command(spec: UnitSpec, unit: str) -> list[str]:
    """The container's command, for a unit with a script."""
    return [literal(each) for each in with_outputs(spec, plain_command(spec, unit))]
