"""A VTN under polling, and reports that are durable before they are answered."""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import aiohttp

from adapters.openadr2 import codec, model
from adapters.openadr2.lexical import Duration
from interop.bench.measure import Contestant, Sample, cpu_s, in_turn, post_all
from interop.bench.process import ServedParty, process, serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["openadr2"]

P = TypeVar("P", bound=model.Payload)
_VEN, _RESOURCE, _POINT = "bench", "battery", "power"
_CONNECTIONS = 8
_FLOOR, _PEER = "aiohttp that echoes", "openleadr's VTN"
_FLOOR_TIMES = 2.0
_HOW = (
    "oadrPoll of a registered VEN whose queue is empty, over {connections} keep-alive connections on loopback "
    "without TLS, {count} polls in {rounds} turns; every contestant is a process of its own. Floor: an aiohttp "
    "server that sends the body back. Peer: openleadr 0.5's OpenADRServer, its VEN registered alike. Ours is "
    "`gridparley serve` with its store on disk; a poll that finds nothing writes nothing. oadrUpdateReport: one "
    "report with one value, ours only, durable before the answer (openleadr hands reports to a callback and keeps"
    " nothing, so it is no peer for this). CPU is that of the serving process."
)


@bench("openadr2")
async def openadr2(scale: Scale) -> Report:
    """Polls a second and CPU per poll, against openleadr and a bare aiohttp server; durable reports a second."""
    rounds, polls, reports = scale.pick(4, 1), scale.pick(1000, 100), scale.pick(250, 50)
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gridparley-bench-")))
        party = await opened.enter_async_context(serve(folder, _CONFIG))
        ours = f"{party.adapters['openadr2']}/OpenADR2/Simple/2.0b"
        peers = {
            name: await opened.enter_async_context(
                process(sys.executable, "-m", f"interop.bench.{module}", errors=folder / f"{module}.log")
            )
            for name, module in (("peer", "openleadr_vtn"), ("floor", "echo"))
        }
        contestants: dict[str, Contestant] = {}
        places = {"ours": (ours, party.pid)} | {name: (str(p.ready["url"]), p.pid) for name, p in peers.items()}
        for name, (url, pid) in places.items():
            ven_id = _VEN if name == "floor" else (await _register(url)).ven_id
            contestants[name] = _contestant(f"{url}/OadrPoll", pid, polls, _polls(str(ven_id)))
        taken = await in_turn(contestants, rounds)
        told = (await in_turn({"ours": await _reporting(party, ours, reports)}, rounds))["ours"]
    how = _HOW.format(connections=_CONNECTIONS, count=polls * rounds, rounds=rounds)
    return Report("openadr2", how, _rows(taken, told))


def _rows(taken: dict[str, Sample], told: Sample) -> tuple[Row, ...]:
    def micro(name: str) -> float:
        return taken[name].cpu_each_s * 1e6

    floor = Target("<=", _FLOOR_TIMES, "ratio")
    return (
        Row("polls, wall", "polls/s", taken["ours"].per_s, taken["peer"].per_s, _PEER),
        Row("a poll, CPU", "µs/poll", micro("ours"), micro("peer"), _PEER),
        Row("polls, wall", "polls/s", taken["ours"].per_s, taken["floor"].per_s, _FLOOR),
        Row("a poll, CPU", "µs/poll", micro("ours"), micro("floor"), _FLOOR, floor),
        Row("durable reports, wall", "reports/s", told.per_s),
        Row("a durable report, CPU", "µs/report", told.cpu_each_s * 1e6),
    )


_CONFIG = (
    *("[party]", 'domain = "agr.example.org"', 'role = "AGR"'),
    *("[adapters.openadr2]", 'listen = "127.0.0.1:0"', "insecure = true"),
    *("[[adapters.openadr2.vens]]", f'ven_name = "{_VEN}"'),
    *("[[resources]]", f'id = "{_RESOURCE}"', 'connection = "ean.1"', 'kind = "BATTERY"', 'role = "STORAGE"'),
    *("p_min_w = -5000", "p_max_w = 5000", "capacity_wh = 10000"),
    *("[resources.binding]", 'adapter = "openadr2"', f'address = "{_VEN}/{_RESOURCE}"'),
)


def _contestant(url: str, pid: int, count: int, bodies: Iterable[bytes]) -> Contestant:
    source = iter(bodies)

    async def contestant() -> Sample:
        ready = list(itertools.islice(source, count))
        cpu, wall = cpu_s(pid), time.perf_counter()
        latencies = await post_all(url, ready, _CONNECTIONS, "application/xml", expect=b"oadrPayload")
        return Sample(count, time.perf_counter() - wall, cpu_s(pid) - cpu, latencies)

    return contestant


def _polls(ven_id: str) -> Iterator[bytes]:
    return itertools.repeat(codec.encode(model.OadrPoll(ven_id)))


async def _say(url: str, service: str, message: model.Payload, answer: type[P]) -> P:
    """Send a payload; the payload that comes back.

    Raises:
        CannotMeasure: it is not what was expected.
    """
    headers = {"Content-Type": "application/xml"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/{service}", data=codec.encode(message), headers=headers) as response,
    ):
        body = await response.read()
    if response.status != 200:
        raise CannotMeasure(f"{url}/{service} answers {response.status}: {body[:300]!r}")
    said = codec.decode(codec.payload_element(codec.read_tree(body)))
    if not isinstance(said, answer):
        raise CannotMeasure(f"{url}/{service} answers {said}")
    return said


async def _register(url: str) -> model.OadrCreatedPartyRegistration:
    message = model.OadrCreatePartyRegistration(
        request_id="1",
        profile_name="2.0b",
        transport_name="simpleHttp",
        report_only=False,
        xml_signature=False,
        ven_name=_VEN,
        http_pull_model=True,
    )
    return await _say(url, "EiRegisterParty", message, model.OadrCreatedPartyRegistration)


async def _reporting(party: ServedParty, url: str, count: int) -> Contestant:
    """Offer a report, take the request for it, and send values of it."""
    registered = await _register(url)
    ven_id = str(registered.ven_id)
    offer = model.ReportDescription(
        _POINT,
        "usage",
        "Direct Read",
        data_source=model.EiTarget(resource_id=(_RESOURCE,)),
        item_base=model.ItemBase(
            "powerReal", "RealPower", "W", "k", model.PowerAttributes(Decimal(50), Decimal(230), True)
        ),
        sampling_rate=model.SamplingRate(Duration.seconds(1), Duration.seconds(3600), False),
    )
    report = model.OadrReport(
        "0", "offer", datetime.now(UTC), descriptions=(offer,), report_name="METADATA_TELEMETRY_USAGE"
    )
    message = model.OadrRegisterReport("2", (report,), ven_id, "0")
    reply = await _say(url, "EiReport", message, model.OadrRegisteredReport)
    if not reply.report_requests:
        raise CannotMeasure("the VTN does not ask for the report it was offered")
    request = reply.report_requests[0].report_request_id

    def updates() -> Iterator[bytes]:
        for number in itertools.count(1):
            now = datetime.now(UTC)
            payload = model.ReportPayload(_POINT, model.PayloadFloat(number % 5))
            interval = model.Interval((payload,), dtstart=now)
            told = model.OadrReport(request, "offer", now, now, intervals=(interval,))
            yield codec.encode(model.OadrUpdateReport(str(number), (told,), ven_id))

    return _contestant(f"{url}/EiReport", party.pid, count, updates())
