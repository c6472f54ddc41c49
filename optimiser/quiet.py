"""Branch and bound that keeps stdout for those who write to it on purpose.

HiGHS prints a line now and then that no option of it silences (ERGO-Code/HiGHS#2783).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from scipy import optimize

__all__ = ["milp"]

_STDOUT, _STDERR = 1, 2
_LOCK = Lock()
_kept: list[int] = []
_inside: list[None] = []


def milp(*arguments: Any, **options: Any) -> Any:
    """`scipy.optimize.milp`. What any thread writes to the file of stdout meanwhile goes to that of stderr."""
    with _aside():
        return optimize.milp(*arguments, **options)


@contextmanager
def _aside() -> Iterator[None]:
    with _LOCK:
        if not _inside:
            _turn()
        _inside.append(None)
    try:
        yield
    finally:
        with _LOCK:
            _inside.pop()
            if not _inside and _kept:
                _flush()
                os.dup2(_kept[0], _STDOUT)
                os.close(_kept.pop())


def _turn() -> None:
    _flush()
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # there is no stdout to keep clean
        return
    _kept.append(kept)
    os.dup2(_STDERR, _STDOUT)


def _flush() -> None:
    """C's own buffer: what is left in it would come out later, and where it should not."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
