"""Our VEN against openleadr's VTN in another process: plain, over TLS (RSA), and signed (ECDSA)."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from support.openadr2 import HandClock, until
from support.openadr2_ven import PEER, Store, battery, ven

from adapters.tls import fingerprint
from datamodels import Quantity, Telemetry

pytestmark = pytest.mark.foreign


class Vtn:
    """The process, what it says, and what it is told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[dict] = []

    async def hears(self, what: str, **wanted: object) -> dict:
        """The next line of that kind, and with that content."""
        assert self.process.stdout is not None
        async with asyncio.timeout(8):
            while line := await self.process.stdout.readline():
                said = json.loads(line)
                self.said.append(said)
                if said["what"] == what and wanted.items() <= said.items():
                    return said
        raise AssertionError(f"the VTN ended without {what}")

    def told(self, do: str, **order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")


@asynccontextmanager
async def vtn(*arguments: str) -> AsyncIterator[tuple[Vtn, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("vtn.py")),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    there = Vtn(process)
    try:
        yield there, (await there.hears("listening"))["url"]
    finally:
        process.kill()
        await process.wait()


def clock() -> HandClock:
    """Market time is wall time, as with a utility."""
    real = HandClock(real=True)
    real.market = real.anchor
    return real


def identity(ca: trustme.CA, name: str, folder: Path, key: trustme.KeyType) -> tuple[str, str, str]:
    """Certificate and key as files, and the fingerprint."""
    leaf = ca.issue_cert(name, key_type=key)
    certificate, private = folder / f"{name}.pem", folder / f"{name}.key"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(private)
    return str(certificate), str(private), fingerprint(ssl.PEM_cert_to_DER_cert(certificate.read_text()))


@pytest.mark.parametrize("security", ["plain", "RSA", "ECDSA signed"])
async def test_registers_reports_obeys_and_leaves(security: str, tmp_path: Path) -> None:
    arguments: list[str] = []
    settings: dict = {"insecure": True}
    if security != "plain":
        ca = trustme.CA()
        authority = tmp_path / "ca.pem"
        ca.cert_pem.write_to_path(authority)
        kind = trustme.KeyType.ECDSA if "ECDSA" in security else trustme.KeyType.RSA
        theirs, ours = (identity(ca, name, tmp_path, kind) for name in ("localhost", "one"))
        arguments = [str(authority), theirs[0], theirs[1], ours[0], *(["signed"] if "signed" in security else [])]
        settings = {
            "insecure": False,
            "tls_ca": str(authority),
            "tls_certificate": ours[0],
            "tls_key": ours[1],
            "fingerprint": theirs[2],
            "signed": "signed" in security,
        }
    hub, now = Store(), clock()
    async with vtn(*arguments) as (there, url):
        adapter = ven(hub, now, url, battery(), profile="lenient", poll_s=0.1, sampling_s=1, **settings)
        await adapter.start()
        try:
            await _story(there, hub, now, adapter)
        finally:
            await adapter.stop()


async def _story(there: Vtn, hub: Store, now: HandClock, adapter) -> None:
    await there.hears("register", ven_name="one", pull=True, ven_id=None)
    await there.hears("offer", resource_id="battery", measurement="RealPower", unit="W")
    await until(lambda: hub.load("vtn.report"))
    at = datetime.now(UTC)
    hub.measured += [Telemetry("battery", Quantity.POWER_W, at + timedelta(seconds=n / 4), 1500.0) for n in range(40)]

    there.told("event", id="e1", signal="LOAD_CONTROL", type="x-loadControlCapacity", values=[0.5, 0.25], in_s=0.5)
    assert (await there.hears("opt", event_id="e1"))["opt_type"] == "optIn"
    await until(lambda: hub.signals)
    limit = hub.signals[0]
    assert (limit.kind, [int(i.value) for i in limit.intervals]) == ("IMPORT_LIMIT", [5000, 2500])
    assert abs(limit.intervals[0].start - at - timedelta(seconds=0.5)) < timedelta(seconds=1)
    await until(lambda: hub.told("active") and hub.told("interval"))

    there.told("modify", id="e1", values=[0.4, 0.2])
    await there.hears("opt", event_id="e1", opt_type="optIn")
    assert [int(i.value) for i in hub.signals[-1].intervals] == [4000, 2000]
    report = await there.hears("report")
    assert {value for _, value in report["values"]} == {1500.0}

    there.told("event", id="e2", signal="ELECTRICITY_PRICE", type="price", values=[0.3], in_s=30)
    assert (await there.hears("opt", event_id="e2"))["opt_type"] == "optIn"
    there.told("event", id="e3", signal="LOAD_CONTROL", type="x-loadControlCapacity", values=[0.1], resource="stranger")
    assert (await there.hears("opt", event_id="e3"))["opt_type"] == "optOut"
    assert [p for p, *_ in hub.refusals] == [PEER]

    there.told("cancel", id="e2")
    await until(lambda: "event.cancelled" in hub.kinds)
    assert hub.signals[-1].cancelled
    await adapter.links[PEER].cancel_registration()
    await there.hears("left", ven_id="ven1")
    assert hub.load("vtn.report") == {}
    assert adapter.status().peers[PEER].startswith("registration cancelled")


async def test_a_vtn_with_another_certificate_hears_nothing(tmp_path: Path) -> None:
    ca = trustme.CA()
    authority = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(authority)
    theirs, ours = (identity(ca, name, tmp_path, trustme.KeyType.ECDSA) for name in ("localhost", "one"))
    hub = Store()
    async with vtn(str(authority), theirs[0], theirs[1], ours[0]) as (_, url):
        adapter = ven(
            hub,
            clock(),
            url,
            insecure=False,
            tls_ca=str(authority),
            tls_certificate=ours[0],
            tls_key=ours[1],
            fingerprint=ours[2],
        )
        await adapter.start()
        await until(lambda: theirs[2][:20] in adapter.status().peers[PEER])
        await adapter.stop()
    assert (hub.documents, hub.traced[1:]) == ({}, [])
