"""Numbered SQL migrations, run at start; a checksum of each is kept, so that an altered or newer schema is noticed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from interop.store.base import SchemaMismatch

__all__ = ["Migration", "apply_migrations", "migrations"]


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(family: str) -> list[Migration]:
    """The migrations of one database file ("main" or "telemetry"), in order."""
    folder = resources.files("interop.store") / "sql" / family
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(int(f.name[:4]), f.name, f.read_text(encoding="utf-8")) for f in found]


def apply_migrations(connection: sqlite3.Connection, known: list[Migration]) -> int:
    """Bring a database up to date, each migration in its own transaction; returns how many were run.

    Raises:
        SchemaMismatch: the database has a migration this version does not know, or knows differently.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number INTEGER PRIMARY KEY, name TEXT, checksum TEXT)"
    )
    done = dict(connection.execute("SELECT number, checksum FROM schema_migrations").fetchall())
    newest = known[-1].number if known else 0
    for number in sorted(done):
        if number > newest:
            raise SchemaMismatch(
                f"the data has schema version {number}, this version knows up to {newest}: "
                "install the newer gridparley, or restore a backup made by this one"
            )
    run = 0
    for migration in known:
        if migration.number in done:
            if done[migration.number] != migration.checksum:
                raise SchemaMismatch(f"migration {migration.name} was altered after it had been applied")
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?)",
                (migration.number, migration.name, migration.checksum),
            )
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        run += 1
    return run


def _statements(sql: str) -> Iterator[str]:
    """Single statements (`executescript` would commit the transaction that should hold them all)."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
