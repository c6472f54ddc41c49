"""The event loop of the server: uvloop where it is installed (extra `fast`), else the standard library's."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["fast", "run"]

T = TypeVar("T")


def fast() -> bool:
    """Whether uvloop can be imported."""
    return importlib.util.find_spec("uvloop") is not None


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on the best loop there is."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if fast():
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
