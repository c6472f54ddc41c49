from collections.abc import AsyncIterator

import pytest

from adapters.openadr2 import model


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    home = around.home("one")
    async with around.Vtn(around.Hub(), around.HandClock(), home) as vtn:
        vtn.home = home
        yield vtn


def _query() -> model.OadrQueryRegistration:
    return model.OadrQueryRegistration("q1")


async def test_query_needs_no_registration(vtn) -> None:
    reply = await vtn.say("EiRegisterParty", _query())
    assert reply.response == model.EiResponse(200, "q1", "OK")
    assert (reply.vtn_id, reply.ven_id, reply.registration_id) == ("GRIDPARLEY", None, None)
    assert reply.profiles == (model.OadrProfile("2.0b", ("simpleHttp",)),)
    assert reply.requested_poll_freq.span.total_seconds() == 10


async def test_registration_gives_ids_that_last(vtn) -> None:
    first = await vtn.register()
    assert (first.response.response_code, first.ven_id) == (200, "ven-1")
    assert first.registration_id
    again = await vtn.register(ven_id="ven-1", registration_id=first.registration_id)
    assert (again.ven_id, again.registration_id) == ("ven-1", first.registration_id)
    assert vtn.hub.load("ven")["one"]["registration_id"] == first.registration_id
    assert [r.kind for r in vtn.hub.received] == ["oadrCreatePartyRegistration"] * 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"profile_name": "2.0a"}, 459),
        ({"transport_name": "xmpp"}, 459),
        ({"http_pull_model": False}, 469),
        ({"http_pull_model": False, "transport_address": "http://x/"}, 459),
        ({"http_pull_model": False, "transport_address": "https://127.0.0.1:1"}, 459),
        ({"http_pull_model": False, "transport_address": "http://u:p@127.0.0.1:1"}, 459),
        ({"http_pull_model": False, "transport_address": "http://127.0.0.1:1?a=b"}, 459),
        ({"http_pull_model": False, "transport_address": "http://127.0.0.1:x"}, 459),
        ({"ven_name": "nobody"}, 463),
        ({"ven_name": None}, 463),
        ({"ven_id": "ven-9"}, 452),
        ({"registration_id": "made-up"}, 452),
    ],
)
async def test_refused_without_effect(vtn, fields: dict, code: int) -> None:
    before = dict(vtn.hub.documents)
    reply = await vtn.register(**fields)
    assert (reply.response.response_code, reply.ven_id, reply.registration_id) == (code, None, None)
    assert vtn.hub.documents == before
    assert len(vtn.hub.refusals) == 1


async def test_strangers_may_register_where_allowed(around) -> None:
    async with around.Vtn(around.Hub(), around.HandClock(), allow_registration=True, vens=[]) as vtn:
        reply = await vtn.register("new")
        assert reply.response.response_code == 200
        assert (await vtn.poll(reply.ven_id)).response.response_code == 200
        assert "new" in vtn.adapter.status().peers


async def test_nobody_else_is_served(vtn) -> None:
    for ven_id in ("ven-1", "ven-9"):
        reply = await vtn.poll(ven_id)
        assert reply.response.response_code == 463
        report = await vtn.say("EiReport", model.OadrUpdateReport("q", ven_id=ven_id))
        assert (type(report), report.response.response_code) == (model.OadrUpdatedReport, 463)
    assert (await vtn.say("EiReport", model.OadrUpdateReport("q"))).response.response_code == 463
    event = await vtn.say("EiEvent", model.OadrRequestEvent("q", "ven-1"))
    assert (type(event), event.response.response_code) == (model.OadrDistributeEvent, 463)
    assert {r[1] for r in vtn.hub.refusals} == {"oadr.unregistered"}
    assert vtn.hub.documents == {}


async def test_the_ven_cancels(vtn, around) -> None:
    registered = await vtn.register()
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, vtn.clock.now(), (100,)))
    wrong = await vtn.say("EiRegisterParty", model.OadrCancelPartyRegistration("q", "made-up", "ven-1"))
    assert (type(wrong), wrong.response.response_code) == (model.OadrCanceledPartyRegistration, 452)
    assert (await vtn.poll()).events

    reply = await vtn.say(
        "EiRegisterParty", model.OadrCancelPartyRegistration("q2", registered.registration_id, "ven-1")
    )
    assert type(reply) is model.OadrCanceledPartyRegistration
    assert reply.response == model.EiResponse(200, "q2", "OK")
    assert (reply.registration_id, reply.ven_id) == (registered.registration_id, "ven-1")
    assert (await vtn.poll()).response.response_code == 463
    assert ("d", 0, "ABORTED") in await vtn.news()
    # The identity stays: the same VEN comes back under the same venID.
    assert (await vtn.register()).ven_id == "ven-1"
    assert type(await vtn.poll()) is model.OadrResponse


async def test_the_vtn_cancels(vtn) -> None:
    registered = await vtn.register()
    await vtn.adapter.cancel_registration("one")
    asked = await vtn.poll()
    assert type(asked) is model.OadrCancelPartyRegistration
    assert asked.registration_id == registered.registration_id
    done = model.OadrCanceledPartyRegistration(model.EiResponse(200, asked.request_id), asked.registration_id, "ven-1")
    assert (await vtn.say("EiRegisterParty", done)).response.response_code == 200
    assert (await vtn.poll()).response.response_code == 463


async def test_the_vtn_asks_to_register_again(vtn) -> None:
    registered = await vtn.register()
    await vtn.adapter.request_reregistration("one")
    assert await vtn.poll() == model.OadrRequestReregistration("ven-1")
    heard = model.OadrResponse(model.EiResponse(200, ""), "ven-1")
    assert (await vtn.say("EiRegisterParty", heard)).response.response_code == 200
    await vtn.register(ven_id="ven-1", registration_id=registered.registration_id)
    assert type(await vtn.poll()) is model.OadrResponse
    assert vtn.hub.load("ven")["one"]["pending"] == ""


@pytest.mark.parametrize("ven_id", ["123", "0123", "true", "null", "1.2.3", "1e5", "é", "a & <b>", "x" * 256])
async def test_ids_are_never_converted(around, ven_id: str) -> None:
    async with around.Vtn(around.Hub(), around.HandClock(), vens=[{"ven_name": ven_id, "ven_id": ven_id}]) as vtn:
        assert (await vtn.register(ven_id)).ven_id == ven_id
        assert (await vtn.poll(ven_id)).ven_id == ven_id
        assert vtn.hub.load("ven")[ven_id]["ven_id"] == ven_id


async def test_an_id_that_is_too_long(vtn) -> None:
    reply = await vtn.poll("x" * 257)
    assert (reply.response.response_code, reply.ven_id) == (463, None)
