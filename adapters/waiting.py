"""Waiting for an event, and not for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["happens"]


async def happens(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether an event is set within so many seconds (None: however long it takes).

    Until Python 3.12 `asyncio.wait_for` may lose a cancellation that comes together with the event: a task that goes
    round in a loop would then never end.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
            return True
    return False
