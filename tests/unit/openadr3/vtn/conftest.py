from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.openadr3_server import Running, vtn


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with vtn(tmp_path) as started:
        yield started
