"""MATURITY.yaml files: what is done, partial and absent, and the tests that prove it.

They are written in a small, regular part of YAML, and read by a reader that knows no more than that: comments,
`key: text`, `features:` with `- name:` entries, and `notes:` or `deviations:` with `- text` lines, of a feature or of
the whole. Anything else is an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["STATUSES", "Feature", "MaturityError", "Sheet", "missing_proofs", "read_sheet", "sheets"]

STATUSES = ("done", "partial", "absent")
_PACKAGES = ("datamodels", "adapters", "optimiser", "interop", "conformance")
_LINE = re.compile(r"(?P<indent> *)(?P<dash>- )?(?:(?P<key>[a-z_]+):(?: (?P<value>.*))?|(?P<text>.+))")
_SPECIAL = ("[", "{", "&", "*", "|", ">", "!", "%", "@", "`", "'", '"', "? ", "- ")


class MaturityError(ValueError):
    """The file is not of the form above; the text names file and line."""


@dataclass(slots=True)
class Feature:
    """`proof` names tests, files or folders, with commas between them."""

    name: str
    status: str = ""
    proof: str = ""
    notes: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)

    @property
    def proofs(self) -> list[str]:
        return [path.strip() for path in self.proof.split(",") if path.strip()]


@dataclass(slots=True)
class Sheet:
    """One file. `about` holds its other keys, such as the standard."""

    path: Path
    features: list[Feature] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)


def sheets(root: Path) -> list[Sheet]:
    """All sheets below the repository's packages, by path."""
    paths = (path for package in _PACKAGES for path in (root / package).rglob("MATURITY.yaml"))
    return [read_sheet(path) for path in sorted(paths)]


def read_sheet(path: Path) -> Sheet:
    """Read one file.

    Raises:
        MaturityError: see there.
    """
    sheet = Sheet(path)
    entries: list[str] | None = None
    in_features, depth = False, 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match is not None
        indent, dash = len(match["indent"]), bool(match["dash"])
        value = (match["value"] or match["text"] or "").strip()
        # In a list of texts a colon may stand early in a line ("note: …"): there the whole line is the text.
        listed = dash and entries is not None and indent == depth
        if listed:
            value = line.strip().removeprefix("- ").strip()
        if value.startswith(_SPECIAL) or " #" in value or ": " in value:
            raise MaturityError(f"{path}:{number}: plain text is needed, not {value!r}")
        match (indent, dash, match["key"]):
            case (0, False, "features") if not value:
                in_features, entries = True, None
            case (0, False, "notes" | "deviations" as key) if not value:
                in_features, entries, depth = False, getattr(sheet, key), 2
            case (0, False, str(key)) if value:
                sheet.about[key] = value
            case (2, True, "name") if value and in_features:
                sheet.features.append(Feature(value))
                entries = None
            case (4, False, "status" | "proof" as key) if value and sheet.features:
                setattr(sheet.features[-1], key, value)
                entries = None
            case (4, False, "deviation") if value and sheet.features:
                sheet.features[-1].deviations.append(value)
                entries = None
            case (4, False, "notes" | "deviations" as key) if not value and sheet.features:
                entries, depth = getattr(sheet.features[-1], key), 6
            case (column, True, _) if entries is not None and column == depth and value:
                entries.append(value)
            case _:
                raise MaturityError(f"{path}:{number}: {line.strip()!r} is not expected here")
    _check(sheet)
    return sheet


def _check(sheet: Sheet) -> None:
    for feature in sheet.features:
        if feature.status not in STATUSES:
            known = ", ".join(STATUSES)
            raise MaturityError(f"{sheet.path}: {feature.name}: status {feature.status!r} is none of {known}")
        if feature.status == "done" and not feature.proofs:
            raise MaturityError(f"{sheet.path}: {feature.name} is done, but no test proves it")


def missing_proofs(found: Iterable[Sheet], root: Path) -> list[str]:
    """Named tests that are not there."""
    return [
        f"{sheet.path.relative_to(root)}: {feature.name}: {proof}"
        for sheet in found
        for feature in sheet.features
        for proof in feature.proofs
        if not (root / proof.partition("::")[0]).exists()
    ]
