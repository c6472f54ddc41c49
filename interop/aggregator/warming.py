"""Machine code for the planner, made beside the server: nothing waits for it, and numpy plans until it is there."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE

from optimiser import interior, planning

__all__ = ["warm_up"]

log = logging.getLogger(__name__)


async def warm_up(homes: int) -> bool:
    """Compile the optimiser's kernels where plans of so many homes gain by it; whether they are ready.

    A process of its own compiles, onto disk: in this one it would hold everything up. What it made is then loaded in a
    thread, which takes about a second.
    """
    if not interior.available() or not planning.gains_by_machine_code(homes):
        return False
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "optimiser", "warm-up", stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
    )
    try:
        _, said = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        log.warning("plans go without machine code: %s", said.decode(errors="replace").strip().rpartition("\n")[2])
        return False
    ready = await asyncio.to_thread(interior.warm_up)
    log.info("plans are computed by machine code from now on")
    return ready
