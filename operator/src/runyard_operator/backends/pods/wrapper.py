"""The shell around a task's command that tells its results when it has succeeded.

It needs sh, cat and wc of the user's image; for artifacts mkdir, find, sort and sed as well, and
sha256sum for their digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from runyard.api.constants import JOB_DIR, MAX_OUTPUT_BYTES
from runyard.api.packages import Artifact
from runyard_operator.backends.pods.shell import WAIT, start
from runyard_operator.engine import results

ERROR_HEADER: Final = "runyard-outputs-error/1"
UNFINISHED_HEADER: Final = "runyard-unfinished/1"
EXIT_OUTPUTS: Final = 65
"""Exit code of the wrapper when the command succeeded and its results are not as declared."""
ARTIFACTS_DIR: Final = f"{JOB_DIR}/artifacts"

# The first words are the names of the outputs, the file that says that a program of ft_launcher is
# done, and the artifacts, one a line: name, how it is known, and where. The others are the command.
_RUN: Final = f"""\
names=$1; flag=$2; artifacts=$3; shift 3
child=; signalled=; code=127
trap 'signalled=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP
[ -z "$artifacts" ] || mkdir -p "$RUNYARD_ARTIFACTS"
{start()}\
{WAIT}\
[ "$code" -eq 0 ] || exit "$code"
trap 'exit 143' TERM INT HUP
[ "${{JOB_COMPLETION_INDEX:-0}}" = 0 ] || exit 0
log=${{RUNYARD_TERMINATION_LOG:-/dev/termination-log}}
"""

_REFUSE: Final = f"""\
refuse() {{
  echo "runyard: $1" >&2
  {{ echo "${{2:-{ERROR_HEADER}}}"; echo "$1"; }} > "$log"
  exit {EXIT_OUTPUTS}
}}
[ -z "$flag" ] || [ -e "$flag" ] || refuse "the program ended with 0 and is not done: it has not \
made the file $flag (launcher.ft.finishedFlagFile)" {UNFINISHED_HEADER}
"""

# Lines of a here-document, not of a pipe: `refuse` must end this shell. `wc` tells the size of a
# regular file without reading it; "total" alone is what it adds under several.
_ARTIFACTS: Final = """\
told=
summed() {
  sum=-
  if command -v sha256sum >/dev/null 2>&1; then
    sum=$(sha256sum) || refuse "artifact $1 cannot be read"
    sum=sha256:${sum%% *}
  else
    cat > /dev/null
    echo "runyard: no sha256sum in this image: artifact $1 has no digest" >&2
  fi
}
listed() {
  find . -type f -exec sha256sum {} + | sed 's|  \\./|  |' | LC_ALL=C sort
}
sized() {
  find . -type f -exec wc -c {} + | {
    all=0
    while read -r one file; do
      case $one in ''|*[!0-9]*) continue;; esac
      [ "$file" = total ] || all=$((all + one))
    done
    echo "$all"
  }
}
while IFS= read -r line; do
  [ -n "$line" ] || continue
  name=${line%% *}; place=${line#* }; kind=${place%% *}; place=${place#* }
  size=-; sum=-
  if [ "$kind" = uri ]; then
    file=$RUNYARD_ARTIFACTS/$name
    if [ -e "$file" ]; then
      read -r size sum rest < "$file" || [ -n "$size" ] || refuse "artifact $name: $file is empty"
      case $size in ''|*[!0-9]*|????????????????????*) size=;; esac
      digits=${sum#sha256:}
      case $digits in "$sum"|*[!0-9a-f]*) digits=;; esac
      [ -n "$size" ] && [ "${#digits}" -eq 64 ] && [ -z "$rest" ] || refuse "artifact $name: \
$file must hold its size in bytes and its digest, for example: 1024 sha256:<64 hexadecimal digits>"
    fi
  elif [ -d "$place" ]; then
    here=$PWD
    cd "$place" || refuse "artifact $name cannot be read: $place"
    size=$(sized)
    if command -v sha256sum >/dev/null 2>&1; then
      sum=$(listed | sha256sum); sum=sha256:${sum%% *}
    else
      echo "runyard: no sha256sum in this image: artifact $name has no digest" >&2
    fi
    cd "$here" || :
  elif [ -f "$place" ] && [ -r "$place" ]; then
    size=$(wc -c < "$place") || refuse "artifact $name cannot be read: $place"
    size=$((size + 0))
    summed "$name" < "$place"
  else
    refuse "artifact $name is missing: the task succeeded without writing $place"
  fi
  told="$told@$name $size $sum
"
done <<EOF
$artifacts
EOF
"""

_OUTPUTS: Final = f"""\
total=0; framed=$(({len(results.HEADER) + 1} + ${{#told}}))
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
  [ "$framed" -le {results.MESSAGE_BYTES} ] || refuse "output $name does not fit: with their names \
and the artifacts the outputs take $framed bytes, and at most {results.MESSAGE_BYTES} are kept; \
declare fewer outputs"
done
{{
  echo {results.HEADER}
  printf %s "$told"
  for name in $names; do
    file=$RUNYARD_OUTPUTS/$name
    size=$(wc -c < "$file")
    echo "$name $((size + 0))"
    cat "$file"
    echo
  done
}} > "$log" || refuse "the results cannot be written to $log"
"""


def wrapped(
    words: Sequence[str],
    outputs: Sequence[str] = (),
    artifacts: Sequence[Artifact] = (),
    flag: str | None = None,
) -> list[str]:
    """The command with the wrapper around it, if there is anything to tell or to check."""
    if not (outputs or artifacts or flag):
        return list(words)
    parts = [_RUN, _REFUSE]
    if artifacts:
        parts.append(_ARTIFACTS)
    if outputs or artifacts:
        parts.append(_OUTPUTS if artifacts else f"told=\n{_OUTPUTS}")
    lines = "\n".join(
        f"{each.name} path {each.path}" if each.path else f"{each.name} uri -" for each in artifacts
    )
    names = " ".join(outputs)
    return ["sh", "-c", "".join(parts), "runyard", names, flag or "", lines, *words]
