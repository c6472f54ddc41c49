"""The planner's machine code is made by another process, and nothing depends on it."""

from __future__ import annotations

import logging
import shutil
import sys

import pytest

from interop.aggregator.warming import warm_up
from optimiser import interior, planning


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(planning, "_DISTRIBUTED", 10)
    monkeypatch.setattr(interior, "available", lambda: True)
    return 10


def _compiler(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which(name))


async def test_few_homes_start_no_compiler(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert not await warm_up(many - 1)


async def test_what_was_compiled_is_loaded(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    _compiler(monkeypatch, "true")
    loaded: list[bool] = []
    monkeypatch.setattr(interior, "warm_up", lambda: loaded.append(True) or True)
    assert await warm_up(many)
    assert loaded


async def test_a_failed_compiler_is_told(
    monkeypatch: pytest.MonkeyPatch, many: int, caplog: pytest.LogCaptureFixture
) -> None:
    _compiler(monkeypatch, "false")
    with caplog.at_level(logging.WARNING):
        assert not await warm_up(many)
    assert "without machine code" in caplog.text
