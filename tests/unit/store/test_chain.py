"""The event log: append-only, and whoever changes it anyway is found out."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interop.audit import audit
from interop.store import Batch, Event, Reader, Store
from interop.store.reader import MAIN_FILE

NOW = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A closed store with ten events."""
    store = await Store.open(tmp_path)
    await store.commit(Batch(events=tuple(Event("a", NOW, {"n": n}) for n in range(5))))
    await store.commit(Batch(events=tuple(Event("b", NOW, {"n": n}) for n in range(5, 10))))
    await store.close()
    return tmp_path


def tamper(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / MAIN_FILE)
    for statement in ("DROP TRIGGER events_keep", "DROP TRIGGER events_fix", *statements):
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_untouched_chain_is_intact(folder: Path) -> None:
    reader = Reader(folder)
    report = reader.verify_chain()
    assert report.intact
    assert report.events == 10
    assert report.head == reader.events(after=9)[0].hash
    reader.close()


@pytest.mark.parametrize(
    ("statement", "where", "reason"),
    [
        ("UPDATE events SET data = '{\"n\":99}' WHERE seq = 4", 4, "altered"),
        ("UPDATE events SET kind = 'c' WHERE seq = 7", 7, "altered"),
        ("UPDATE events SET at = '2026-01-01T00:00:00.000000+00:00' WHERE seq = 1", 1, "altered"),
        ("DELETE FROM events WHERE seq = 6", 6, "missing"),
        ("UPDATE events SET prev_hash = hash WHERE seq = 3", 3, "follow"),
    ],
)
def test_tampering_is_found_where_it_happened(folder: Path, statement: str, where: int, reason: str) -> None:
    tamper(folder, statement)
    reader = Reader(folder)
    report = reader.verify_chain()
    reader.close()
    assert report.broken_at == where
    assert reason in report.reason


def test_a_tail_that_was_cut_off_is_found_by_a_head_noted_earlier(folder: Path) -> None:
    reader = Reader(folder)
    head = reader.verify_chain().head
    assert audit(reader, head).problems == []
    reader.close()
    tamper(folder, "DELETE FROM events WHERE seq > 8")
    reader = Reader(folder)
    assert reader.verify_chain().intact
    assert "cut off" in audit(reader, head).problems[0]
    reader.close()


@pytest.mark.parametrize("statement", ["DELETE FROM events", "UPDATE events SET kind = 'x'"])
def test_the_database_itself_refuses_changes(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / MAIN_FILE)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
