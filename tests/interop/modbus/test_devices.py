"""Our client and adapter against devices served by pymodbus in another process, over TCP on loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import FileClock
from adapters.errors import Rejection
from datamodels import Dispatch, DispatchInterval, DispatchKind, Quality, Quantity

pytestmark = pytest.mark.foreign
ISP = timedelta(minutes=15)


def dispatch(resource: str, now: datetime, *values: int, revision: int = 0, kind: str = "EXPORT_LIMIT") -> Dispatch:
    begin = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    intervals = tuple(DispatchInterval(begin + k * ISP, ISP, v) for k, v in enumerate(values))
    return Dispatch(f"d-{resource}", resource, DispatchKind(kind), intervals, "order", revision)


async def test_every_kind_is_read_and_steered(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any
) -> None:
    kinds = {f"{kind}-{variant}": (kind, variant) for kind in ("pv", "battery") for variant in ("1547", "legacy")}
    process = await simulate(*({"resource": n, "kind": k, "variant": v} for n, (k, v) in kinds.items()))
    adapter = await adapt({n: (process.listening[n], k) for n, (k, _) in kinds.items()})
    await eventually(lambda: set(adapter.status().peers.values()) == {"online"})
    assert adapter.status().ready
    assert adapter.status().problems == ()
    for name, (kind, _) in kinds.items():
        order = (
            dispatch(name, clock.now(), *[3000] * 90)
            if kind == "pv"
            else dispatch(name, clock.now(), *[2000] * 90, kind="SETPOINT")
        )
        await adapter.apply(adapter.resources[name], order)
    await eventually(lambda: all(recorder.news(f"d-{n}") == ["STARTED"] for n in kinds))
    await eventually(lambda: [recorder.last(n, Quantity.POWER_W) for n in kinds] == [-3000, -3000, 2000, 2000])
    for name in kinds:
        await adapter.apply(
            adapter.resources[name],
            dispatch(
                name,
                clock.now(),
                *[1000 if "pv" in name else -2500] * 90,
                revision=1,
                kind="EXPORT_LIMIT" if "pv" in name else "SETPOINT",
            ),
        )
    await eventually(lambda: [recorder.last(n, Quantity.POWER_W) for n in kinds] == [-1000, -1000, -2500, -2500])
    assert recorder.last("battery-1547", Quantity.STORED_ENERGY_WH) == pytest.approx(50_000, rel=0.2)
    assert recorder.last("battery-legacy", Quantity.STORED_ENERGY_WH) == pytest.approx(50_000, rel=0.2)
    assert all(t.quality is Quality.GOOD for t in recorder.samples)
    assert recorder.frames > 0


async def test_intervals_begin_on_time_and_the_log_agrees(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any, tmp_path: Path
) -> None:
    process = await simulate({"resource": "pv", "kind": "pv"})
    adapter = await adapt({"pv": (process.listening["pv"], "pv")})
    await eventually(lambda: adapter.status().peers["pv"] == "online")
    order = dispatch("pv", clock.now(), 8000, 6000, 4000, 2000)
    await adapter.apply(adapter.resources["pv"], order)
    await eventually(lambda: clock.now() >= order.end + ISP / 2, within=8)
    await eventually(lambda: recorder.news("d-pv") == ["STARTED", "SUCCEEDED"])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    means = {line["start"]: line["mean_w"] for line in lines if "mean_w" in line}
    # A write some tens of wall milliseconds late shows as a few percent of an interval that lasts one second.
    for interval, before in zip(order.intervals[1:], order.intervals, strict=False):
        mean = -means[interval.start.isoformat()]
        assert interval.value - 1 <= mean <= interval.value + 0.35 * (before.value - interval.value)
    assert recorder.last("pv", Quantity.POWER_W) == -8000


async def test_registers_are_exact_at_the_instant_of_the_read(
    simulate: Any, adapt: Any, recorder: Any, eventually: Any
) -> None:
    process = await simulate({"resource": "pv", "kind": "pv"})
    adapter = await adapt({"pv": (process.listening["pv"], "pv")}, poll_s=5)
    await eventually(lambda: adapter.status().peers["pv"] == "online")
    rounds = []
    for _ in range(3):
        samples = await adapter.read_now(["pv"])
        rounds.append(next(t for t in samples if t.quantity is Quantity.EXPORT_ENERGY_WH))
        await asyncio.sleep(0.3)
    assert all(r in recorder.samples for r in rounds)
    for first, second in itertools.pairwise(rounds):
        hours = (second.at - first.at).total_seconds() / 3600
        assert (second.value - first.value) / hours == pytest.approx(8000, rel=0.25)
    with pytest.raises(Rejection, match="no resource of that name"):
        await adapter.read_now(["nobody"])


async def test_killed_device_is_marked_comes_back_and_is_told_again(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any
) -> None:
    process = await simulate({"resource": "pv", "kind": "pv"})
    address = process.listening["pv"]
    adapter = await adapt({"pv": (address, "pv")})
    await eventually(lambda: recorder.last("pv", Quantity.ONLINE) == 1)
    await adapter.apply(adapter.resources["pv"], dispatch("pv", clock.now(), *[2000] * 90))
    await eventually(lambda: recorder.last("pv", Quantity.POWER_W) == -2000)
    await process.end(signal.SIGKILL)
    assert await eventually(lambda: recorder.last("pv", Quantity.ONLINE) == 0) < 1.5
    assert adapter.status().peers["pv"].startswith("offline")
    assert "check that it runs" in adapter.status().problems[0].hint
    await eventually(lambda: recorder.news("d-pv") == ["STARTED", "ABORTED"])
    await adapter.apply(adapter.resources["pv"], dispatch("pv", clock.now(), *[1500] * 90, revision=1))
    await eventually(lambda: recorder.news("d-pv")[-1] == "ABORTED")
    await simulate({"resource": "pv", "kind": "pv", "listen": address})
    await eventually(lambda: recorder.last("pv", Quantity.ONLINE) == 1)
    await eventually(lambda: recorder.last("pv", Quantity.POWER_W) == -1500)
    energy = [t.value for t in recorder.samples if t.quantity is Quantity.EXPORT_ENERGY_WH]
    assert energy == sorted(energy)  # the restarted simulator went on from its log


@pytest.mark.parametrize(
    ("fault", "status", "online"),
    [("lie", "ABORTED", 1), ("refuse", "REJECTED", 1), ("silent", "ABORTED", 0)],
)
async def test_faulty_devices_are_marked(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any, fault: str, status: str, online: int
) -> None:
    process = await simulate({"resource": "bad", "kind": "battery", "fault": fault})
    adapter = await adapt({"bad": (process.listening["bad"], "battery")}, timeout_s=0.15)
    await eventually(lambda: recorder.last("bad", Quantity.ONLINE) == online)
    await adapter.apply(adapter.resources["bad"], dispatch("bad", clock.now(), *[1000] * 90, kind="SETPOINT"))
    await eventually(lambda: status in recorder.news("d-bad"))
    await eventually(lambda: adapter.status().peers["bad"] != "online")
    assert recorder.last("bad", Quantity.ONLINE) == online
    assert [p.where for p in adapter.status().problems] == ["bad"]
    if fault == "lie":
        await eventually(lambda: recorder.samples[-1].quality is Quality.UNCERTAIN)


async def test_device_that_falls_silent_is_marked_and_taken_up_again(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any
) -> None:
    process = await simulate({"resource": "pv", "kind": "pv"})
    adapter = await adapt({"pv": (process.listening["pv"], "pv")}, timeout_s=0.3)
    await adapter.apply(adapter.resources["pv"], dispatch("pv", clock.now(), *[2000] * 90))
    await eventually(lambda: recorder.news("d-pv") == ["STARTED"])
    process.send(signal.SIGSTOP)  # its connections stay open, nothing answers
    assert await eventually(lambda: recorder.last("pv", Quantity.ONLINE) == 0) < 1.5
    assert "no answer within 0.3 s" in adapter.status().peers["pv"]
    await eventually(lambda: recorder.news("d-pv") == ["STARTED", "ABORTED"])
    process.send(signal.SIGCONT)
    await eventually(lambda: recorder.last("pv", Quantity.ONLINE) == 1)
    await eventually(lambda: recorder.last("pv", Quantity.POWER_W) == -2000)


async def test_shutdown_gives_the_device_back(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any, tmp_path: Path
) -> None:
    process = await simulate({"resource": "pv", "kind": "pv"})
    adapter = await adapt({"pv": (process.listening["pv"], "pv")})
    await adapter.apply(adapter.resources["pv"], dispatch("pv", clock.now(), *[2000] * 90))
    await eventually(lambda: recorder.news("d-pv") == ["STARTED"])
    await adapter.stop()
    writes = [json.loads(t) for t in (tmp_path / "log.jsonl").read_text("utf-8").splitlines() if "address" in t]
    assert writes[-1]["values"] == [0]
    again = await adapt({"pv": (process.listening["pv"], "pv")})
    await eventually(lambda: recorder.last("pv", Quantity.POWER_W) == -2000)  # still valid: taken up again
    await again.withdraw("d-pv")
    await eventually(lambda: recorder.news("d-pv")[-1] == "REVOKED")
    await eventually(lambda: recorder.last("pv", Quantity.POWER_W) == -8000)


async def test_pysunspec2_reads_the_simulator_as_we_do(
    simulate: Any, adapt: Any, recorder: Any, clock: FileClock, eventually: Any
) -> None:
    """The oracle is another implementation of SunSpec; it runs in its own process because it blocks."""
    process = await simulate({"resource": "b", "kind": "battery"}, {"resource": "p", "kind": "pv", "variant": "legacy"})
    adapter = await adapt({"b": (process.listening["b"], "battery"), "p": (process.listening["p"], "pv")})
    await eventually(lambda: set(adapter.status().peers.values()) == {"online"})
    await adapter.apply(adapter.resources["b"], dispatch("b", clock.now(), *[1500] * 90, kind="SETPOINT"))
    await eventually(lambda: recorder.last("b", Quantity.POWER_W) == 1500)
    script = """
import json, sys
import sunspec2.modbus.client as client
result = {}
for name, address in zip(("b", "p"), sys.argv[1:]):
    host, port = address.split(":")
    device = client.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=host, ipport=int(port))
    device.scan()
    points = {}
    for number in [n for n in device.models if isinstance(n, int)]:
        model = device.models[number][0]
        model.read()
        points[number] = {n: p.cvalue for n, p in model.points.items()}
    result[name] = points
    device.close()
print(json.dumps(result))
"""
    peer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        process.listening["b"],
        process.listening["p"],
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    assert peer.stdout is not None
    seen = json.loads(await peer.stdout.read())
    assert await peer.wait() == 0
    assert list(seen["b"]) == ["1", "701", "702", "703", "704", "713", "802"]
    assert list(seen["p"]) == ["1", "103", "120", "121", "123", "160"]
    assert seen["b"]["701"]["W"] == -1500
    assert (seen["b"]["704"]["WSetEna"], seen["b"]["704"]["WSet"], seen["b"]["704"]["WSetRvrtTms"]) == (1, -1500, 3600)
    assert 0 < seen["b"]["704"]["WSetRvrtRem"] <= 3600
    assert seen["b"]["713"]["SoC"] == pytest.approx(100 * (recorder.last("b", Quantity.STATE_OF_CHARGE) or 0), abs=5)
    assert seen["p"]["103"]["W"] == 8000
    assert seen["p"]["120"]["WRtg"] == 10000


async def test_simulator_command_says_what_is_wrong(tmp_path: Path) -> None:
    profile = tmp_path / "device.json"
    profile.write_text('{"start": "2026-05-20T00:00:00+00:00", "kind": "wind"}', encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "adapters.modbus.simulator",
        "--profile",
        str(profile),
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"kind 'wind' is one of pv, battery" in errors
