"""The VEN against a VTN played by hand: registration, polling, answers, opts, and what survives."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.openadr2 import HandClock, until
from support.openadr2_ven import PEER, HandVtn, Store, battery, distribute, event, signal, ven

from adapters.openadr2 import model
from adapters.openadr2.lexical import Duration
from adapters.openadr2.ven import link
from adapters.openadr2.ven.opts import Wanted
from datamodels import Opt


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_FIRST_PAUSE_S", 0.02)


def kinds(vtn: HandVtn) -> list[str]:
    return [type(m).__name__ for m in vtn.heard]


async def test_registers_offers_reports_asks_for_events_and_answers() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event()]
        adapter = ven(hub, clock, vtn.url, setpoint_is_limit=True)
        await adapter.start()
        created = await vtn.hears(model.OadrCreatedEvent)
        await adapter.stop()
    assert kinds(vtn) == [
        "OadrQueryRegistration",
        "OadrCreatePartyRegistration",
        "OadrRegisterReport",
        "OadrRequestEvent",
        "OadrCreatedEvent",
    ]
    first = vtn.said(model.OadrCreatePartyRegistration)[0]
    assert (first.ven_id, first.registration_id) == (None, None)  # rule 404
    assert (first.ven_name, first.http_pull_model, first.profile_name) == ("one", True, "2.0b")
    assert {r.report_request_id for r in vtn.said(model.OadrRegisterReport)[0].reports} == {"0"}  # rule 311
    asked = vtn.said(model.OadrRequestEvent)[0]
    (response,) = created.event_responses
    assert created.response.response_code == 200
    assert (response.response_code, response.opt_type, response.request_id) == (200, "optIn", asked.request_id)
    (imposed,) = hub.signals
    assert (imposed.kind, imposed.revision, str(imposed.intervals[0].value)) == ("IMPORT_LIMIT", 1, "1000")
    assert imposed.intervals[0].start == clock.from_wall(datetime(2026, 3, 1, 13, tzinfo=UTC))
    assert hub.refusals == []


async def test_resumes_with_its_ids_and_tells_nothing_twice() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event(start=clock.wall - timedelta(minutes=5))]
        for _ in range(2):
            adapter = ven(hub, clock, vtn.url)
            await adapter.start()
            await vtn.hears(model.OadrRequestEvent, len(vtn.said(model.OadrRequestEvent)) + 1)
            await until(lambda: hub.told("interval"))
            await asyncio.sleep(0.1)
            await adapter.stop()
    assert vtn.registrations == 1
    assert len(vtn.said(model.OadrRegisterReport)) == 1
    assert hub.kinds == ["event", "event.active", "event.interval"]
    assert len(vtn.said(model.OadrCreatedEvent)) == 2  # asked again, answered again


async def test_an_answer_that_could_not_be_sent_is_sent_after_a_restart() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event()]
        vtn.replies[model.OadrCreatedEvent] = lambda message: 503
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        await adapter.stop()
        asked = vtn.said(model.OadrRequestEvent)[0].request_id
        vtn.events, vtn.replies, vtn.heard = [], {}, []
        again = ven(hub, clock, vtn.url)
        await again.start()
        created = await vtn.hears(model.OadrCreatedEvent)
        await again.stop()
    assert created.event_responses[0].request_id == asked


async def test_polls_again_at_once_while_something_waits() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url, poll_s=60.0)
        await adapter.start()
        vtn.queue = [
            distribute(event("a"), request="q1"),
            distribute(event("a"), event("b"), request="q2"),
            model.OadrRegisterReport("q3", ()),
            model.OadrUpdateReport("q4", ()),
            model.OadrCancelReport("q5", ("nothing",), report_to_follow=False),
        ]
        canceled = await vtn.hears(model.OadrCanceledReport)
        assert [m.response.request_id for m in vtn.said(model.OadrRegisteredReport)] == ["q3"]
        assert [m.response.request_id for m in vtn.said(model.OadrUpdatedReport)] == ["q4"]
        assert canceled.response.response_code == 452
        answers = {m.event_responses[0].request_id: len(m.event_responses) for m in vtn.said(model.OadrCreatedEvent)}
        assert (answers["q1"], answers["q2"]) == (1, 2)
        await adapter.stop()


async def test_the_requested_poll_frequency_is_kept() -> None:
    hub, clock = Store(), HandClock()
    polls = 0

    def poll(message: model.OadrPoll) -> model.OadrResponse:
        nonlocal polls
        polls += 1
        return model.OadrResponse(model.EiResponse(200, ""))

    async with HandVtn() as vtn:
        vtn.replies[model.OadrPoll] = poll
        adapter = ven(hub, clock, vtn.url, poll_s=0.0)  # the VTN asks for one second
        await adapter.start()
        await until(lambda: polls)
        await asyncio.sleep(0.3)
        assert polls == 1
        await until(lambda: polls == 2)
        await adapter.stop()


async def test_a_vtn_that_is_down_at_the_start_and_later_is_tried_again() -> None:
    hub, clock = Store(), HandClock()
    vtn = HandVtn()
    await vtn.up()
    await vtn.down()
    adapter = ven(hub, clock, vtn.url)
    await adapter.start()
    await until(lambda: "Cannot connect" in adapter.status().peers[PEER])
    assert adapter.status().ready
    await vtn.up()
    await vtn.hears(model.OadrRequestEvent)
    await vtn.down()
    await until(lambda: "Cannot connect" in adapter.status().peers[PEER])
    await vtn.up()
    vtn.queue = [distribute(event())]
    await vtn.hears(model.OadrCreatedEvent)
    assert vtn.registrations == 1
    await until(lambda: adapter.status().peers[PEER].startswith("registered as ven-7"))
    await adapter.stop()
    await vtn.down()


async def test_registers_again_once_when_it_is_not_known_and_then_waits() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event()]
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        stranger = model.OadrResponse(model.EiResponse(463, "", "not registered"))
        vtn.queue = [stranger]
        again = await vtn.hears(model.OadrCreatePartyRegistration, 2)
        assert (again.ven_id, again.registration_id) == ("ven-7", "reg-1")
        await until(lambda: hub.load("vtn.registration")[PEER]["registration_id"] == "reg-2")
        assert len(hub.load("vtn.event")) == 1  # events survive
        vtn.replies[model.OadrPoll] = lambda message: stranger
        vtn.replies[model.OadrCreatePartyRegistration] = lambda message: model.OadrCreatedPartyRegistration(
            model.EiResponse(463, message.request_id, "no"), "VTN", (model.OadrProfile("2.0b", ("simpleHttp",)),)
        )
        await until(lambda: "registration refused: 463" in adapter.status().peers[PEER])
        await until(lambda: vtn.said(model.OadrCreatePartyRegistration)[-1].ven_id is None)
        await adapter.stop()
    assert hub.load("vtn.registration")[PEER]["registration_id"] == ""


async def test_registers_again_when_it_is_asked_to() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        vtn.queue = [model.OadrRequestReregistration("ven-7")]
        again = await vtn.hears(model.OadrCreatePartyRegistration, 2)
        assert vtn.heard.index(vtn.said(model.OadrResponse)[0]) < vtn.heard.index(again)
        assert (again.ven_id, again.registration_id) == ("ven-7", "reg-1")
        await vtn.hears(model.OadrRegisterReport, 2)
        await adapter.stop()


async def test_a_registration_that_the_vtn_cancels_ends_and_stays_ended() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event()]
        adapter = ven(hub, clock, vtn.url, setpoint_is_limit=True)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        vtn.queue = [model.OadrCancelPartyRegistration("c0", "foreign", "ven-7")]
        refused = await vtn.hears(model.OadrCanceledPartyRegistration)
        assert refused.response.response_code == 452
        vtn.queue = [model.OadrCancelPartyRegistration("c1", "reg-1", "ven-7")]
        gone = await vtn.hears(model.OadrCanceledPartyRegistration, 2)
        assert (gone.response.response_code, gone.registration_id, gone.ven_id) == (200, "reg-1", "ven-7")
        assert hub.signals[-1].cancelled
        await adapter.stop()
        again = ven(hub, clock, vtn.url)
        await again.start()
        await asyncio.sleep(0.1)
        assert vtn.registrations == 1
        assert again.status().peers[PEER].startswith("registration cancelled")
        await again.links[PEER].register()
        await until(lambda: vtn.registrations == 2)
        await again.stop()


async def test_we_cancel_our_registration() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        await adapter.links[PEER].cancel_registration()
        told = await vtn.hears(model.OadrCancelPartyRegistration)
        assert (told.registration_id, told.ven_id) == ("reg-1", "ven-7")
        assert adapter.status().peers[PEER].startswith("registration cancelled")
        await adapter.stop()


async def test_another_vtn_than_the_configured_one_is_not_registered_with() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn("vtn") as vtn:
        adapter = ven(hub, clock, vtn.url, vtn_id="VTN")
        await adapter.start()
        await until(lambda: "rule 21" in adapter.status().peers[PEER])
        await adapter.stop()
        assert hub.documents == {}
        lenient = ven(hub, clock, vtn.url, vtn_id="VTN", profile="lenient")
        await lenient.start()
        await until(lambda: "1 deviations" in lenient.status().peers[PEER])
        await lenient.stop()


@pytest.mark.parametrize(
    "reply",
    [b"", b"<no", b"<!DOCTYPE oadrPayload><oadrPayload/>", 500, 302],
    ids=["empty", "broken", "doctype", "500", "redirect"],
)
async def test_an_answer_that_cannot_be_used_changes_nothing(reply: object) -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        before = dict(hub.documents)
        vtn.replies[model.OadrPoll] = lambda message: reply
        await until(lambda: "oadrPoll" in adapter.status().peers[PEER].partition(", ")[0])
        assert hub.documents == before
        vtn.replies = {}
        await until(lambda: adapter.status().peers[PEER].startswith("registered"))
        await adapter.stop()


async def test_a_message_that_no_vtn_sends_is_refused() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        vtn.queue = [
            model.OadrPoll("ven-7"),
            model.OadrRequestReregistration("someone else"),
            replace(model.OadrCancelReport("x", ("y",), report_to_follow=False), schema_version="2.0a"),
        ]
        await vtn.hears(model.OadrCanceledReport)
        await adapter.stop()
    codes = [m.response.response_code for m in vtn.said(model.OadrResponse)]
    assert codes == [451, 452]
    assert vtn.said(model.OadrCanceledReport)[0].response.response_code == 459
    assert vtn.registrations == 1


async def test_opts_out_of_what_our_side_does_not_follow_and_later_when_it_ceases_to() -> None:
    hub, clock = Store(), HandClock()
    able = False
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url, follows=lambda signal: able)
        await adapter.start()
        vtn.queue = [distribute(event("no"))]
        created = await vtn.hears(model.OadrCreatedEvent)
        assert created.event_responses[0].opt_type == "optOut"
        assert hub.signals == []
        able = True
        vtn.queue = [distribute(event("no"), event("yes"), request="r2")]
        created = await vtn.hears(model.OadrCreatedEvent, 2)
        assert {r.qualified_event_id.event_id: r.opt_type for r in created.event_responses} == {
            "no": "optOut",  # said once, until it is modified or our operators say otherwise
            "yes": "optIn",
        }
        able = False
        opt = await vtn.hears(model.OadrCreateOpt)
        assert (opt.qualified_event_id.event_id, opt.opt_type, opt.ven_id) == ("yes", "optOut", "ven-7")
        assert (hub.signals[-1].id, hub.signals[-1].cancelled) == ("yes", True)
        await adapter.stop()


async def test_operators_opt_out_and_in_again_and_say_when_resources_are_not_available() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        vtn.events = [event()]
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        utility = adapter.links[PEER]
        with pytest.raises(KeyError):
            await utility.opt("unknown", "optOut", "economic")
        assert not await adapter.opt_signal(PEER, "unknown", Opt.OPT_OUT, "economic")
        assert not await adapter.opt_signal("nobody", hub.signals[-1].id, Opt.OPT_OUT, "economic")
        assert await adapter.opt_signal(PEER, hub.signals[-1].id, Opt.OPT_OUT, "economic")
        first = await vtn.hears(model.OadrCreateOpt)
        assert (first.opt_reason, first.qualified_event_id.modification_number) == ("economic", 0)
        assert hub.signals[-1].cancelled
        await utility.opt("e1", "optIn", "overrideStatus")
        await vtn.hears(model.OadrCreateOpt, 2)
        assert (hub.signals[-1].cancelled, hub.signals[-1].revision) == (False, 3)

        window = (datetime(2026, 3, 2, 13, tzinfo=UTC), timedelta(hours=1))
        made = await utility.schedule(Wanted("optOut", (window,), resources=("battery",)))
        told = await vtn.hears(model.OadrCreateOpt, 3)
        assert (told.opt_id, told.target.resource_id) == (made, ("battery",))
        assert told.availability[0].properties.duration.span == timedelta(hours=1)
        whole = await utility.schedule(Wanted("optOut", (window,)))
        await vtn.hears(model.OadrCreateOpt, 4)
        vtn.queue = [distribute(event(), event("then", window[0] + timedelta(minutes=30)), request="r9")]
        created = await vtn.hears(model.OadrCreatedEvent, 2)
        assert [r.opt_type for r in created.event_responses] == ["optIn", "optOut"]
        await utility.cancel_opt(whole)
        gone = await vtn.hears(model.OadrCancelOpt)
        assert gone.opt_id == whole
        await until(lambda: f"{PEER}/{whole}" not in hub.load("vtn.opt"))
        with pytest.raises(KeyError):
            await utility.cancel_opt("unknown")
        with pytest.raises(ValueError, match="would be invalid"):
            await utility.schedule(Wanted("perhaps", (window,)))
        await adapter.stop()


async def test_what_cannot_be_stored_is_not_answered() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        hub.broken = True
        vtn.queue = [distribute(event())]
        await until(lambda: adapter.status().peers[PEER].startswith("failed"))
        assert vtn.said(model.OadrCreatedEvent) == []
        assert adapter.status().ready
        hub.broken = False
        vtn.queue = [distribute(event())]
        await vtn.hears(model.OadrCreatedEvent)
        hub.broken = True
        clock.wall = event().event.active_period.properties.dtstart
        await asyncio.sleep(0.6)
        assert hub.told("active") == []
        assert adapter.status().ready
        hub.broken = False
        await until(lambda: hub.told("active"))  # what could not be stored is told once it can
        await adapter.stop()


async def test_two_vtns_share_nothing() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn("A") as one, HandVtn("B") as other:
        one.events = [event("same")]
        first = ven(hub, clock, one.url, battery())
        second = ven(hub, clock, other.url, battery(), peer="other.example", ven_name="two")
        await first.start()
        await second.start()
        await one.hears(model.OadrCreatedEvent)
        other.queue = [distribute(event("same", mod=3), vtn="B")]
        created = await other.hears(model.OadrCreatedEvent)
        assert created.event_responses[0].response_code == 200
        assert sorted(hub.load("vtn.event")) == ["other.example/same", f"{PEER}/same"]
        await first.stop()
        await second.stop()


async def test_a_clock_that_is_set_anew_moves_what_is_imposed() -> None:
    hub, clock = Store(), HandClock()
    start = datetime(2026, 3, 1, 13, tzinfo=UTC)
    async with HandVtn() as vtn:
        vtn.events = [event("e1", start, signal(step_s=60))]
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        clock.set(datetime(2026, 5, 21, tzinfo=UTC), rate=900.0)
        await until(lambda: len(hub.signals) == 2)
        await adapter.stop()
    assert hub.signals[1].revision == 2
    assert hub.signals[1].intervals[0].start == clock.from_wall(start)
    assert hub.signals[1].intervals[0].duration == timedelta(seconds=54000)


async def test_an_answer_or_a_report_that_the_vtn_cannot_take_keeps_nothing_else_from_it() -> None:
    hub, clock = Store(), HandClock()
    once = model.ReportSpecifier(
        "telemetry-status", Duration(), Duration(), (model.SpecifierPayload("battery/status", "x-notApplicable"),)
    )
    async with HandVtn() as vtn:
        vtn.events = [event("a")]
        vtn.requests = (model.ReportRequest("q", once),)
        vtn.replies = {model.OadrCreatedEvent: lambda message: 500, model.OadrUpdateReport: lambda message: 500}
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrCreatedEvent)
        await vtn.hears(model.OadrUpdateReport)
        vtn.replies = {}
        vtn.queue = [distribute(event("a"), event("b"), request="next")]
        created = await vtn.hears(model.OadrCreatedEvent, 2)
        assert len(created.event_responses) == 2
        await adapter.stop()
    assert {rule for _, rule, _ in hub.refusals} == {"oadr.event.answer", "oadr.report.refused"}
    assert list(hub.load("vtn.report")) == [f"{PEER}/q"]  # it is still owed


async def test_an_opt_that_is_taken_back_while_it_is_told_is_taken_back_there_too() -> None:
    hub, clock = Store(), HandClock()
    tasks: list[asyncio.Task[None]] = []
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        hub.slow_s = 0.02
        utility = adapter.links[PEER]

        def created(message: model.OadrCreateOpt) -> model.OadrCreatedOpt:
            async def take_back() -> None:
                await asyncio.sleep(0.01)  # while it is being noted that the VTN has it
                await utility.cancel_opt(message.opt_id)

            tasks.append(asyncio.create_task(take_back()))
            return model.OadrCreatedOpt(model.EiResponse(200, message.request_id), message.opt_id)

        vtn.replies[model.OadrCreateOpt] = created
        made = await utility.schedule(Wanted("optOut", ((clock.wall, timedelta(hours=1)),)))
        assert (await vtn.hears(model.OadrCancelOpt)).opt_id == made
        await asyncio.gather(*tasks)
        await adapter.stop()
