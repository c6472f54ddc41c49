"""The hash chain over the event log: each event's hash covers its content and the hash before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from interop.store.base import ChainReport

__all__ = ["GENESIS", "link", "verify"]

GENESIS = "0" * 64


def link(prev_hash: str, seq: int, at: str, kind: str, data: str) -> str:
    """SHA-256 over the previous hash and the four columns, framed as a JSON array so that no two rows look alike."""
    framed = json.dumps([prev_hash, seq, at, kind, data], separators=(",", ":"))
    return hashlib.sha256(framed.encode()).hexdigest()


def verify(rows: Iterable[tuple[int, str, str, str, str, str]]) -> ChainReport:
    """Check (seq, at, kind, data, prev_hash, hash) rows from the beginning; stops at the first that does not fit."""
    head, count = GENESIS, 0
    for seq, at, kind, data, prev_hash, hash_ in rows:
        if seq != count + 1:
            return ChainReport(count, head, count + 1, f"event {count + 1} is missing")
        if prev_hash != head:
            return ChainReport(count, head, seq, "the event does not follow on the one before it")
        if link(prev_hash, seq, at, kind, data) != hash_:
            return ChainReport(count, head, seq, "the event was altered")
        head, count = hash_, count + 1
    return ChainReport(count, head)
