"""The crash campaign in small; `make crash-campaign` runs it with 500 kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from crash.campaign import Campaign


@pytest.mark.slow
async def test_u13_kills_at_random_moments_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    report = await Campaign(tmp_path, kills=5, seed=1).run()
    assert report["wrong"] == []
    assert report["acknowledged"] > 20
    assert report["orders"] > 5
