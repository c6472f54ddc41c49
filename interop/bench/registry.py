"""The benches there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from interop.bench.report import Report, Scale

__all__ = ["BENCHES", "MODULES", "Bench", "bench", "load_all"]

MODULES = (
    "interop.bench.uftp",
    "interop.bench.openadr2",
    "interop.bench.openadr3",
    "interop.bench.openadr3_push",
    "interop.bench.openadr2_signed",
    "interop.bench.optimiser",
    "interop.bench.store",
)
"""A later bench adds its module here; the decorator does the rest."""

Run = Callable[[Scale], Coroutine[Any, Any, Report]]


@dataclass(frozen=True, slots=True)
class Bench:
    name: str
    summary: str
    run: Run


BENCHES: dict[str, Bench] = {}


def bench(name: str) -> Callable[[Run], Run]:
    """Register an async function; the first line of its docstring is its summary."""

    def register(run: Run) -> Run:
        assert name not in BENCHES, name
        BENCHES[name] = Bench(name, (run.__doc__ or "").strip().partition("\n")[0], run)
        return run

    return register


def load_all() -> dict[str, Bench]:
    """Import every bench; they are returned in the order of `MODULES`."""
    for module in MODULES:
        importlib.import_module(module)
    return BENCHES
