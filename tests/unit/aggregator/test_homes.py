"""Homes that a desk is to plan for must be there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import agr


@pytest.mark.parametrize("kind", ["METER", "BATTERY"])
def test_homes_without_their_resources_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    known = agr.resources()
    lost = next(id for id, resource in known.items() if resource.kind == kind)
    monkeypatch.setattr(agr, "resources", lambda: {id: r for id, r in known.items() if id != lost})
    with pytest.raises(ValueError, match=rf"homes_file names what no .* has as its id: {lost}$"):
        agr.Agr(tmp_path, datetime(2026, 5, 19, 8, tzinfo=UTC))
