"""The inner loops as machine code where numba is installed, with the same results.

A kernel is written for numpy, and compiled as it stands unless a `loop` of its name is quicker then.

Compiling takes seconds, so it happens only in `warm_up`, which a server runs in the background when it starts; until it
is done, and without numba (the [fast] extra), numpy runs the functions as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from importlib.util import find_spec
from threading import Lock
from typing import Any, TypeVar

__all__ = ["available", "compiled", "kernel", "kernels", "loop", "warm_up"]

F = TypeVar("F", bound=Callable[..., Any])
_FUNCTIONS: dict[str, Callable[..., Any]] = {}
_LOOPS: dict[str, Callable[..., Any]] = {}
_COMPILED: dict[str, Callable[..., Any]] = {}
_TRIAL: ContextVar[dict[str, Callable[..., Any]]] = ContextVar("trial", default={})  # noqa: B039 - never changed
_LOCK = Lock()


def kernel(function: F) -> F:
    """Register a function that numba can compile; called by name through `kernels()`."""
    _FUNCTIONS[function.__name__] = function
    return function


def loop(function: F) -> F:
    """Register what is to be compiled instead of the kernel of the same name."""
    _LOOPS[function.__name__] = function
    return function


def kernels() -> dict[str, Callable[..., Any]]:
    """All kernels: compiled where `warm_up` has finished, else as numpy runs them."""
    return _TRIAL.get() or _COMPILED or _FUNCTIONS


def compiled() -> bool:
    """Whether `kernels()` are machine code by now."""
    return bool(_COMPILED)


def available() -> bool:
    """Whether numba is installed."""
    return find_spec("numba") is not None


def warm_up(rehearse: Callable[[], object]) -> bool:
    """Compile every kernel by running `rehearse` with them; False where there is no numba. Safe to call twice."""
    if not available():
        return False
    from numba import njit

    with _LOCK:
        if _COMPILED:
            return True
        ready: dict[str, Callable[..., Any]] = {}
        for name, function in (_FUNCTIONS | _LOOPS).items():
            ready[name] = njit(cache=True, nogil=True, error_model="numpy")(function)
        _TRIAL.set(ready)
        try:
            rehearse()
        finally:
            _TRIAL.set({})
        _COMPILED.update(ready)
    return True
