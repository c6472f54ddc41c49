"""The whole flow of python-oa3-client, a foreign VEN: register, subscribe by webhook and by MQTT, hear of an event.

GRIDPARLEY_OA3_PYTHON names the Python of an environment with `oa3-requirements.txt` installed.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.openadr3_server import vtn

pytestmark = pytest.mark.foreign

PYTHON = os.environ.get("GRIDPARLEY_OA3_PYTHON", "")
SCRIPT = Path(__file__).with_name("notified_peer.py")


@pytest.mark.skipif(not PYTHON, reason="set GRIDPARLEY_OA3_PYTHON to run against python-oa3-client")
async def test_a_foreign_ven_hears_of_events_both_ways(tmp_path: Path) -> None:
    async with vtn(tmp_path, mqtt={"listen": "127.0.0.1:0", "anonymous": True}) as running:
        program = await running.program("p")
        words = (PYTHON, str(SCRIPT), f"{running.url}/3.1.0", "me", "me-secret")
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        peer = await asyncio.create_subprocess_exec(*words, **pipes)
        assert peer.stdin is not None
        assert peer.stdout is not None
        try:
            assert await asyncio.wait_for(peer.stdout.readline(), 30) == b"ready\n"
            event = await running.event(program, eventName="first")
            path = f"/events/{event}"
            told = await running.as_("grid").put(path, {"programID": program, "eventName": "second", "intervals": []})
            assert told.status == 200
            assert (await running.as_("grid").delete(path)).status == 200
            peer.stdin.write(b"3\n")
            heard: Any = json.loads(await asyncio.wait_for(peer.stdout.readline(), 30))
        finally:
            peer.stdin.close()
            await asyncio.wait_for(peer.wait(), 20)
        webhooks, messages = heard
        assert webhooks == messages
        assert [said["operation"] for said in webhooks] == ["CREATE", "UPDATE", "DELETE"]
        assert [said["object"]["eventName"] for said in webhooks] == ["first", "second", "second"]
        assert {said["object"]["id"] for said in webhooks} == {event}
        vens = (await running.as_("grid").get("/vens")).data
        assert [(ven["venName"], ven["clientID"]) for ven in vens] == [("foreign", "me")]
