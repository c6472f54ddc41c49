"""The 77 shared vectors: HTTP status, result and reason, off line and through a listener (U-03)."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import aiohttp
import pytest

from adapters.errors import TransportFault
from adapters.uftp import build, check_payload, envelope, rules
from datamodels import Role, Severity


class Said(NamedTuple):
    http: int
    result: str | None
    reason: str


def _entries(world: ModuleType) -> list[dict[str, Any]]:
    manifest = world.SHARED / "vectors" / "uftp" / "manifest.json"
    if not manifest.is_file():
        pytest.skip("the shared UFTP vectors are not here; set GRIDPARLEY_SHARED to a folder with vectors/uftp")
    entries: list[dict[str, Any]] = json.loads(manifest.read_text())
    assert len(entries) == 77
    return entries


def _own(world: ModuleType, entry: dict[str, Any]) -> str:
    return str({"AGR": world.AGR, "DSO": world.DSO, "CRO": world.CRO}[entry["recipient_role"]])


def _history(world: ModuleType, entry: dict[str, Any]) -> Any:
    history = world.MemoryHistory()
    for way, file in entry.get("setup", ()):
        history.replay(way, (world.SHARED / "vectors" / "uftp" / file).read_bytes())
    return history


def _off_line(world: ModuleType, entry: dict[str, Any]) -> Said:
    sender = entry["envelope"]
    try:
        verdict = check_payload(
            (world.SHARED / "vectors" / "uftp" / entry["file"]).read_bytes(),
            sender["SenderDomain"],
            Role(sender["SenderRole"]),
            _history(world, entry),
            world.TERMS,
            world.participants(),
            world.NOW,
            _own(world, entry),
            Role(entry["recipient_role"]),
        )
    except TransportFault as fault:
        return Said(fault.code, None, "")
    return Said(200, verdict.result, verdict.reason)


def test_all_vectors(world: ModuleType) -> None:
    wrong = []
    for entry in _entries(world):
        expect, said = entry["expect"], _off_line(world, entry)
        good = (said.http, said.result) == (expect["http"], expect.get("result"))
        wanted = expect.get("reasons_any") or [""]
        if not good or not any(text.lower() in said.reason.lower() for text in wanted):
            wrong.append((entry["file"], *said))
    assert wrong == []


async def test_the_same_verdict_through_a_listener(world: ModuleType, tmp_path: Path) -> None:
    """Signed, posted, taken in and interpreted: the status of the POST and the verdict are those of the check."""
    wrong = []
    async with aiohttp.ClientSession() as session:
        for domain in (world.AGR, world.DSO, world.CRO):
            (tmp_path / domain).write_bytes(base64.b64encode(world.KEYS[domain].secret))
            config = {"domain": domain, "role": str(world.ROLES[domain]), "signing_key_file": tmp_path / domain}
            hub = world.Hub()
            adapter = build(config | {"listen": "127.0.0.1:0"}, world.ports(hub, world.participants()))
            await adapter.start()
            for entry in (e for e in _entries(world) if _own(world, e) == domain):
                payload = (world.SHARED / "vectors" / "uftp" / entry["file"]).read_bytes()
                sender, role = entry["envelope"]["SenderDomain"], Role(entry["envelope"]["SenderRole"])
                body = io.BytesIO(envelope.seal(payload, sender, role, world.KEYS[sender]))
                url, xml = adapter.status().listening[0], {"Content-Type": "text/xml"}
                hub.forget()  # each vector starts with an empty store
                async with session.post(url, data=body, headers=xml) as response:
                    said = Said(response.status, None, "")
                if said.http == 200:
                    interpretation = adapter.interpret(hub.received[-1], _history(world, entry))
                    errors = any(p.severity is Severity.ERROR for p in interpretation.problems)
                    result = ("Rejected" if errors else "Accepted") if interpretation.needs_answer else None
                    if interpretation.kind == "TestMessage":
                        result = "TestMessageResponse"
                    said = Said(200, result, ";".join(rules.reasons(interpretation.problems)))
                if said != _off_line(world, entry):
                    wrong.append((entry["file"], said))
            await adapter.stop()
    assert wrong == []
