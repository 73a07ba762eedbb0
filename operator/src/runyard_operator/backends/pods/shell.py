"""Lines of shell that every wrapper around a command has: it starts it, and waits for its end.

They need sh of the user's image. The shell stays, so it must pass on SIGTERM, which the kubelet
sends to it alone: `wait` then returns early, and the loop waits for the command's own exit code
(127: there is nothing left to wait for). Descriptor 3 saves the standard input, which a shell takes
away from commands in the background. A trap sets `signalled`, and ends `child` where there is one.
"""

from __future__ import annotations

from typing import Final


def start(closed: str = "") -> str:
    """Starts the command "$@" as `child`; `closed` are redirections that it alone gets."""
    beside = f" {closed}" if closed else ""
    return f"""\
exec 3<&0
"$@" <&3 3<&-{beside} &
child=$!
exec 3<&-
[ -z "$signalled" ] || kill -TERM "$child" 2>/dev/null
"""


WAIT: Final = """\
while :; do
  signalled=
  wait "$child"; now=$?
  [ "$now" -eq 127 ] || code=$now
  [ -n "$signalled" ] || break
done
"""
