"""National profiles at the door (DER01, DER07, GAC01): off, warn, enforce; binding events."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support import openadr3 as kit
from support.openadr3_server import Running, vtn

GAC = {
    "programName": "gac",
    "attributes": [
        {"type": "PROGRAM_TYPE", "values": ["DSO_CPO_INTERFACE-2.2.0"]},
        {"type": "RETAILER_NAME", "values": ["A grid operator"]},
        {"type": "BINDING_EVENTS", "values": [True]},
    ],
}
LIMIT = {"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [10]}]}
EVENT = {
    "targets": ["871234567890123458"],
    "payloadDescriptors": [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}
    ],
    "intervalPeriod": {"start": "2026-11-25T00:00:00Z", "duration": "PT1H"},
    "intervals": [LIMIT],
}


async def _program(running: Running) -> str:
    reply = await running.as_("grid").post("/programs", GAC)
    assert reply.status == 201, reply.data
    return reply.id


async def test_what_breaks_an_enforced_profile_is_refused(tmp_path: Path) -> None:
    async with vtn(tmp_path, judging="enforce") as running:
        grid, program = running.as_("grid"), await _program(running)
        assert (await grid.post("/events", EVENT | {"programID": program})).status == 201
        reply = await grid.post("/events", EVENT | {"programID": program, "priority": 1})
        assert reply.status == 400
        assert reply.data["rule"].startswith("GAC.")
        assert len((await grid.get("/events")).data) == 1
        bad = kit.plain(GAC) | {"programName": "bad", "attributes": GAC["attributes"][:1]}
        assert (await grid.post("/programs", bad)).status == 400
        free = await running.program("free")
        assert (await grid.post("/events", EVENT | {"programID": free, "priority": 1})).status == 201


async def test_a_programme_may_be_judged_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with vtn(tmp_path, judging="enforce", programmes={"gac": "warn"}) as running:
        program = await _program(running)
        with caplog.at_level(logging.WARNING):
            reply = await running.as_("grid").post("/events", EVENT | {"programID": program, "priority": 1})
        assert reply.status == 201
        assert "GAC." in caplog.text


@pytest.mark.parametrize(("judging", "status"), [("warn", 409), ("off", 200)])
async def test_binding_events_are_not_changed(tmp_path: Path, judging: str, status: int) -> None:
    async with vtn(tmp_path, judging=judging) as running:
        data: dict[str, Any] = EVENT | {"programID": await _program(running)}
        event = (await running.as_("grid").post("/events", data)).id
        assert (await running.as_("grid").put(f"/events/{event}", data)).status == status
        assert (await running.as_("grid").delete(f"/events/{event}")).status == 200


async def test_a_der_programme(tmp_path: Path) -> None:
    samples = kit.data("der.json")
    async with vtn(tmp_path, judging="enforce") as running:
        sample = kit.plain(samples.get("samples", samples)["program"])
        reply = await running.as_("grid").post("/programs", sample)
        assert reply.status == 201, reply.data
        data = {"programID": reply.id, "intervals": [LIMIT]}
        refused = await running.as_("grid").post("/events", data)
        assert (refused.status, refused.data["rule"].partition(".")[0]) == (400, "DER")
