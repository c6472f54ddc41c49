"""Extensions found through entry points: adapters, desks, commands and web pages that this package does not import."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["ADAPTERS", "COMMANDS", "DESKS", "PAGES", "find", "load"]

ADAPTERS = "gridparley.adapters"
DESKS = "gridparley.desks"
COMMANDS = "gridparley.commands"
PAGES = "gridparley.pages"


def find(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def load(group: str, name: str) -> Any:
    """The object behind an entry point.

    Raises:
        LookupError: there is none of that name; the text lists those there are.
    """
    known = find(group)
    if name not in known:
        available = ", ".join(sorted(known)) or "none"
        raise LookupError(f"no {group.rpartition('.')[2][:-1]} is called {name!r}; installed: {available}")
    return known[name].load()
