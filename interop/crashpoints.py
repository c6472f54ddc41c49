"""Named places at which a test may have the process killed, to prove that nothing acknowledged is lost.

`GRIDPARLEY_CRASH_AT=name` kills the process with SIGKILL the first time it reaches the point; `name:3` the third time.
Without the variable, reaching a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

__all__ = ["POINTS", "reach"]

POINTS = frozenset(
    {
        "before_effects_commit",
        "after_effects_commit",
        "before_delivery",
        "after_delivery_before_mark",
        "before_dispatch",
        "after_dispatch_before_mark",
    }
)


def _armed(setting: str) -> tuple[str, int]:
    """Parse `name` or `name:N`; ValueError for a point that does not exist, so that no test passes by a typo."""
    name, _, count = setting.partition(":")
    if name and name not in POINTS:
        raise ValueError(f"GRIDPARLEY_CRASH_AT names {name!r}; the points are {', '.join(sorted(POINTS))}")
    return name, int(count or 1)


_point, _remaining = _armed(os.environ.get("GRIDPARLEY_CRASH_AT", ""))


def reach(name: str) -> None:
    """Die here if this is the armed point and its turn has come."""
    global _remaining  # noqa: PLW0603 - one process dies once
    if name != _point:
        return
    _remaining -= 1
    if _remaining == 0:
        os.kill(os.getpid(), signal.SIGKILL)
