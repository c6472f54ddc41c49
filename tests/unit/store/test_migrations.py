"""Migrations: run once each, in order, whole; newer or altered ones are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.store import SchemaMismatch, Store
from interop.store.migrate import Migration, apply_migrations, migrations
from interop.store.reader import MAIN_FILE

FIRST = Migration(1, "0001_a.sql", "CREATE TABLE a (x);\nINSERT INTO a VALUES (1);\n")
SECOND = Migration(2, "0002_b.sql", "CREATE TABLE b (x);\nINSERT INTO nowhere VALUES (1);\n")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize("family", ["main", "telemetry"])
def test_ours_are_numbered_from_one_and_run_once(connection: sqlite3.Connection, family: str) -> None:
    ours = migrations(family)
    assert [m.number for m in ours] == list(range(1, len(ours) + 1))
    assert apply_migrations(connection, ours) == len(ours)
    assert apply_migrations(connection, ours) == 0


def test_a_migration_happens_whole_or_not_at_all(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        apply_migrations(connection, [FIRST, SECOND])
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "a" in tables
    assert "b" not in tables
    mended = Migration(2, "0002_b.sql", "CREATE TABLE b (x);\n")
    assert apply_migrations(connection, [FIRST, mended]) == 1


def test_an_altered_migration_is_refused(connection: sqlite3.Connection) -> None:
    apply_migrations(connection, [FIRST])
    with pytest.raises(SchemaMismatch, match="altered"):
        apply_migrations(connection, [Migration(1, "0001_a.sql", FIRST.sql + "-- now different\n")])


async def test_data_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await Store.open(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / MAIN_FILE)
    connection.execute("INSERT INTO schema_migrations VALUES (999, '0999_future.sql', 'x')")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaMismatch, match=r"schema version 999.*newer gridparley"):
        await Store.open(tmp_path)
    with pytest.raises(SchemaMismatch):  # and the directory is not left locked
        await Store.open(tmp_path)
