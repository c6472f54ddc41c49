from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.openadr2 import model
from adapters.openadr2.lexical import Duration


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
