"""EiEvent at the VTN, over its socket, with a clock that stands until it is moved."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from adapters.errors import Rejection
from adapters.openadr2 import model
from datamodels import Binding, DispatchInterval, DispatchKind, Resource, ResourceKind, ResourceRole

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    homes = around.home("one"), around.home("one", "pv"), around.home("two")
    async with around.Vtn(around.Hub(), around.HandClock(), *homes) as vtn:
        vtn.home, vtn.pv, vtn.other = homes
        await vtn.register("one")
        await vtn.register("two")
        yield vtn


def _events(message: object) -> list[model.EiEvent]:
    assert type(message) is model.OadrDistributeEvent
    return [e.event for e in message.events]


def _request(limit: int | None = None) -> model.OadrRequestEvent:
    return model.OadrRequestEvent("q", "ven-1", limit)


async def test_no_events_is_an_empty_distribute(vtn) -> None:
    reply = await vtn.say("EiEvent", _request())
    assert (reply.request_id, reply.vtn_id, reply.events) == ("q", "GRIDPARLEY", ())
    assert type(await vtn.poll()) is model.OadrResponse


async def test_a_dispatch_becomes_an_event(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1000, -2000), priority=2))
    assert set(vtn.hub.load("event")) == {"d"}  # durable before anything is delivered
    message = await vtn.poll()
    (event,) = _events(message)
    about, period = event.descriptor, event.active_period.properties
    assert (about.event_id, about.modification_number, about.modified) == ("d", 0, None)
    assert (about.priority, about.event_status, about.test_event) == (2, "far", "false")
    assert (period.dtstart, period.duration.span) == (vtn.clock.to_wall(start), 2 * QUARTER)
    assert period.notification.span == timedelta(0)
    (signal,) = event.signals
    assert (signal.signal_name, signal.signal_type, signal.item_base.name) == ("LOAD_DISPATCH", "setpoint", "powerReal")
    assert [i.uid for i in signal.intervals] == ["0", "1"]
    assert [i.payloads[0].payload.value for i in signal.intervals] == [1000.0, -2000.0]
    assert sum((i.duration.span for i in signal.intervals), timedelta()) == period.duration.span
    assert signal.current_value == model.PayloadFloat(0.0)
    assert event.target == model.EiTarget(resource_id=("battery",), ven_id=("ven-1",))
    assert message.events[0].response_required == "always"
    # Only its VEN hears of it, and only once while the answer is awaited.
    assert type(await vtn.poll("ven-2")) is model.OadrResponse
    assert type(await vtn.poll()) is model.OadrResponse
    assert vtn.hub.updates == []


async def test_life_of_an_event(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1000, 2000)))
    await vtn.poll()
    reply = await vtn.opt("d", 0)
    assert reply == model.OadrResponse(model.EiResponse(200, "q", "OK"), "ven-1")
    assert await vtn.news() == [("d", 0, "ACCEPTED")]
    await vtn.opt("d", 0)
    assert len(await vtn.news()) == 1  # the same answer again is no news
    vtn.clock.wall += HOUR + QUARTER
    (event,) = _events(await vtn.say("EiEvent", _request()))
    assert event.descriptor.event_status == "active"
    assert event.signals[0].current_value == model.PayloadFloat(2000.0)
    await around.until(lambda: len(vtn.hub.updates) == 2)
    vtn.clock.wall += HOUR
    await around.until(lambda: len(vtn.hub.updates) == 3)
    assert vtn.hub.statuses == [("d", 0, "ACCEPTED"), ("d", 0, "STARTED"), ("d", 0, "SUCCEEDED")]
    assert _events(await vtn.say("EiEvent", _request())) == []


async def test_started_and_succeeded_by_the_clock(around) -> None:
    """With a clock that runs: 9000 times as fast."""
    home, clock = around.home("one"), around.HandClock(rate=9000.0, real=True)
    async with around.Vtn(around.Hub(), clock, home) as vtn:
        await vtn.register()
        await vtn.adapter.apply(home, around.plan("d", home, clock.now() + QUARTER, (1, 2)))
        await vtn.poll()
        await vtn.opt("d", 0)
        await around.until(lambda: len(vtn.hub.updates) == 3)
        assert vtn.hub.statuses == [("d", 0, "ACCEPTED"), ("d", 0, "STARTED"), ("d", 0, "SUCCEEDED")]
        assert vtn.hub.load("event")["d"]["event"]["closed"] is not None


async def test_silence_is_told_as_aborted(around) -> None:
    home, clock = around.home("one"), around.HandClock(rate=9000.0, real=True)
    async with around.Vtn(around.Hub(), clock, home) as vtn:
        await vtn.adapter.apply(home, around.plan("d", home, clock.now(), (1,)))
        await around.until(lambda: len(vtn.hub.updates) == 1)
        assert vtn.hub.statuses == [("d", 0, "ABORTED")]
        assert "did not answer" in vtn.hub.updates[0].reason


async def test_revisions(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1, 2)))
    await vtn.poll()
    await vtn.opt("d", 0)
    commits = vtn.hub.commits
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (9, 9)))
    assert vtn.hub.commits == commits  # the same revision has no effect
    assert type(await vtn.poll()) is model.OadrResponse

    vtn.clock.wall += timedelta(seconds=5)
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (3, 4), revision=4))
    (event,) = _events(await vtn.poll())
    assert (event.descriptor.event_id, event.descriptor.modification_number) == ("d", 1)
    assert event.descriptor.modified - event.descriptor.created == timedelta(seconds=5)
    assert (await vtn.opt("d", 0)).response.response_code == 450
    assert (await vtn.opt("d", 2)).response.response_code == 450
    assert await vtn.news() == [("d", 0, "ACCEPTED")]
    await vtn.opt("d", 1, "optOut")
    assert await vtn.news() == [("d", 0, "ACCEPTED"), ("d", 4, "REJECTED")]
    await vtn.opt("d", 1, "optIn")  # rule 17: minds may change
    assert (await vtn.news())[-1] == ("d", 4, "ACCEPTED")


async def test_what_has_run_is_kept(vtn, around) -> None:
    start = vtn.clock.now() + QUARTER
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1, 2, 3, 4)))
    vtn.clock.wall += QUARTER * 2.5
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start + 2 * QUARTER, (7, 8), revision=1))
    (event,) = _events(await vtn.poll())
    assert event.active_period.properties.dtstart == vtn.clock.to_wall(start)
    assert [i.payloads[0].payload.value for i in event.signals[0].intervals] == [1.0, 2.0, 7.0, 8.0]
    assert event.signals[0].current_value == model.PayloadFloat(2.0)


async def test_answers_are_judged_one_by_one(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    for id, home in (("a", vtn.home), ("b", vtn.pv), ("c", vtn.other)):
        await vtn.adapter.apply(home, around.plan(id, home, start, (1,)))
    await vtn.poll()

    def response(id: str, code: int = 200) -> model.EventResponse:
        return model.EventResponse(code, "q", model.QualifiedEventId(id, 0), "optIn", "no such signal")

    said = model.OadrCreatedEvent(
        model.EiResponse(200, "q"), "ven-1", (response("a"), response("b", 460), response("c"), response("zzz"))
    )
    reply = await vtn.say("EiEvent", said)
    assert reply.response.response_code == 452  # c is another VEN's, zzz nobody's; a and b count all the same
    assert await vtn.news() == [("a", 0, "ACCEPTED"), ("b", 0, "REJECTED")]
    assert "460 no such signal" in vtn.hub.updates[1].reason
    for empty in ((), None):
        said = model.OadrCreatedEvent(model.EiResponse(200, "q"), "ven-1", empty)
        assert (await vtn.say("EiEvent", said)).response.response_code == 200


async def test_cancel(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1,)))
    await vtn.poll()
    await vtn.opt("d", 0)
    await vtn.adapter.withdraw("d")
    await vtn.adapter.withdraw("d")
    await vtn.adapter.withdraw("unknown")
    (event,) = _events(await vtn.poll())
    assert (event.descriptor.event_status, event.descriptor.modification_number) == ("cancelled", 1)
    await vtn.opt("d", 1)
    assert await vtn.news() == [("d", 0, "ACCEPTED"), ("d", 0, "REVOKED")]
    assert _events(await vtn.say("EiEvent", _request())) == []


async def test_every_live_event_goes_along_in_order(vtn, around) -> None:
    """Rule 61 (nothing is left out) and rule 15 (active by priority, then pending by start)."""
    now = vtn.clock.now()
    for id, begin, priority in (
        ("late", 9, 1),
        ("soon", 2, 3),
        ("none", -1, 0),
        ("third", -2, 3),
        ("first", -1, 1),
        ("gone", 1, 1),
    ):
        plan = around.plan(id, vtn.home, now + begin * QUARTER, (1, 2, 3), priority=priority)
        await vtn.adapter.apply(vtn.home, plan)
    await vtn.adapter.withdraw("gone")
    order = ["first", "third", "none", "soon", "late", "gone"]
    assert [e.descriptor.event_id for e in _events(await vtn.poll())] == order
    assert [e.descriptor.event_id for e in _events(await vtn.say("EiEvent", _request(2)))] == order[:2]
    assert len(_events(await vtn.say("EiEvent", _request(0)))) == 6
    # A later change sends all of them again.
    await vtn.opt("soon", 0)
    await vtn.adapter.apply(vtn.home, around.plan("new", vtn.home, now + QUARTER, (1,)))
    assert len(_events(await vtn.poll())) == 7


async def test_an_unanswered_event_is_sent_again(vtn, around) -> None:
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, vtn.clock.now() + HOUR, (1,)))
    await vtn.poll()
    vtn.clock.wall += timedelta(seconds=29)
    assert type(await vtn.poll()) is model.OadrResponse
    vtn.clock.wall += timedelta(seconds=2)
    assert len(_events(await vtn.poll())) == 1


async def test_a_clock_set_anew_is_a_modification(vtn, around) -> None:
    start = vtn.clock.now() + HOUR
    await vtn.adapter.apply(vtn.home, around.plan("d", vtn.home, start, (1, 2)))
    await vtn.poll()
    await vtn.opt("d", 0)
    vtn.clock.wall += timedelta(seconds=60)
    vtn.clock.set(vtn.clock.now())  # the same time in other words
    assert type(await vtn.poll()) is model.OadrResponse
    vtn.clock.set(vtn.clock.now(), rate=900.0)
    (event,) = _events(await vtn.poll())
    assert event.descriptor.modification_number == 1
    assert [i.duration.span for i in event.signals[0].intervals] == [timedelta(seconds=1)] * 2
    assert event.active_period.properties.dtstart - vtn.clock.wall < timedelta(seconds=4)
    await vtn.opt("d", 1)
    assert await vtn.news() == [("d", 0, "ACCEPTED")]  # the dispatch is the same
    assert type(await vtn.poll()) is model.OadrResponse


async def test_restart(vtn, around) -> None:
    """Everything is there again; nothing turns up under another id."""
    start = vtn.clock.now() + HOUR
    for id, home in (("answered", vtn.home), ("open", vtn.pv), ("refused", vtn.home)):
        await vtn.adapter.apply(home, around.plan(id, home, start, (1,)))
    await vtn.poll()
    await vtn.opt("answered", 0)
    await vtn.opt("refused", 0, "optOut")
    await vtn.news()
    hub = around.Hub(documents=dict(vtn.hub.documents))
    async with around.Vtn(hub, vtn.clock, vtn.home, vtn.pv) as again:
        # No new registration; the unanswered event comes again, same id, same modification.
        events = {e.descriptor.event_id: e.descriptor for e in _events(await again.poll())}
        assert set(events) == {"answered", "open", "refused"}
        assert {e.modification_number for e in events.values()} == {0}
        assert {("answered", 0, "ACCEPTED"), ("refused", 0, "REJECTED")} == set(await again.news())
        await again.opt("open", 0)
        assert (await again.news())[-1] == ("open", 0, "ACCEPTED")
        assert type(await again.poll()) is model.OadrResponse
        await again.adapter.apply(vtn.home, around.plan("answered", vtn.home, start, (5,), revision=1))
        assert max(e.descriptor.modification_number for e in _events(await again.poll())) == 1


async def test_what_cannot_be_carried_is_rejected(vtn, around) -> None:
    now = vtn.clock.now()
    gap = around.plan("gap", vtn.home, now, (1,))
    gap = type(gap)(gap.id, gap.resource, gap.kind, (*gap.intervals, DispatchInterval(now + HOUR, QUARTER, 1)), "t")
    await vtn.adapter.apply(vtn.home, gap)
    await vtn.adapter.apply(vtn.home, around.plan("past", vtn.home, now - HOUR, (1,)))
    meter = Resource("m", "c", ResourceKind.METER, ResourceRole.CONSUMER, 0, 0, Binding("openadr2", "one/m"))
    await vtn.adapter.apply(meter, around.plan("limit", meter, now, (1,), kind=DispatchKind.IMPORT_LIMIT))
    assert await vtn.news() == [("gap", 0, "REJECTED"), ("past", 0, "REJECTED"), ("limit", 0, "REJECTED")]
    assert [u.reason for u in vtn.hub.updates][1] == "its last interval is over"
    assert vtn.hub.load("event") == {}


@pytest.mark.parametrize(
    "binding", [None, Binding("modbus", "x"), Binding("openadr2", "nobody/x"), Binding("openadr2", "one")]
)
async def test_a_resource_that_is_not_ours(vtn, around, binding: Binding | None) -> None:
    stray = Resource("s", "c", ResourceKind.LOAD, ResourceRole.CONSUMER, 0, 10, binding)
    with pytest.raises(Rejection, match=r"oadr\.binding"):
        await vtn.adapter.apply(stray, around.plan("d", stray, vtn.clock.now(), (1,)))


async def test_open_ended(vtn, around) -> None:
    """Rule 47: duration 0 is active until cancelled."""
    plan = around.plan("d", vtn.home, vtn.clock.now(), (1500,), step=timedelta(0))
    await vtn.adapter.apply(vtn.home, plan)
    vtn.clock.wall += timedelta(days=3)
    (event,) = _events(await vtn.poll())
    assert event.descriptor.event_status == "active"
    assert event.active_period.properties.duration.span == timedelta(0)
    assert event.signals[0].current_value == model.PayloadFloat(1500.0)
    await vtn.adapter.withdraw("d")
    (event,) = _events(await vtn.poll())
    assert event.descriptor.event_status == "cancelled"
