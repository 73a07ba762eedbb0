"""What Ray runs as the driver of a task: one shell line, and the files that it needs. Pure."""

from __future__ import annotations

import base64
import gzip
import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from typing import Final

from runyard_operator.backends.ray.protocol import DRIVER_MARK

FILES_VARIABLE: Final = "RUNYARD_RAY_FILES"
"""Files that travel with a job to a shared cluster: a gzipped tar in base64."""
DRIVER_FILE: Final = "runyard-driver.sh"
SAID_VARIABLE: Final = "RUNYARD_TERMINATION_LOG"

# Needs sh, base64, mkdir and tr of the user's image. The wrapper of outputs, which may be among the
# words, writes what it would tell the kubelet to a file: the driver is no container of its own. The
# last line tells the submitter how it ended; the empty line before it ends what the driver left
# open. Both are kept out of the task's log.
_DRIVER: Final = f"""\
job=$1; folder=$2; code=$3; shift 3
mkdir -p "$folder/outputs" && cd "$code" || exit 66
export {SAID_VARIABLE}="$folder/said"
"$@"
status=$?
said=-
[ ! -s "${SAID_VARIABLE}" ] || said=$(base64 < "${SAID_VARIABLE}" | tr -d '\\n')
printf '\\n%s %s %s %s\\n' '{DRIVER_MARK}' "$job" "$status" "$said"
exit "$status"
"""


def driver(job: str, *, folder: str, code: str, command: Sequence[str]) -> str:
    """The script that runs the task's command in `code`, and tells how it ended.

    The words are in the script, and not in the line that Ray gets: Ray writes that line into logs.
    """
    return f"set -- {shlex.join([job, folder, code, *command])}\n{_DRIVER}"


def line(scripts: str) -> str:
    """What Ray runs, where the script of `driver` is in a folder."""
    return shlex.join(["sh", f"{scripts}/{DRIVER_FILE}"])


def line_with_files(folder: str) -> str:
    """What Ray runs, where the job brings its files along in FILES_VARIABLE."""
    where = shlex.quote(folder)
    unpack = f'printf %s "${FILES_VARIABLE}" | base64 -d | tar -xz -f - -C {where}'
    return f"mkdir -p {where} && {unpack} && {line(folder)}"


def packed(files: Mapping[str, str]) -> str:
    """The value of FILES_VARIABLE; the same files always give the same text."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return base64.b64encode(gzip.compress(raw.getvalue(), mtime=0)).decode()
