"""openleadr's VEN, in another process, against this VTN over a socket; market time runs 900 times as fast."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trustme

from adapters.openadr2 import build
from datamodels import Quantity

pytestmark = pytest.mark.foreign


class Ven:
    """The process, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def hears(self, what: str) -> dict:
        """The next line of that kind."""
        assert self.process.stdout is not None
        async with asyncio.timeout(8):
            while line := await self.process.stdout.readline():
                said = json.loads(line)
                if said["what"] == what:
                    return said
        raise AssertionError(f"the VEN ended without {what}")

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


async def _until(condition, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def world(around) -> AsyncIterator:
    clock = around.HandClock(rate=900.0, real=True)
    hub = around.Hub()
    home = around.home("ven.one")
    adapter = build(
        {
            "vtn_id": "GRIDPARLEY",
            "listen": "127.0.0.1:0",
            "insecure": True,
            "poll_frequency_s": 1,
            "report_interval_s": 1,
            "vens": [{"ven_name": "ven.one"}],
        },
        around.ports(hub, clock, home),
    )
    await adapter.start()
    url = f"{adapter.status().listening[0]}/OpenADR2/Simple/2.0b"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("ven.py")),
        url,
        "ven.one",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield clock, hub, home, adapter, Ven(process)
    if process.returncode is None:
        process.kill()
    await process.wait()
    await adapter.stop()


async def test_a_foreign_ven_registers_reports_obeys_and_leaves(world, around) -> None:
    clock, hub, home, adapter, ven = world
    registered = await ven.hears("registered")
    assert registered["ven_id"] == hub.load("ven")["ven.one"]["ven_id"]

    # An event from now on: 96 quarter hours, each one second of the wall clock.
    step = timedelta(minutes=15)
    start = clock.now() + step
    await adapter.apply(home, around.plan("d1", home, start, tuple(range(100, 9700, 100))))
    event = await ven.hears("event")
    assert event["id"] == "d1"
    assert event["mod"] == 0
    assert event["signal"] == ["LOAD_DISPATCH", "setpoint", "powerReal"]
    assert event["values"] == list(range(100, 9700, 100))
    assert set(event["seconds"]) == {1.0}
    assert event["target"] == {"resource_id": ["battery"], "ven_id": [registered["ven_id"]]}
    assert abs(datetime.fromisoformat(event["start"]) - clock.to_wall(start)) < timedelta(milliseconds=2)
    await _until(lambda: ("d1", 0, "ACCEPTED") in hub.statuses)
    await _until(lambda: ("d1", 0, "STARTED") in hub.statuses)

    # A repaired plan keeps the id and what has already run.
    later = start + 10 * step
    await adapter.apply(home, around.plan("d1", home, later, (1, 2, 3), revision=1))
    update = await ven.hears("update")
    assert (update["id"], update["mod"], update["status"]) == ("d1", 1, "active")
    assert update["values"] == [*range(100, 1100, 100), 1, 2, 3]
    await _until(lambda: ("d1", 1, "ACCEPTED") in hub.statuses)

    # Reports of mean power, in kW over wall seconds, arrive as W over market quarter hours.
    await _until(lambda: len(hub.samples) >= 2)
    sample = hub.samples[0]
    assert (sample.resource, sample.quantity, sample.value) == (home.id, Quantity.MEAN_POWER_W, 1250.0)
    assert sample.duration_s == 900.0
    assert abs(sample.at - clock.now()) < timedelta(hours=2)

    # An opt-out is the resource's word too.
    await adapter.apply(home, around.plan("d1", home, start, (666,) * 40, revision=2))
    await _until(lambda: ("d1", 2, "REJECTED") in hub.statuses)

    await adapter.withdraw("d1")
    assert ("d1", 2, "REVOKED") not in hub.statuses
    cancelled = await ven.hears("update")
    while cancelled["mod"] < 3:
        cancelled = await ven.hears("update")
    assert (cancelled["mod"], cancelled["status"]) == (3, "cancelled")
    await _until(lambda: hub.load("event")["d1"]["event"]["closed"] is not None)

    ven.leave()
    assert (await ven.hears("cancelled"))["registration_id"] is None
    assert adapter.status().peers == {"ven.one": "not registered"}
    assert hub.load("report_request") == {}
    assert hub.refusals == []


@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
async def test_a_foreign_ven_over_tls_with_signatures(around, tmp_path, kind: str) -> None:
    """Both sides sign and verify; each event it acts upon, and each answer, went through both verifiers."""
    ca = trustme.CA()
    us, one = (around.Identity.issue(ca, name, rsa=kind == "RSA") for name in ("127.0.0.1", "one.example"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca"))
    certificate, key = us.write(tmp_path / "us")
    theirs = one.write(tmp_path / "one")
    hub, home = around.Hub(), around.home("one")
    config = {
        "listen": "127.0.0.1:0",
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": str(tmp_path / "ca"),
        "security": "high",
        "poll_frequency_s": 1,
        "vens": [{"ven_name": "one", "fingerprint": one.fingerprint}],
    }
    clock = around.HandClock(real=True)
    adapter = build(config, around.ports(hub, clock, home))
    await adapter.start()
    url = f"{adapter.status().listening[0]}/OpenADR2/Simple/2.0b"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("ven.py")),
        *(url, "one", *theirs, str(tmp_path / "ca"), us.fingerprint[-29:]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    ven = Ven(process)
    try:
        await ven.hears("registered")
        await adapter.apply(home, around.plan("d1", home, clock.now() + timedelta(hours=1), (100, 200)))
        assert (await ven.hears("event"))["values"] == [100, 200]
        await _until(lambda: ("d1", 0, "ACCEPTED") in hub.statuses)
        assert hub.refusals == []
        signed = [b"SignatureValue" in raw for _, _, raw in hub.traced]
        assert len(signed) > 6
        assert all(signed)
    finally:
        process.kill()
        await process.wait()
        await adapter.stop()
