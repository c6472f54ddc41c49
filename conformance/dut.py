"""The device under test: where it is, what it claims, what a tester must know, and the failures known of it.

A TOML file describes one::

    name = "acme vtn"
    version = "1.4"
    [claims]                      # the PICS: what it says it can do
    HOSTILE_XML = false
    [settings]                    # the IXIT: what the suite needs to talk to it; never part of a report
    ven_name = "tester"
    [[expect]]                    # a known failure: the run stays green while exactly these checks fail
    case = "OADR2-EVT-001"
    checks = ["OADR2-EVT-001.1"]
    why = "answers with oadrResponse"
    until = 2027-03-31
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from conformance.case import Claim, Suite

__all__ = ["Dut", "DutError", "Expectation", "read_dut"]


class DutError(ValueError):
    """The description cannot be used; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """These checks of a case are known to be bad, until a day (None: no end)."""

    case: str
    checks: frozenset[str]
    why: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Dut:
    url: str
    name: str = "unnamed"
    version: str = ""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    expected: tuple[Expectation, ...] = ()

    def expectation(self, case: str, today: date) -> Expectation | None:
        """What is expected to fail of a case; an expectation past its day is void."""
        found = next((e for e in self.expected if e.case == case), None)
        return found if found is not None and (found.until is None or today <= found.until) else None


def read_dut(url: str, path: Path | None, suite: Suite) -> Dut:
    """The device at `url`, described in a file or by the suite's own assumptions.

    Raises:
        DutError: the file cannot be read, has an unknown key, or expects something of an unknown case.
    """
    if path is None:
        return Dut(url)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DutError(f"{path}: {error}") from error
    unknown = set(data) - {"name", "version", "claims", "settings", "expect"}
    if unknown:
        raise DutError(
            f"{path}: unknown key {', '.join(sorted(unknown))}; known: name, version, claims, settings, expect"
        )
    return Dut(
        url,
        str(data.get("name", "unnamed")),
        str(data.get("version", "")),
        dict(data.get("claims", {})),
        {key: str(value) for key, value in data.get("settings", {}).items()},
        tuple(_expectation(path, entry, suite) for entry in data.get("expect", [])),
    )


def _expectation(path: Path, entry: Mapping[str, Any], suite: Suite) -> Expectation:
    case, checks, until = entry.get("case"), entry.get("checks"), entry.get("until")
    if case not in suite.cases:
        raise DutError(f"{path}: expect: suite {suite.id} has no case {case!r}")
    if (
        not isinstance(checks, list)
        or not checks
        or not entry.get("why")
        or set(entry) - {"case", "checks", "why", "until"}
    ):
        raise DutError(f'{path}: expect: {case} needs checks = [...] and why = "..."; until = a date is optional')
    if until is not None and type(until) is not date:
        raise DutError(f"{path}: expect: until of {case} is not a date such as 2027-03-31")
    return Expectation(case, frozenset(map(str, checks)), str(entry["why"]), until)
