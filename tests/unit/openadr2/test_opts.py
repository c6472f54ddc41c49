from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from adapters.openadr2 import model, opts
from adapters.openadr2.lexical import Duration
from datamodels import Quantity


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    home = around.home("one")
    async with around.Vtn(around.Hub(), around.HandClock(rate=60.0), home) as vtn:
        await vtn.register("one")
        await vtn.register("two")
        await vtn.adapter.apply(home, around.plan("d", home, vtn.clock.now() + timedelta(hours=9), (1,)))
        await vtn.poll()
        yield vtn


def _opt(vtn, opt_type: str = "optOut", **fields: object) -> model.OadrCreateOpt:
    defaults = {"target": model.EiTarget(resource_id=("battery",)), "ven_id": "ven-1"}
    return model.OadrCreateOpt(
        opt_id="o1",
        opt_type=opt_type,
        opt_reason="mustRun",
        created=vtn.clock.wall,
        request_id="q",
        **defaults | fields,
    )


def _about(id: str = "d", mod: int = 0) -> model.QualifiedEventId:
    return model.QualifiedEventId(id, mod)


async def test_a_schedule_is_kept_in_market_time(vtn, around) -> None:
    window = model.Available(model.Properties(vtn.clock.wall + timedelta(minutes=1), Duration.seconds(120)))
    forever = model.Available(model.Properties(vtn.clock.wall, Duration()))
    reply = await vtn.say("EiOpt", _opt(vtn, availability=(window, forever), market_context="urn:x"))
    assert (reply.response, reply.opt_id) == (model.EiResponse(200, "q", "OK"), "o1")
    opt = vtn.adapter.opts["one/o1"]
    begin = vtn.clock.now() + timedelta(hours=1)
    assert opt.windows == ((begin, begin + timedelta(hours=2)), (vtn.clock.now(), None))
    assert (opt.type, opt.reason, opt.market_context, opt.resources) == ("optOut", "mustRun", "urn:x", ("battery",))
    hub = around.Hub(documents=dict(vtn.hub.documents))
    async with around.Vtn(hub, vtn.clock) as again:
        assert again.adapter.opts["one/o1"] == opt


async def test_an_opt_for_an_event_outweighs_created_events(vtn) -> None:
    await vtn.opt("d", 0)
    await vtn.say("EiOpt", _opt(vtn, qualified_event_id=_about()))
    assert await vtn.news() == [("d", 0, "ACCEPTED"), ("d", 0, "REJECTED")]
    assert vtn.hub.updates[-1].reason == "optOut mustRun"
    await vtn.opt("d", 0)  # rule 206
    assert len(await vtn.news()) == 2
    reply = await vtn.say("EiOpt", model.OadrCancelOpt("c", "o1", "ven-1"))
    assert (reply.response, reply.opt_id) == (model.EiResponse(200, "c", "OK"), "o1")
    assert vtn.adapter.opts == {}
    await vtn.opt("d", 0)
    assert (await vtn.news())[-1] == ("d", 0, "ACCEPTED")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"qualified_event_id": _about("zzz")}, 452),
        ({"qualified_event_id": _about(mod=1)}, 450),
        ({"qualified_event_id": _about(), "ven_id": "ven-2"}, 452),
        ({"ven_id": "ven-9"}, 463),
    ],
)
async def test_refused_without_effect(vtn, fields: dict, code: int) -> None:
    before = dict(vtn.hub.documents)
    reply = await vtn.say("EiOpt", _opt(vtn, **fields))
    assert (type(reply), reply.response.response_code, reply.opt_id) == (model.OadrCreatedOpt, code, "o1")
    assert vtn.hub.documents == before


async def test_a_negative_window(vtn) -> None:
    window = model.Available(model.Properties(vtn.clock.wall, Duration.seconds(-1)))
    assert (await vtn.say("EiOpt", _opt(vtn, availability=(window,)))).response.response_code == 454


async def test_cancelling_what_is_not_there(vtn) -> None:
    await vtn.say("EiOpt", _opt(vtn))
    for opt_id, ven_id in (("zzz", "ven-1"), ("o1", "ven-2")):
        reply = await vtn.say("EiOpt", model.OadrCancelOpt("c", opt_id, ven_id))
        assert (type(reply), reply.response.response_code) == (model.OadrCanceledOpt, 452)
    assert list(vtn.adapter.opts) == ["one/o1"]


# --- schedules and planning -------------------------------------------------------------------------------------------


def _schedule(vtn, opt_id: str, opt_type: str, begin: float, minutes: float, *, age: float = 0) -> model.OadrCreateOpt:
    """Wall minutes from now; the market runs sixty times as fast."""
    dtstart = vtn.clock.wall + timedelta(minutes=begin)
    window = model.Available(model.Properties(dtstart, Duration.seconds(minutes * 60)))
    created = vtn.clock.wall - timedelta(minutes=age)
    return replace(_opt(vtn, opt_type, availability=(window,)), opt_id=opt_id, created=created)


def _overrides(vtn) -> list[float]:
    return [s.value for s in vtn.hub.samples if s.quantity is Quantity.MANUAL_OVERRIDE]


async def _at(vtn, around, minutes: float, *values: float) -> None:
    vtn.clock.wall += timedelta(minutes=minutes)
    await around.until(lambda: _overrides(vtn) == [*values], 2)


async def test_a_schedule_makes_the_resource_unavailable_in_its_window(vtn, around) -> None:
    await vtn.say("EiOpt", _schedule(vtn, "o1", "optOut", 1, 2))
    await _at(vtn, around, 0, 0)
    await _at(vtn, around, 1.5, 0, 1)
    sample = vtn.hub.samples[-1]
    assert (sample.resource, sample.at) == ("one.battery", vtn.clock.now())
    await _at(vtn, around, 2, 0, 1, 0)


async def test_cancelling_a_schedule_restores_the_resource(vtn, around) -> None:
    await vtn.say("EiOpt", _schedule(vtn, "o1", "optOut", 0, 0))
    await _at(vtn, around, 0, 1)
    await vtn.say("EiOpt", model.OadrCancelOpt("c", "o1", "ven-1"))
    await _at(vtn, around, 0, 1, 0)


@pytest.mark.parametrize(("age", "seen"), [(5, 1), (-5, 0)])
async def test_of_overlapping_schedules_the_newest_decides(vtn, around, age: float, seen: float) -> None:
    """The newest by createdDateTime, whichever came last."""
    await vtn.say("EiOpt", _schedule(vtn, "out", "optOut", 0, 60))
    await vtn.say("EiOpt", _schedule(vtn, "in", "optIn", 10, 10, age=age))
    await _at(vtn, around, 0, 1)
    vtn.clock.wall += timedelta(minutes=15)
    await around.until(lambda: _overrides(vtn) == ([1] if seen else [1, 0]), 2)
    if not seen:
        await _at(vtn, around, 6, 1, 0, 1)


async def test_opted_out_after_a_restart_and_not_for_others(vtn, around) -> None:
    await vtn.say("EiOpt", _schedule(vtn, "o1", "optOut", 0, 0))
    other = _schedule(vtn, "o2", "optOut", 0, 0)
    await vtn.say("EiOpt", replace(other, target=model.EiTarget(resource_id=("toaster",))))
    hub = around.Hub(documents=dict(vtn.hub.documents))
    homes = around.home("one"), around.home("one", "meter")
    async with around.Vtn(hub, vtn.clock, *homes) as again:
        await around.until(lambda: len(hub.samples) == 2)
        assert {(s.resource, s.value) for s in again.hub.samples} == {("one.battery", 1.0), ("one.meter", 0.0)}


async def test_schedules_are_bounded_and_forgotten(vtn, around, monkeypatch) -> None:
    monkeypatch.setattr(opts, "MOST_OPTS", 1)
    await vtn.say("EiOpt", _schedule(vtn, "o1", "optOut", 0, 1))
    refused = await vtn.say("EiOpt", _schedule(vtn, "o2", "optOut", 0, 1))
    assert refused.response.response_code == 459
    vtn.clock.wall += timedelta(minutes=2 + 24)
    await vtn.adapter.withdraw("d")
    await around.until(lambda: vtn.hub.load("opt") == {})
