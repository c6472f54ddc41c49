"""Waiting for events: in time, too late, and a cancellation that comes together with the event."""

from __future__ import annotations

import asyncio

import pytest

from adapters.waiting import happens


async def test_whether_it_came_in_time() -> None:
    event = asyncio.Event()
    assert not await happens(event, 0.01)
    event.set()
    assert await happens(event, 0.01)
    assert await happens(event, None)


async def test_a_cancellation_together_with_the_event_is_not_lost() -> None:
    event = asyncio.Event()

    async def forever() -> None:
        while True:
            event.clear()
            await happens(event, 60.0)

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    for _ in range(3):
        event.set()
        await asyncio.sleep(0)
    event.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1.0):
            await task
    assert task.cancelled()
