"""When to look again, in seconds. Events come first; these are for what no event tells."""

from __future__ import annotations

from typing import Final

RECHECK: Final = 60.0
"""A healthy object that nobody reported on: watches can die silently."""
RETRY: Final = 5.0
"""An object whose state is not known, or that is on its way out."""
QUEUED: Final = 15.0
"""A job that a queue manager holds: why it does changes without news."""
STALLED: Final = 30.0
"""An object that waits for a human."""
COALESCE: Final = 0.5
"""How long a submit that worked may wait for the news that shares its write."""
AT_ONCE: Final = 0.0
"""Something is due now."""
