"""Events of the programme model at 2.0b VENs, and what VENs say back into it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from support.openadr2_push import PushVen
from support.programmes import programmes

from adapters.openadr2 import model
from adapters.openadr2.lexical import Duration
from adapters.ports import Edit
from datamodels import (
    Availability,
    EventBaseline,
    EventOpt,
    EventSignal,
    GroupMember,
    Opt,
    Programme,
    ProgrammeEvent,
    ProgrammeTarget,
    ResourceGroup,
    SignalInterval,
    Ven,
    VenResource,
    Window,
)

HOUR = timedelta(hours=1)


@pytest.fixture
async def world(around, tmp_path) -> AsyncIterator:
    """A VTN whose market time runs sixty times as fast, and the programme model beside it."""
    clock = around.HandClock(rate=60.0)
    async with programmes(tmp_path / "store", "openadr2", now=clock.now) as (registry, _):
        homes = around.home("one"), around.home("one", "meter"), around.home("two")
        async with around.Vtn(around.Hub(), clock, *homes, programmes=registry) as vtn:
            await vtn.register("one")
            await vtn.register("two")
            await registry.write([Edit(None, Programme(id="p", name="P", market_context="urn:p"), "test")])
            yield World(vtn, registry)


class World:
    def __init__(self, vtn: Any, registry: Any) -> None:
        self.vtn, self.registry = vtn, registry

    def signal(self, payload: str, *values: float | str, unit: str = "", start: float = 1, **more: Any) -> EventSignal:
        begin = self.vtn.clock.now() + start * HOUR
        laid = tuple(SignalInterval(begin + k * HOUR, HOUR, Decimal(str(v))) for k, v in enumerate(values))
        return EventSignal(payload, laid, unit, **more)

    async def publish(self, *signals: EventSignal, id: str = "e", **more: Any) -> ProgrammeEvent:
        event = ProgrammeEvent(id=id, programme="p", signals=signals, **more)
        return await self.put(event)

    async def put(self, event: Any) -> Any:
        before = self.registry.get(type(event), event.id)
        (edit, *_) = await self.registry.write([Edit(before, event, "test")])
        return edit.after

    async def told(self, ven: str = "ven-1") -> tuple[model.OadrEvent, ...]:
        """The events of the next poll; none where it brings none."""
        payload = await self.vtn.poll(ven)
        return payload.events if isinstance(payload, model.OadrDistributeEvent) else ()

    def opt(self, ven: str = "ven-1", event: str = "e") -> EventOpt | None:
        return self.registry.get(EventOpt, f"{event}/{ven}")


async def test_vens_that_register_are_enrolled(world) -> None:
    enrolled = world.registry.all(Ven)
    assert {(v.id, v.name, v.profile) for v in enrolled.values()} == {
        ("ven-1", "one", "2.0b"),
        ("ven-2", "two", "2.0b"),
    }
    resources = {(r.ven, r.name, r.resource) for r in world.registry.all(VenResource).values()}
    assert ("ven-1", "battery", "one.battery") in resources
    await world.vtn.register("one")
    assert len(world.registry.all(Ven)) == 2


async def test_an_event_with_all_its_parts(world) -> None:
    begin = world.vtn.clock.now() + HOUR
    baseline = EventBaseline("usual", (SignalInterval(begin, 2 * HOUR, Decimal("1.5")),), "KW", ("battery",))
    event = await world.publish(
        world.signal("PRICE", "0.25", "0.5", unit="KWH", currency="EUR"),
        world.signal("SIMPLE", 1, 2, device_classes=("EVSE",)),
        priority=3,
        tolerance=5 * HOUR,
        notification=HOUR,
        ramp_up=HOUR / 2,
        recovery=HOUR / 4,
        baseline=baseline,
        test=True,
        comment="a & b",
    )
    (told,) = await world.told()
    about, clock = told.event.descriptor, world.vtn.clock
    assert (about.event_id, about.modification_number, about.modified) == ("e", 0, None)
    assert (about.priority, about.market_context, about.test_event, about.vtn_comment) == (3, "urn:p", "true", "a & b")
    assert (about.event_status, about.created) == ("far", clock.to_wall(event.created))
    second = Duration.seconds
    assert told.event.active_period.properties == model.Properties(
        clock.to_wall(begin), second(120), second(300), second(60), second(30), second(15)
    )
    assert told.event.target == model.EiTarget(ven_id=("ven-1",))
    assert told.response_required == "always"
    price, simple = told.event.signals
    assert (price.signal_name, price.signal_type, price.item_base) == (
        "ELECTRICITY_PRICE",
        "price",
        model.ItemBase("currencyPerKWh", "currencyPerKWh", "EUR"),
    )
    assert [i.payloads[0].payload.value for i in price.intervals] == [0.25, 0.5]
    assert [(i.duration, i.uid) for i in simple.intervals] == [(second(60), "0"), (second(60), "1")]
    assert (simple.item_base, simple.target) == (None, model.EiTarget(end_device_asset=("EVSE",)))
    assert told.event.baseline.resource_id == ("battery",)
    assert told.event.baseline.intervals[0].payloads[0].payload.value == 1500.0


@pytest.mark.parametrize(
    ("payload", "unit", "currency", "value", "expected"),
    [
        ("DISPATCH_SETPOINT", "KW", "", "-2.5", ("LOAD_DISPATCH", "setpoint", "powerReal", -2500.0)),
        ("DISPATCH_SETPOINT_RELATIVE", "KW", "", "1", ("LOAD_DISPATCH", "delta", "powerReal", 1000.0)),
        ("CHARGE_STATE_SETPOINT", "KWH", "", "4", ("CHARGE_STATE", "setpoint", "energyReal", 4000.0)),
        ("IMPORT_CAPACITY_LIMIT", "KW", "", "5", ("LOAD_CONTROL", "x-loadControlCapacity", "", 0.25)),
        ("IMPORT_CAPACITY_LIMIT", "PERCENT", "", "0.5", ("LOAD_CONTROL", "x-loadControlCapacity", "", 0.5)),
        ("CONTROL_LEVEL_OFFSET", "", "", "-3", ("LOAD_CONTROL", "x-loadControlLevelOffset", "", -3.0)),
        ("DEMAND_CHARGE/price", "KW", "EUR", "9", ("DEMAND_CHARGE", "price", "currencyPerKW", 9.0)),
        ("BID_LOAD/setpoint", "KW", "", "9", ("BID_LOAD", "setpoint", "powerReal", 9000.0)),
        ("ELECTRICITY_PRICE/priceMultiplier", "", "", "1.5", ("ELECTRICITY_PRICE", "priceMultiplier", "", 1.5)),
        ("x-anything/level", "", "", "2", ("x-anything", "level", "", 2.0)),
    ],
)
async def test_signal_names_types_and_units(world, payload, unit, currency, value, expected) -> None:
    await world.publish(world.signal(payload, value, unit=unit, currency=currency))
    ((told,),) = [e.event.signals for e in await world.told()]
    item = told.item_base.name if told.item_base else ""
    assert (told.signal_name, told.signal_type, item, told.intervals[0].payloads[0].payload.value) == expected


async def test_what_2_0b_cannot_say_is_named(world, caplog) -> None:
    caplog.set_level("INFO", "adapters.openadr2")
    gap = world.signal("SIMPLE", 1)
    gap = replace(gap, intervals=(*gap.intervals, replace(gap.intervals[0], start=gap.intervals[0].start + 3 * HOUR)))
    late = world.signal("SIMPLE", 1, start=2)
    await world.publish(
        world.signal("SIMPLE", 1), world.signal("ALERT_OTHER", 1), world.signal("EXPORT_PRICE", 1), late
    )
    ((told,),) = [e.event.signals for e in await world.told()]
    assert told.signal_name == "SIMPLE"
    await world.publish(gap, id="gap")
    assert "gap" not in {e.event.descriptor.event_id for e in await world.told()}
    for text in ("ALERT_OTHER", "EXPORT_PRICE", "no gaps"):
        assert text in caplog.text


async def test_answers_go_into_the_model(world) -> None:
    await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    await world.vtn.opt("e", 0)
    assert (world.opt().opt, world.opt().answered) == (Opt.OPT_IN, 0)
    assert await world.told() == ()
    await world.vtn.opt("e", 0, "optOut")
    assert world.opt().opt is Opt.OPT_OUT
    assert (await world.vtn.opt("e", 7)).response.response_code == 450
    assert (await world.vtn.opt("f", 0)).response.response_code == 452
    await world.vtn.opt("e", 0, "optIn", ven_id="ven-2", code=460)
    assert (world.opt("ven-2").opt, world.opt("ven-2").reason) == (Opt.OPT_OUT, "460")
    assert world.vtn.hub.updates == []


async def test_changes_and_cancellation_raise_the_modification(world) -> None:
    event = await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    await world.vtn.opt("e", 0)
    event = await world.put(replace(event, priority=1))
    ((told),) = await world.told()
    assert (told.event.descriptor.modification_number, told.event.descriptor.event_status) == (1, "far")
    assert told.event.descriptor.modified == world.vtn.clock.to_wall(event.modified)
    await world.vtn.opt("e", 1)
    await world.put(replace(event, cancelled=True))
    (told,) = await world.told()
    assert (told.event.descriptor.modification_number, told.event.descriptor.event_status) == (2, "cancelled")
    await world.vtn.opt("e", 2)
    assert await world.told() == ()
    reply = await world.vtn.say("EiEvent", model.OadrRequestEvent("q", "ven-1"))
    assert reply.events == ()


async def test_a_removed_event_is_told_as_cancelled(world) -> None:
    event = await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    await world.registry.write([Edit(event, None, "test")])
    (told,) = await world.told()
    assert (told.event.descriptor.modification_number, told.event.descriptor.event_status) == (1, "cancelled")
    await world.vtn.opt("e", 1)
    assert await world.told() == ()
    assert await world.told("ven-2") == ()  # it had never heard of it


async def test_an_event_removed_while_we_are_down_is_missed_by_its_ven(world, around) -> None:
    event = await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    await world.vtn.opt("e", 0)
    await world.vtn.adapter.stop()
    await world.registry.write([Edit(event, None, "test")])
    hub = around.Hub(documents=dict(world.vtn.hub.documents))
    async with around.Vtn(hub, world.vtn.clock, around.home("one"), programmes=world.registry) as again:
        payload = await again.poll()
        assert (type(payload), payload.events) == (model.OadrDistributeEvent, ())  # rule 61
        assert type(await again.poll()) is model.OadrResponse
        assert not any("event one" in key for _, key in hub.documents)


async def test_answers_are_known_after_a_restart(world, around) -> None:
    await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    await world.vtn.opt("e", 0)
    hub = around.Hub(documents=dict(world.vtn.hub.documents))
    async with around.Vtn(hub, world.vtn.clock, around.home("one"), programmes=world.registry) as again:
        assert type(await again.poll()) is model.OadrResponse
        assert type(await again.poll("ven-2")) is model.OadrDistributeEvent


async def test_no_answer_is_wanted(world) -> None:
    await world.publish(world.signal("SIMPLE", 1), response_required=False)
    (told,) = await world.told()
    assert told.response_required == "never"
    world.vtn.clock.wall += timedelta(seconds=40)
    assert await world.told() == ()


async def test_the_event_clock(world) -> None:
    await world.publish(world.signal("SIMPLE", 1, 2), ramp_up=HOUR / 2)
    statuses = []
    for _ in range(7):
        reply = await world.vtn.say("EiEvent", model.OadrRequestEvent("q", "ven-1"))
        told = [(e.event.descriptor.event_status, e.event.signals[0].current_value.value) for e in reply.events]
        statuses += told or [("gone", 0.0)]
        world.vtn.clock.wall += timedelta(seconds=30)
    assert statuses == [
        ("far", 0.0),
        ("near", 0.0),
        ("active", 1.0),
        ("active", 1.0),
        ("active", 2.0),
        ("active", 2.0),
        ("gone", 0.0),
    ]


async def test_open_ended(world) -> None:
    begin = world.vtn.clock.now() + HOUR
    await world.publish(EventSignal("SIMPLE", (SignalInterval(begin, timedelta(0), Decimal(1)),)))
    (told,) = await world.told()
    assert told.event.active_period.properties.duration == Duration()  # rule 47
    assert [i.duration for i in told.event.signals[0].intervals] == [Duration()]


async def test_order_and_reply_limit(world) -> None:
    for id, priority, start in (("a", 0, -1), ("b", 2, -1), ("c", 1, -1), ("d", 1, 3), ("f", 5, 2)):
        await world.publish(world.signal("SIMPLE", 1, 1, start=start), id=id, priority=priority)
    reply = await world.vtn.say("EiEvent", model.OadrRequestEvent("q", "ven-1"))
    assert [e.event.descriptor.event_id for e in reply.events] == ["c", "b", "a", "f", "d"]  # rule 15, priority 0 last
    reply = await world.vtn.say("EiEvent", model.OadrRequestEvent("q", "ven-1", 2))
    assert [e.event.descriptor.event_id for e in reply.events] == ["c", "b"]


def _target(value: str, kind: str = "") -> ProgrammeTarget:
    return ProgrammeTarget(value, kind)


@pytest.mark.parametrize(
    ("targets", "one", "two"),
    [
        ((), model.EiTarget(ven_id=("ven-1",)), True),
        ((_target("one", "VEN_NAME"),), model.EiTarget(ven_id=("ven-1",)), False),
        ((_target("ven-1", "venID"), _target("two", "VEN_NAME")), model.EiTarget(ven_id=("ven-1",)), True),
        ((_target("meter", "RESOURCE_NAME"),), model.EiTarget(ven_id=("ven-1",), resource_id=("meter",)), False),
        ((_target("meter"),), model.EiTarget(ven_id=("ven-1",), resource_id=("meter",)), False),
        ((_target("street", "GROUP"),), model.EiTarget(ven_id=("ven-1",), group_name=("street",)), False),
        ((_target("town", "GROUP"),), model.EiTarget(ven_id=("ven-1",), group_name=("town",)), False),
        ((_target("m-1", "meterAsset"),), model.EiTarget(ven_id=("ven-1",), meter_asset=("m-1",)), False),
        ((_target("sdp", "POWER_SERVICE_LOCATION"),), None, False),
    ],
)
async def test_an_event_reaches_those_it_names_and_names_them_only(world, targets, one, two: bool) -> None:
    ven = world.registry.get(Ven, "ven-1")
    await world.put(replace(ven, targets=(_target("m-1", "meterAsset"),)))
    meter = next(r for r in world.registry.all(VenResource).values() if (r.ven, r.name) == ("ven-1", "meter"))
    await world.put(ResourceGroup(id="g", name="street", members=(GroupMember(meter.id),)))
    await world.put(ResourceGroup(id="h", name="town", members=(GroupMember("g", is_group=True),)))
    await world.publish(world.signal("SIMPLE", 1), targets=targets)
    assert [e.event.target for e in await world.told()] == ([one] if one else [])
    assert bool(await world.told("ven-2")) is two


async def test_no_market_context_no_event(world) -> None:
    programme = world.registry.get(Programme, "p")
    await world.put(replace(programme, market_context=""))
    await world.publish(world.signal("SIMPLE", 1))
    assert await world.told() == ()
    await world.put(replace(world.registry.get(Programme, "p"), market_context="urn:q"))
    (told,) = await world.told()
    assert told.event.descriptor.market_context == "urn:q"


async def test_opts_of_their_own_message(world) -> None:
    await world.publish(world.signal("SIMPLE", 1))
    await world.told()
    vtn, window = world.vtn, model.Properties(world.vtn.clock.wall, Duration.seconds(60))
    message = model.OadrCreateOpt("o", "optOut", "mustRun", "ven-1", vtn.clock.wall, "q", model.EiTarget())
    about = replace(message, qualified_event_id=model.QualifiedEventId("e", 0))
    assert (await vtn.say("EiOpt", about)).response.response_code == 200
    await vtn.opt("e", 0)  # rule 206
    assert (world.opt().opt, world.opt().reason) == (Opt.OPT_OUT, "mustRun")
    await vtn.say("EiOpt", model.OadrCancelOpt("c", "o", "ven-1"))
    await vtn.opt("e", 0)
    assert world.opt().opt is Opt.OPT_IN

    now = vtn.clock.now()
    schedule = replace(message, opt_id="s", availability=(model.Available(window),), market_context="urn:p")
    await vtn.say("EiOpt", schedule)
    (kept,) = world.registry.all(Availability).values()
    assert (kept.ven, kept.opt, kept.windows, kept.programme) == ("ven-1", Opt.OPT_OUT, (Window(now, now + HOUR),), "p")
    await vtn.say("EiOpt", model.OadrCancelOpt("c", "s", "ven-1"))
    assert world.registry.all(Availability) == {}


async def test_push(world, around) -> None:
    async with PushVen() as ven:
        await world.vtn.register("one", http_pull_model=False, transport_address=ven.address)
        await world.publish(world.signal("SIMPLE", 1))
        await around.until(lambda: ven.told)
        assert [e.event.descriptor.event_id for e in ven.told[0][1].events] == ["e"]
