"""The suites against real servers over sockets: openleadr's VTN with its known faults, and our own servers."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import openadr2, uftp

from adapters.openadr2 import build as build_vtn
from adapters.uftp import SigningKey
from adapters.uftp import build as build_uftp
from conformance.case import load_suite
from conformance.dut import Dut, read_dut
from conformance.report import document
from conformance.run import Run, Verdict, run_suite
from conformance.tester import Result

TESTS = Path(__file__).resolve().parents[2]


def bad(run: Run) -> dict[str, set[str]]:
    """Ids of the bad checks of each case that has some."""
    found = {o.case.id: {c.id for s in o.steps for c in s.checks if c.result is Result.BAD} for o in run.outcomes}
    return {case: checks for case, checks in found.items() if checks}


@pytest.fixture
async def openleadr() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("openleadr_vtn.py")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while not (line := await process.stdout.readline()).startswith(b"URL "):
            assert line, "openleadr's VTN did not start"
    yield line.decode().split()[1]
    process.terminate()
    await process.communicate()


@pytest.mark.foreign
async def test_what_is_known_of_openleadr_is_found_and_nothing_else(openleadr: str) -> None:
    suite = load_suite("openadr2")
    dut = read_dut(openleadr, TESTS / "data" / "conformance" / "openleadr.toml", suite)
    run = await run_suite(suite, dut)
    assert {o.case.id: str(o.verdict) for o in run.outcomes} == {
        "OADR2-REG-001": "pass",
        "OADR2-REG-002": "pass",
        "OADR2-POLL-001": "pass",
        "OADR2-POLL-002": "xfail",
        "OADR2-EVT-001": "xfail",
        "OADR2-TRN-001": "xfail",
        "OADR2-TRN-002": "n-a",
        "OADR2-TRN-003": "pass",
        "OADR2-TXT-001": "xfail",
        "OADR2-TXT-002": "xfail",
    }
    assert run.verdict is Verdict.XFAIL
    # The same run in another order is judged alike.
    assert document(await run_suite(suite, dut, seed=7))["verdict_sha256"] == document(run)["verdict_sha256"]


@pytest.fixture
async def vtn() -> AsyncIterator[str]:
    around = openadr2
    config = {"listen": "127.0.0.1:0", "insecure": True, "allow_registration": True}
    adapter = build_vtn(config, around.ports(around.Hub(), around.HandClock(real=True)))
    await adapter.start()
    yield adapter.status().listening[0]
    await adapter.stop()


async def test_our_vtn_passes(vtn: str) -> None:
    run = await run_suite(load_suite("openadr2"), Dut(vtn))
    assert bad(run) == {}
    assert run.verdict is Verdict.PASS
    assert len(run.outcomes) == 10


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[Dut]:
    world = uftp
    key_file = tmp_path / "agr.key"
    key_file.write_bytes(base64.b64encode(world.KEYS[world.AGR].secret))
    key_file.chmod(0o600)
    seed = bytes(range(32))
    participants: dict[str, Any] = world.participants()
    tester = world.replace(participants[world.DSO], keys=(world.ParticipantKey(SigningKey.from_seed(seed).public),))
    adapter = build_uftp(
        {"domain": world.AGR, "role": "AGR", "signing_key_file": str(key_file), "listen": "127.0.0.1:0"},
        world.ports(world.Hub(), participants | {world.DSO: tester}),
    )
    await adapter.start()
    settings = {
        "domain": world.DSO,
        "role": "DSO",
        "recipient": world.AGR,
        "signing_key": base64.b64encode(seed).decode(),
    }
    yield Dut(adapter.status().listening[0], settings=settings)
    await adapter.stop()


async def test_our_listener_passes(listener: Dut) -> None:
    run = await run_suite(load_suite("uftp"), listener)
    assert bad(run) == {}
    assert run.verdict is Verdict.PASS
    assert len(run.outcomes) == 9
    # The key by which the tester signs is in no report.
    assert listener.settings["signing_key"] not in str(document(run))
