"""Gives the tests of this folder the small world of `tests/support/hub.py`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

_SUPPORT = Path(__file__).parents[2] / "support" / "hub.py"


def _support() -> Any:
    """The module, loaded once per process."""
    if "gridparley_test_hub" not in sys.modules:
        spec = importlib.util.spec_from_file_location("gridparley_test_hub", _SUPPORT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["gridparley_test_hub"] = module
        spec.loader.exec_module(module)
    return sys.modules["gridparley_test_hub"]


@pytest.fixture(scope="session")
def kit() -> Any:
    """The support module itself."""
    return _support()


@pytest.fixture
async def begin(kit: Any, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Start (or start again) a world on this test's folder; all are ended with the test."""
    worlds: list[Any] = []

    async def start(*, run: bool = True, **more: Any) -> Any:
        world = await kit.World.begin(tmp_path / "data", **more)
        worlds.append(world)
        if run:
            world.hub.start()
        return world

    yield start
    for world in worlds:
        await world.end()
