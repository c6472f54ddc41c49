"""A programme model in memory behind `adapters.ports.Ports`, for tests of adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from adapters.ports import Programmes
from interop.feed import Feed
from interop.programmes import Registry
from interop.state import AdapterState
from interop.store import Store

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@asynccontextmanager
async def programmes(
    folder: Path, adapter: str = "openadr3", now: Callable[[], datetime] = lambda: NOW
) -> AsyncIterator[tuple[Programmes, AdapterState]]:
    """The programme model of a store in `folder`, and the adapter's own state beside it."""
    store = await Store.open(folder)
    try:
        registry = Registry(store, Feed(), now)
        await registry.load()
        state = await AdapterState.open(store, adapter)
        yield registry.for_adapter(state), state
    finally:
        await store.close()
