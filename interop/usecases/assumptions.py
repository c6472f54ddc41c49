"""What is assumed, with unit and reason: the file shipped beside this one, single values replaced by another file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["Assumption", "AssumptionError", "Assumptions"]

_SHIPPED = Path(__file__).with_name("assumptions.toml")


class AssumptionError(ValueError):
    """A file of assumptions cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """Anything from `least` to `most` may be put in its place."""

    value: float
    unit: str
    why: str
    least: float = 0.0
    most: float = 1e9


@dataclass(frozen=True, slots=True)
class Assumptions:
    """By use case and name; `common` holds for all."""

    sections: Mapping[str, Mapping[str, Assumption]]

    @classmethod
    def read(cls, path: Path | None = None) -> Assumptions:
        """The shipped assumptions, with the values of `path` in place of theirs.

        Raises:
            AssumptionError: the file cannot be read, names what is not assumed anywhere, or holds no number that is
                allowed there.
        """
        shipped = tomllib.loads(_SHIPPED.read_text(encoding="utf-8"))
        sections = {
            name: {key: Assumption(**entry) for key, entry in values.items()} for name, values in shipped.items()
        }
        if path is None:
            return cls(sections)
        try:
            own: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AssumptionError(f"{path}: {error}") from error
        for name, values in own.items():
            for key, given in values.items() if isinstance(values, dict) else [("", values)]:
                where = f"{path}: {name}.{key}" if key else f"{path}: {name}"
                entry = given if isinstance(given, dict) else {"value": given}
                value = entry.get("value")
                if key not in sections.get(name, {}):
                    raise AssumptionError(f"{where} is assumed nowhere; see interop/usecases/assumptions.toml")
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise AssumptionError(f"{where} is {value!r}, not a number")
                known = sections[name][key]
                if not known.least <= value <= known.most:
                    raise AssumptionError(f"{where} is {value}, which is not within {known.least:g} to {known.most:g}")
                why = str(entry.get("why", f"given in {path.name}"))
                sections[name][key] = replace(known, value=float(value), why=why)
        return cls(sections)

    def of(self, use_case: str) -> dict[str, Assumption]:
        """What holds for a use case, the common ones first."""
        return {**self.sections["common"], **self.sections[use_case]}
