"""Fixtures that several kinds of tests share; what they hand out lives in `tests/support`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import cdp, hub, openadr2, uftp, web_sample


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    """A small world around the hub."""
    return hub


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Start (or start again) a world of `support.hub` on this test's folder; all are ended with the test."""
    worlds: list[Any] = []

    async def start(*, run: bool = True, **more: Any) -> Any:
        world = await hub.World.begin(tmp_path / "data", **more)
        worlds.append(world)
        if run:
            world.hub.start()
        return world

    yield start
    for world in worlds:
        await world.end()


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """Parties, keys and vectors of UFTP."""
    return uftp


@pytest.fixture(scope="session")
def around() -> ModuleType:
    """What an OpenADR 2.0b adapter needs around it."""
    return openadr2


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """Sample data for the dashboard."""
    return web_sample


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[cdp.Page]:
    """A tab of a headless Chromium."""
    program = cdp.find_chromium()
    if program is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(cdp.NAMES)})")
    async with cdp.browse(program, tmp_path / "profile") as page:
        yield page
