"""A grid operator's VTN in one process, our server in another: FLEX called, acknowledged, held, metered, reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import openadr3 as kit
from support.openadr3_vtn import Vtn

from adapters.openadr3.members import Version
from datamodels import (
    Dispatch,
    DispatchInterval,
    DispatchKind,
    FlexOffer,
    FlexRequest,
    GridSignal,
    IspSeries,
    MarketCalendar,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    Prognosis,
    Run,
    SignalKind,
    SignalTarget,
    TargetKind,
)
from interop.config import Config, parse_config
from interop.desk import DeskContext, DeskRunner
from interop.effects import Effect, Instruct, Put, Withdraw
from interop.market.desk import MarketDesk
from interop.market.ids import head
from interop.market.status import status
from interop.server import Server

AGR, DSO = "agr.example.org", "dso.example.org"
POINT = "ean.871687120000000021"
DAY = date(2030, 6, 12)
CALENDAR = MarketCalendar()
SAMPLES = kit.data("der.json")["samples"]
EAN = SAMPLES["resource"]["attributes"][1]["values"][0]


class ObedientDesk(MarketDesk):
    """Tells its one resource every limit, and meters when asked to."""

    def obeys(self, signal: GridSignal) -> bool:
        return any(t.kind is TargetKind.CONGESTION_POINT and t.id == POINT for t in signal.targets)

    async def work(self, now: datetime) -> None:
        for key, signal in self.signals.items():
            told = self.book.document("told", key)
            if signal.cancelled and told:
                await self._do([Withdraw(told), Put("told", key, "")])
            elif not signal.cancelled and told is None and self.obeys(signal):
                intervals = [DispatchInterval(i.start, i.duration, int(i.value)) for i in signal.intervals]
                order = Dispatch(signal.id, "bat1", DispatchKind.IMPORT_LIMIT, tuple(intervals), signal.id)
                await self._do([Instruct(order), Put("told", key, order.id)])

    async def _do(self, effects: Sequence[Effect]) -> None:
        self.book.apply(effects)
        await self.context.do(effects)

    async def meter(self, power_w: Sequence[int], ean: str = EAN) -> None:
        profile = MeterProfile(MeteringKind.POWER, "kW", tuple(Decimal(w) / 1000 for w in power_w))
        about = head(AGR, DSO, self.context.clock.now(), "metering", ean, DAY)
        await self.say(Metering(about, f"E{ean}", CALENDAR, DAY, 1, (profile,)))


class Party(Server):
    """Our server with that desk, and a resource whose adapter only remembers."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.applied: list[Dispatch] = []
        self.withdrawn: list[str] = []

    async def _assemble(self) -> None:
        await super()._assemble()
        self.hub.dispatcher._actuators["wire"] = self  # type: ignore[index]

    async def apply(self, resource: Any, dispatch: Dispatch) -> None:
        self.applied.append(dispatch)

    async def withdraw(self, dispatch: str) -> None:
        self.withdrawn.append(dispatch)

    def _desk(self) -> DeskRunner:
        from support.hub import RESOURCE

        self.resources["bat1"] = RESOURCE
        party = self.config.party
        return ObedientDesk(
            DeskContext(
                domain=party.domain,
                role=party.role,
                terms=self.terms,
                participants=self.peers,
                resources=self.resources,
                clock=self.clock,
                feed=self.feed,
                store=self.store,
                adapters=self.adapters,
                do=self.hub.do,
            )
        )


@pytest.fixture
async def vtn() -> AsyncIterator[Vtn]:
    path = kit.SHARED / "specs" / "openadr3" / Version.V310 / "openadr3.yaml"
    async with Vtn(path if path.is_file() else None) as running:
        yield running


@pytest.fixture
async def party(vtn: Vtn, tmp_path: Path) -> AsyncIterator[Callable[[], Any]]:
    """Start our server on this test's folder, or start it again."""
    running: list[Party] = []
    (tmp_path / "secret").write_text("provider-secret\n")

    async def start() -> Party:
        for before in running:
            await before.stop()
        running.clear()
        vtns = [
            {
                "peer": DSO,
                "url": vtn.url,
                "ven_name": SAMPLES["ven"]["venName"],
                "client_id": "provider",
                "client_secret_file": "secret",
                "congestion_points": {"cp-1": POINT},
                "poll_s": 0.1,
                "insecure": True,
            }
        ]
        data = {
            "party": {"domain": AGR, "role": "AGR"},
            "server": {"http_listen": "127.0.0.1:0", "log_level": "warning"},
            "market": {"congestion_points": [{"address": POINT, "dso": DSO}]},
            "peers": [{"domain": DSO, "role": "DSO", "adapter": "openadr3"}],
            "adapters": {"openadr3": {"vtns": vtns}},
        }
        server = Party(parse_config(data, tmp_path, {}))
        await server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        await server.stop()


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true."""
    for _ in range(400):
        value = condition()
        if hasattr(value, "__await__"):
            value = await value
        if value:
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}")


async def publish(vtn: Vtn, *, baseline: bool = True, flexes: Sequence[Any] = ()) -> None:
    """What a grid operator has in place: programme, VEN, resource, group, anchor; then a baseline and FLEX events."""
    await vtn.add("programs", _posted("program"))
    await vtn.add("vens", _posted("ven") | {"objectType": "BL_VEN_REQUEST", "clientID": "provider"})
    await vtn.add("resources", _posted("resource") | {"objectType": "BL_RESOURCE_REQUEST", "clientID": "provider"})
    await vtn.add("resource_groups", _group("PT6H"))
    await vtn.add("events", _posted("anchor"))
    if baseline:
        await vtn.add("events", _posted("baseline"))
    for event in flexes:
        await vtn.add("events", event)


def _posted(name: str) -> Any:
    return kit.plain(SAMPLES[name])


def flex(id: int, *parts: tuple[str, str, float], day: str = "2030-06-12") -> Any:
    """A FLEX event of (start hh:mm in UTC, duration, kW)."""
    event = kit.plain(SAMPLES["flex"])
    intervals = [
        {
            "id": n,
            "intervalPeriod": {"start": f"{day}T{start}:00Z", "duration": duration},
            "payloads": [{"type": "FLEX", "values": [kw]}],
        }
        for n, (start, duration, kw) in enumerate(parts)
    ]
    period = {"start": f"{day}T00:00:00Z", "duration": "P1D"}
    return event | {
        "id": f"00000000-0000-4000-8000-0000000001{id:02d}",
        "intervals": intervals,
        "intervalPeriod": period,
    }


async def test_flex_is_acknowledged_held_and_reported(vtn: Vtn, party: Callable[[], Any]) -> None:
    called = [
        flex(1, ("05:00", "PT1H", 0), ("06:00", "PT2H", 40.25), ("08:00", "PT1H", 0)),
        flex(2, ("09:00", "PT4H", 20), ("14:00", "PT6H", 15)),
    ]
    await publish(vtn, flexes=called)
    server = await party()
    acks = await until(lambda: _reports(vtn, "ACK", 2), "both ACKs at the VTN")
    assert {r["eventID"] for r in acks} == {e["id"] for e in called}
    await until(lambda: len(server.applied) == 2, "both limits told to the resource")
    first = next(d for d in server.applied if d.id == called[0]["id"])
    assert [(f"{i.start:%H:%M}", i.duration, i.value) for i in first.intervals] == [
        ("05:00", timedelta(hours=1), 120_500),
        ("06:00", timedelta(hours=2), 80_250),
        ("08:00", timedelta(hours=1), 120_500),
    ]
    signal = server.desk.signals[f"{DSO}/{first.id}"]
    assert (signal.kind, signal.source) == (SignalKind.IMPORT_LIMIT, DSO)
    assert SignalTarget(TargetKind.GROUP, "group-1") in signal.targets
    # 100 kW all day, 78.5 kW from 08:00 to 09:00 local time: of that hour, more than was called is delivered.
    power = [100_000] * 96
    power[32:36] = [78_500] * 4
    await server.desk.meter(power)
    reports = await until(lambda: _reports(vtn, "DELIVERED_FLEX", 2), "both delivery reports at the VTN")
    values = {r["eventID"]: [_values(i) for i in r["resources"][0]["intervals"]] for r in reports}
    assert values[called[0]["id"]] == [[20.5] * 4, [42] * 4 + [20.5] * 4, [20.5] * 4]
    assert values[called[1]["id"]] == [[20.5] * 16, [20.5] * 24]
    for report, event in ((r, e) for r in reports for e in called if r["eventID"] == e["id"]):
        asked = [(i["id"], i["intervalPeriod"]) for i in event["intervals"]]
        assert [(i["id"], i["intervalPeriod"]) for i in report["resources"][0]["intervals"]] == asked
        assert report["clientName"] == SAMPLES["ven"]["venName"]


async def test_the_vtn_may_be_down_and_we_may_be_killed(vtn: Vtn, party: Callable[[], Any]) -> None:
    event = flex(3, ("10:00", "PT6H", 30))
    await publish(vtn, flexes=[event])
    server = await party()
    await until(lambda: _reports(vtn, "ACK", 1), "the ACK")
    await until(lambda: server.applied, "the limit")
    objects = {name: await vtn.all(name) for name in ("programs", "vens", "resources", "resource_groups", "events")}
    await vtn.kill()
    await server.desk.meter([100_000] * 96)  # is kept while nobody listens
    await until(lambda: "ClientConnector" in server.adapters["openadr3"].status().peers[DSO], "the loss is shown")
    assert server.adapters["openadr3"].status().ready
    assert not server.withdrawn
    server = await party()  # restarted meanwhile: what was taken is known, what is owed too
    await vtn.start()
    for name, items in objects.items():
        for item in items:
            await vtn.add(name, item | _requested(name))
    (report,) = await until(lambda: _reports(vtn, "DELIVERED_FLEX", 1), "the delivery report")
    assert [len(_values(i)) for i in report["resources"][0]["intervals"]] == [24]
    assert await _reports(vtn, "ACK", 0) == []  # the new VTN did not get a second one
    assert not server.withdrawn
    assert [m.head.message_id for m in server.desk.book.messages(FlexRequest)] == [event["id"]]


async def test_a_deleted_event_ends_its_limit(vtn: Vtn, party: Callable[[], Any]) -> None:
    event = flex(4, ("10:00", "PT2H", 30))
    await publish(vtn, flexes=[event])
    server = await party()
    await until(lambda: server.applied, "the limit")
    await vtn.drop("events", event["id"])
    await until(lambda: server.withdrawn == [event["id"]], "the limit is withdrawn")
    assert server.desk.signals[f"{DSO}/{event['id']}"].cancelled
    (row,) = status(server.desk.book, server.clock.now())["requests"]
    assert (row["id"], row["state"]) == (event["id"], "REVOKED")


async def test_what_the_profile_forbids_is_refused_and_told(vtn: Vtn, party: Callable[[], Any]) -> None:
    early = flex(5, ("10:00", "PT2H", 30))
    too_much, too_long = flex(6, ("10:00", "PT2H", 60.5)), flex(7, ("10:00", "PT6H", 5))
    await publish(vtn, baseline=False, flexes=[too_much, too_long, early])
    await vtn.drop("resource_groups", _posted("group")["id"])  # not shown to us yet
    server = await party()
    refused = server.metrics.refused
    await until(lambda: _count(refused, "DER.flex.group") == 3, "all wait for their group")
    await vtn.add("resource_groups", _group("PT4H"))
    await until(lambda: server.applied, "the good one is taken once its group is there")
    assert [d.id for d in server.applied] == [early["id"]]
    assert _count(refused, "DER.flex.available") == 1
    assert _count(refused, "DER.flex.max_duration") == 1
    assert [r["eventID"] for r in await vtn.all("reports")] == [early["id"]]


async def test_offers_become_flex_deltas_and_prognoses_stay_unsaid(vtn: Vtn, party: Callable[[], Any]) -> None:
    await publish(vtn)
    server = await party()
    link = server.adapters["openadr3"]._links[DSO]
    await until(lambda: any(r.kind == "baseline" for r in link.records.values()), "the group's baseline is known")
    now = server.clock.now()
    power = IspSeries.from_runs(CALENDAR, DAY, [Run(41, 8, -12_340)])
    option = OfferOption("o1", Decimal("7.50"), power)
    offer = FlexOffer(head(AGR, DSO, now, "offer"), POINT, now + timedelta(days=1), "EUR", (option,), unsolicited=True)
    plan = Prognosis(head(AGR, DSO, now, "prognosis"), POINT, 1, IspSeries.of(CALENDAR, DAY, [0] * 96))
    await server.desk.say(plan, offer)
    (report,) = await until(lambda: _reports(vtn, "FLEX_DELTA-" + offer.head.message_id, 1), "the flex delta")
    payloads = report["resources"][0]["intervals"][0]["payloads"]
    assert {p["type"]: p["values"] for p in payloads} == {"ACTIVE_FLEX_DELTA": [-12.34], "RESERVED_FLEX_DELTA": [0.0]}


async def _reports(vtn: Vtn, name: str, count: int) -> list[Any]:
    found = [r for r in await vtn.all("reports") if r["reportName"] == name]
    return found if len(found) == count else []


def _values(interval: Any) -> Any:
    return interval["payloads"][0]["values"]


def _count(counter: Any, rule: str) -> float:
    return sum(
        s.value
        for m in counter.collect()
        for s in m.samples
        if s.labels.get("rule") == rule and s.name.endswith("_total")
    )


def _group(longest: str) -> Any:
    group = _posted("group")
    attributes = [a | ({"values": [longest]} if a["type"] == "MAX_DURATION" else {}) for a in group["attributes"]]
    return group | {"attributes": attributes}


def _requested(collection: str) -> dict[str, str]:
    kinds = {"vens": "BL_VEN_REQUEST", "resources": "BL_RESOURCE_REQUEST"}
    return {"objectType": kinds[collection]} if collection in kinds else {}
