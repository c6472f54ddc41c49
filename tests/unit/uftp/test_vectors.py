"""The 77 shared vectors, off line: HTTP status, result, and reason."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from adapters.errors import TransportFault
from adapters.uftp import check_payload
from datamodels import Role


def _verdict(world: ModuleType, entry: dict[str, Any]) -> tuple[int, str | None, str]:
    folder = world.SHARED / "vectors" / "uftp"
    history = world.MemoryHistory()
    for way, file in entry.get("setup", ()):
        history.replay(way, (folder / file).read_bytes())
    own = {"AGR": world.AGR, "DSO": world.DSO, "CRO": world.CRO}[entry["recipient_role"]]
    sender = entry["envelope"]
    try:
        verdict = check_payload(
            (folder / entry["file"]).read_bytes(),
            sender["SenderDomain"],
            Role(sender["SenderRole"]),
            history,
            world.TERMS,
            world.participants(),
            world.NOW,
            own,
            Role(entry["recipient_role"]),
        )
    except TransportFault as fault:
        return fault.code, None, ""
    return 200, verdict.result, verdict.reason


def test_all_vectors(world: ModuleType) -> None:
    manifest = world.SHARED / "vectors" / "uftp" / "manifest.json"
    if not manifest.is_file():
        pytest.skip("the shared UFTP vectors are not here; set GRIDPARLEY_SHARED to a folder with vectors/uftp")
    wrong = []
    entries = json.loads(manifest.read_text())
    for entry in entries:
        expect = entry["expect"]
        status, result, reason = _verdict(world, entry)
        good = (status, result) == (expect["http"], expect.get("result"))
        wanted = expect.get("reasons_any") or [""]
        if not good or not any(text.lower() in reason.lower() for text in wanted):
            wrong.append((entry["file"], status, result, reason))
    assert wrong == []
    assert len(entries) == 77
