from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from adapters.errors import Rejection
from adapters.openadr2 import codec, model
from adapters.openadr2.lexical import Duration
from datamodels import Quality, Quantity, Telemetry

OK = model.EiResponse(200, "q")
MINUTE = Duration.seconds(60)
POWER = model.ItemBase("powerReal", "RealPower", "W", "k", model.PowerAttributes(Decimal(50), Decimal(230), True))
ENERGY = model.ItemBase("energyReal", "RealEnergy", "Wh", "M")


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    homes = around.home("one"), around.home("one", "meter"), around.home("two")
    async with around.Vtn(around.Hub(), around.HandClock(rate=10.0), *homes, report_interval_s=120) as vtn:
        await vtn.register("one")
        await vtn.register("two")
        yield vtn


def _offer(r_id: str, unit: model.ItemBase | None = POWER, **fields: object) -> model.ReportDescription:
    offer = model.ReportDescription(
        r_id,
        "usage",
        "Mean",
        data_source=model.EiTarget(resource_id=("battery",)),
        item_base=unit,
        sampling_rate=model.SamplingRate(MINUTE, Duration.seconds(3600), False),
    )
    return replace(offer, **fields)


def _offered(
    vtn, *offers: model.ReportDescription, name: str = "METADATA_TELEMETRY_USAGE", id: str = "spec"
) -> model.OadrReport:
    return model.OadrReport("0", id, vtn.clock.wall, descriptions=offers, report_name=name)


async def _register(vtn, *reports: model.OadrReport) -> model.OadrRegisteredReport:
    return await vtn.say("EiReport", model.OadrRegisterReport("q", reports, "ven-1", "0"))


def _update(vtn, request: str, *intervals: model.Interval, ven_id: str = "ven-1") -> model.OadrUpdateReport:
    report = model.OadrReport(request, "spec", vtn.clock.wall, vtn.clock.wall, intervals=intervals)
    return model.OadrUpdateReport("u", (report,), ven_id)


def _interval(r_id: str, value: float, **fields: object) -> model.Interval:
    payload = model.ReportPayload(r_id, model.PayloadFloat(value), data_quality=fields.pop("quality", None))
    return model.Interval((payload,), **fields)


async def test_every_understood_point_is_asked_for(vtn) -> None:
    custom = model.ItemBase("customUnit", "smell", "ou")
    reply = await _register(
        vtn,
        _offered(
            vtn,
            _offer("p"),
            _offer("e", ENERGY, report_type="reading"),
            _offer("c", custom),
            _offer("x", data_source=model.EiTarget(resource_id=("toaster",))),
            _offer("n", data_source=None),
            _offer("b", report_type="baseline"),
        ),
    )
    (request,) = reply.report_requests
    specifier = request.specifier
    assert (reply.response.response_code, reply.response.request_id, reply.ven_id) == (200, "q", "ven-1")
    assert specifier.report_specifier_id == "spec"
    assert [(p.r_id, p.reading_type) for p in specifier.payloads] == [("p", "Mean"), ("e", "Mean")]
    assert specifier.granularity == specifier.report_back_duration == Duration.seconds(120)
    assert specifier.report_interval == model.Properties(vtn.clock.wall, Duration())
    assert request.report_request_id in vtn.hub.load("report_request")
    assert [(r[1], r[2].split(":")[0]) for r in vtn.hub.refusals] == [
        ("oadr.report.unit", "rID 'c'"),
        ("oadr.report.resource", "rID 'x'"),
        ("oadr.report.resource", "rID 'n'"),
        ("oadr.report.unit", "rID 'b'"),
    ]


@pytest.mark.parametrize(("low", "high", "asked"), [(60, 3600, 120), (300, 3600, 300), (1, 7, 7), (11, 11, 11)])
async def test_granularity_is_what_the_ven_can_do(vtn, low: int, high: int, asked: int) -> None:
    rate = model.SamplingRate(Duration.seconds(low), Duration.seconds(high), False)
    reply = await _register(vtn, _offered(vtn, _offer("p", sampling_rate=rate)))
    assert reply.report_requests[0].specifier.granularity == Duration.seconds(asked)


async def test_zero_takes_the_shortest_period_offered(around) -> None:
    async with around.Vtn(around.Hub(), around.HandClock(), around.home("one")) as vtn:
        await vtn.register()
        reply = await _register(vtn, _offered(vtn, _offer("p")))
        assert reply.report_requests[0].specifier.granularity == MINUTE


async def test_further_requests_come_by_poll_one_at_a_time(vtn) -> None:
    status = _offer("s", None, reading_type="x-notApplicable", report_type="x-resourceStatus")
    history = _offered(vtn, _offer("h"), name="METADATA_HISTORY_USAGE", id="history")
    reply = await _register(
        vtn,
        _offered(vtn, _offer("p")),
        history,
        _offered(vtn, _offer("p"), id="more"),
        _offered(vtn, status, name="METADATA_TELEMETRY_STATUS", id="status"),
    )
    assert len(reply.report_requests) == 1
    asked = [await vtn.poll(), await vtn.poll()]
    assert [type(a) for a in asked] == [model.OadrCreateReport] * 2
    assert [len(a.report_requests) for a in asked] == [1, 1]
    assert {a.report_requests[0].specifier.report_specifier_id for a in asked} == {"more", "status"}
    assert type(await vtn.poll()) is model.OadrResponse
    # What the VEN acknowledges is not asked for again; the rest is, once patience has run out.
    pending = tuple(r.report_request_id for r in (*reply.report_requests, *asked[0].report_requests))
    created = model.OadrCreatedReport(model.EiResponse(200, "q9"), (*pending, "unknown"), "ven-1")
    assert (await vtn.say("EiReport", created)).response == model.EiResponse(200, "q9", "OK")
    vtn.clock.wall += timedelta(seconds=40)
    assert (await vtn.poll()).report_requests == asked[1].report_requests
    assert type(await vtn.poll()) is model.OadrResponse


async def test_an_empty_registration_is_fine(vtn) -> None:
    reply = await _register(vtn)
    assert (reply.response.response_code, reply.report_requests) == (200, ())


async def test_a_new_registration_replaces_the_requests(vtn) -> None:
    first = await _register(vtn, _offered(vtn, _offer("p")))
    second = await _register(vtn, _offered(vtn, _offer("p")))
    old, new = (r.report_requests[0].report_request_id for r in (first, second))
    assert old != new
    assert (await vtn.say("EiReport", _update(vtn, old, _interval("p", 1.0)))).response.response_code == 452
    assert (await vtn.say("EiReport", _update(vtn, new, _interval("p", 1.0)))).response.response_code == 200
    assert set(vtn.hub.load("report_request")) == {new}


async def test_measurements_arrive_in_market_time_and_canonical_units(vtn) -> None:
    offers = _offer("p"), _offer("i", reading_type="Direct Read"), _offer("e", ENERGY, report_type="reading")
    request = (await _register(vtn, _offered(vtn, *offers))).report_requests[0].report_request_id
    wall, half = vtn.clock.wall, Duration.seconds(30)
    message = _update(
        vtn,
        request,
        _interval("p", 1.5, dtstart=wall, duration=half),
        _interval("p", -2.0, duration=half, quality="Quality Bad - Sensor Failure"),
        _interval("p", 3.0, quality="Quality Limit - Field/Low"),
        _interval("i", 4.0, dtstart=wall),
        _interval("e", 0.002, dtstart=wall),
    )
    reply = await vtn.say("EiReport", message)
    assert (reply.response, reply.ven_id) == (model.EiResponse(200, "u", "OK"), "ven-1")
    at = vtn.clock.from_wall(wall)
    mean, home = Quantity.MEAN_POWER_W, "one.battery"
    assert vtn.hub.samples == [
        Telemetry(home, mean, at, 1500.0, 300.0),
        Telemetry(home, mean, at + timedelta(minutes=5), -2000.0, 300.0, Quality.BAD),
        Telemetry(home, mean, at + timedelta(minutes=10), 3000.0, 1200.0, Quality.UNCERTAIN),
        Telemetry(home, Quantity.POWER_W, at, 4000.0),
        Telemetry(home, Quantity.IMPORT_ENERGY_WH, at, 2000.0),
    ]


async def test_status_reports(vtn) -> None:
    status = _offer("s", None, reading_type="x-notApplicable", report_type="x-resourceStatus")
    reply = await _register(vtn, _offered(vtn, status, name="METADATA_TELEMETRY_STATUS"))
    request = reply.report_requests[0].report_request_id
    told = model.Interval((model.ReportPayload("s", model.ResourceStatus(True, False)),), dtstart=vtn.clock.wall)
    assert (await vtn.say("EiReport", _update(vtn, request, told))).response.response_code == 200
    assert [(s.quantity, s.value) for s in vtn.hub.samples] == [(Quantity.ONLINE, 1.0), (Quantity.MANUAL_OVERRIDE, 0.0)]
    wrong = await vtn.say("EiReport", _update(vtn, request, _interval("s", 1.0)))
    assert wrong.response.response_code == 459  # rule 510
    assert len(vtn.hub.samples) == 2


async def test_what_is_refused_of_a_report(vtn) -> None:
    request = (await _register(vtn, _offered(vtn, _offer("p")))).report_requests[0].report_request_id
    unasked = await vtn.say("EiReport", _update(vtn, request, _interval("zzz", 1.0), _interval("p", 2.0)))
    assert unasked.response.response_code == 461
    assert [s.value for s in vtn.hub.samples] == [2000.0]
    nobody = await vtn.say("EiReport", _update(vtn, "made-up", _interval("p", 1.0)))
    assert nobody.response.response_code == 452  # rule 304
    foreign = await vtn.say("EiReport", _update(vtn, request, _interval("p", 1.0), ven_id="ven-2"))
    assert foreign.response.response_code == 452
    timeless = _update(vtn, request, _interval("p", 1.0))
    timeless = replace(timeless, reports=(replace(timeless.reports[0], dtstart=None),))
    assert (await vtn.say("EiReport", timeless)).response.response_code == 459
    backwards = _update(vtn, request, _interval("p", 1.0, duration=Duration.seconds(-60)))
    assert (await vtn.say("EiReport", backwards)).response.response_code == 454
    far = vtn.clock.wall.replace(year=9999)
    assert (
        await vtn.say("EiReport", _update(vtn, request, _interval("p", 1.0, dtstart=far)))
    ).response.response_code == 454
    assert len(vtn.hub.samples) == 1


@pytest.mark.parametrize("text", [b"NaN", b"INF", b"1e400"])
async def test_what_is_not_a_number_reaches_nobody(vtn, text: bytes) -> None:
    request = (await _register(vtn, _offered(vtn, _offer("p")))).report_requests[0].report_request_id
    body = codec.encode(_update(vtn, request, _interval("p", 7.25))).replace(b"7.25", text)
    status, reply = await vtn.post("EiReport", body)
    answered = codec.decode(codec.payload_element(codec.read_tree(reply)))
    assert (status, answered.response.response_code, answered.response.request_id) == (200, 454, "u")
    assert vtn.hub.samples == []


# --- what we ask for beyond telemetry --------------------------------------------------------------------------------


async def _history(vtn, name: str = "HISTORY_USAGE", **fields: object) -> None:
    report = _offered(vtn, _offer("h", **fields), name=f"METADATA_{name}", id="history")
    reply = await _register(vtn, report)
    assert (reply.response.response_code, reply.report_requests) == (200, ())


async def test_a_history_is_asked_for_when_it_is_wanted(vtn) -> None:
    await _history(vtn)
    assert type(await vtn.poll()) is model.OadrResponse
    assert vtn.adapter.offers["one/history"].report_name == "HISTORY_USAGE"
    now = vtn.clock.now()
    id = await vtn.adapter.request_report(
        "one", "history", since=now - timedelta(hours=10), until=now - timedelta(hours=5)
    )
    (asked,) = (await vtn.poll()).report_requests
    window = model.Properties(vtn.clock.wall - timedelta(hours=1), Duration.seconds(1800))
    zero = Duration()
    assert asked == model.ReportRequest(
        id, model.ReportSpecifier("history", zero, zero, (model.SpecifierPayload("h", "Mean"),), window)
    )
    quarter = Duration.seconds(900)
    values = [_interval("h", k, dtstart=window.dtstart + k * timedelta(minutes=15), duration=quarter) for k in (0, 1)]
    assert (await vtn.say("EiReport", _update(vtn, id, *values))).response.response_code == 200
    assert [(s.at, s.value, s.duration_s) for s in vtn.hub.samples] == [
        (now - timedelta(hours=10), 0.0, 9000.0),
        (now - timedelta(hours=7.5), 1000.0, 9000.0),
    ]
    # It came once, and is over.
    assert id not in vtn.adapter.requests
    assert (await vtn.say("EiReport", _update(vtn, id, *values))).response.response_code == 452


async def test_one_report_now_and_a_series_with_an_end(vtn) -> None:
    await _register(vtn, _offered(vtn, _offer("p")))
    once = await vtn.adapter.request_report("one", "spec", once=True)
    specifier = (await vtn.poll()).report_requests[0].specifier
    assert (specifier.report_back_duration, specifier.report_interval) == (Duration(), None)  # rule 324
    end = vtn.clock.now() + timedelta(hours=10)
    await vtn.adapter.request_report("one", "spec", until=end)
    specifier = (await vtn.poll()).report_requests[0].specifier
    assert specifier.report_interval == model.Properties(vtn.clock.wall, Duration.seconds(3600))
    assert specifier.report_back_duration == Duration.seconds(120)
    assert (await vtn.say("EiReport", _update(vtn, once, _interval("p", 1.0)))).response.response_code == 200
    assert once not in vtn.hub.load("report_request")
    with pytest.raises(Rejection, match="offers no such report"):
        await vtn.adapter.request_report("one", "nothing")


async def test_green_button_is_kept_as_it_comes(vtn, around) -> None:
    description = model.GreenButton('<feed xmlns="http://www.w3.org/2005/Atom"></feed>')
    await _history(vtn, "HISTORY_GREENBUTTON", item_base=description, reading_type="x-notApplicable")
    id = await vtn.adapter.request_report("one", "history")
    assert (await vtn.poll()).report_requests[0].specifier.report_interval.duration == Duration()
    feed = '<feed xmlns="http://www.w3.org/2005/Atom"><title>&amp; more</title></feed>'
    told = model.Interval((model.GreenButton(feed),), dtstart=vtn.clock.wall, duration=MINUTE)
    assert (await vtn.say("EiReport", _update(vtn, id, told))).response.response_code == 200
    assert vtn.adapter.green_button[f"one/{id}/h"].feed == feed
    assert vtn.hub.received[-1].kind == "oadrUpdateReport"
    async with around.Vtn(around.Hub(documents=dict(vtn.hub.documents)), vtn.clock) as again:
        assert again.adapter.green_button[f"one/{id}/h"].feed == feed


async def test_a_feed_without_canonical_form_is_refused(vtn) -> None:
    feed = '<feed xmlns="http://www.w3.org/2005/Atom"><title xmlns:a="http://a">x</title></feed>'
    told = model.Interval((model.GreenButton(feed),), dtstart=vtn.clock.wall, duration=MINUTE)
    body = (
        codec.encode(_update(vtn, "r", told))
        .replace(b"<atom:title>", b'<atom:title xmlns:a="//a">')
        .replace(b"<title>", b'<title xmlns:a="//a">')
    )
    status, reply = await vtn.post("EiReport", body)
    answered = codec.decode(codec.payload_element(codec.read_tree(reply)))
    assert (status, answered.response.response_code) == (200, 454)


async def test_metadata_is_asked_for_again(vtn) -> None:
    await vtn.adapter.request_metadata("one")
    (asked,) = (await vtn.poll()).report_requests
    assert (asked.specifier.report_specifier_id, asked.specifier.report_interval) == ("METADATA", None)
    assert (await vtn.say("EiReport", model.OadrCreatedReport(OK, (), "ven-1"))).response.response_code == 200
    assert type(await vtn.poll()) is model.OadrResponse
    await _register(vtn, _offered(vtn, _offer("p")))
    assert asked.report_request_id not in vtn.adapter.requests


async def test_a_refused_request_is_not_repeated(vtn) -> None:
    await _history(vtn)
    id = await vtn.adapter.request_report("one", "history")
    await vtn.poll()
    await vtn.say("EiReport", model.OadrCreatedReport(model.EiResponse(461, "q"), (), "ven-1"))
    assert id not in vtn.adapter.requests
    assert vtn.hub.refusals[-1][:2] == ("one", "oadr.report.refused")


# --- cancelling -------------------------------------------------------------------------------------------------------


async def _running(vtn) -> str:
    request = (await _register(vtn, _offered(vtn, _offer("p")))).report_requests[0].report_request_id
    await vtn.say("EiReport", model.OadrCreatedReport(OK, (request,), "ven-1"))
    return request


@pytest.mark.parametrize("code", [200, 452])
async def test_a_report_is_cancelled_by_poll(vtn, code: int) -> None:
    request = await _running(vtn)
    await vtn.adapter.cancel_report(request)
    told = await vtn.poll()
    assert (told.report_request_ids, told.report_to_follow, told.ven_id) == ((request,), False, "ven-1")
    assert type(await vtn.poll()) is model.OadrResponse
    vtn.clock.wall += timedelta(seconds=40)
    assert type(await vtn.poll()) is model.OadrCancelReport
    await vtn.say("EiReport", model.OadrCanceledReport(model.EiResponse(code, "q"), (), "ven-1"))
    assert vtn.hub.load("report_request") == {}
    assert (await vtn.say("EiReport", _update(vtn, request, _interval("p", 1.0)))).response.response_code == 452


async def test_one_more_report_after_the_cancellation(vtn) -> None:
    request = await _running(vtn)
    await vtn.adapter.cancel_report(request, one_more=True)
    assert (await vtn.poll()).report_to_follow is True
    await vtn.say("EiReport", model.OadrCanceledReport(OK, (), "ven-1"))
    assert type(await vtn.poll()) is model.OadrResponse
    assert (await vtn.say("EiReport", _update(vtn, request, _interval("p", 7.0)))).response.response_code == 200
    assert [s.value for s in vtn.hub.samples] == [7000.0]
    assert vtn.hub.load("report_request") == {}


@pytest.mark.parametrize("one_more", [False, True])
async def test_a_report_is_cancelled_in_the_answer_to_one(vtn, one_more: bool) -> None:
    request = await _running(vtn)
    await vtn.adapter.cancel_report(request, one_more=one_more)
    reply = await vtn.say("EiReport", _update(vtn, request, _interval("p", 1.0)))
    assert (reply.response.response_code, reply.cancel_report.report_request_ids) == (200, (request,))
    assert reply.cancel_report.report_to_follow is one_more
    again = await vtn.say("EiReport", _update(vtn, request, _interval("p", 2.0)))
    assert (again.response.response_code, again.cancel_report) == (200 if one_more else 452, None)
    assert vtn.hub.load("report_request") == {}


# --- what has no place, and what VENs ask of us ----------------------------------------------------------------------


async def test_what_telemetry_cannot_hold_is_named(vtn, caplog) -> None:
    caplog.set_level("INFO", "adapters.openadr2")
    status = _offer("s", None, reading_type="x-notApplicable", report_type="x-resourceStatus")
    reply = await _register(vtn, _offered(vtn, status, name="METADATA_TELEMETRY_STATUS"))
    state = model.ResourceStatus(True, False, model.LoadControlState(capacity=model.LoadControlValue(0.5)))
    told = model.Interval((model.ReportPayload("s", state, confidence=80, accuracy=0.5),), dtstart=vtn.clock.wall)
    update = _update(vtn, reply.report_requests[0].report_request_id, told)
    assert (await vtn.say("EiReport", update)).response.response_code == 200
    assert len(vtn.hub.samples) == 2
    assert vtn.hub.refusals == []
    for name in ("confidence", "accuracy", "oadrLoadControlState"):
        assert f"{name} is not carried on" in caplog.text


def _ask(id: str, *, specifier: str = "METADATA", every: Duration | None = None) -> model.ReportRequest:
    points = (model.SpecifierPayload("r", "Mean"),)
    return model.ReportRequest(id, model.ReportSpecifier(specifier, Duration(), every or Duration(), points))


async def test_metadata_of_ours_is_an_empty_set(vtn) -> None:
    asked = model.OadrCreateReport("q", (_ask("once"), _ask("often", every=MINUTE)), "ven-1")
    reply = await vtn.say("EiReport", asked)
    assert (reply.response.response_code, reply.pending_reports) == (200, ("once", "often"))
    told = [await vtn.poll(), await vtn.poll()]
    assert [(type(t), t.reports, t.report_request_id) for t in told] == [(model.OadrRegisterReport, (), "0")] * 2
    assert type(await vtn.poll()) is model.OadrResponse
    assert (await vtn.say("EiReport", model.OadrRegisteredReport(OK, ven_id="ven-1"))).response.response_code == 200
    assert vtn.hub.load("metadata_asked").keys() == {"one/often"}
    assert type(await vtn.poll()) is model.OadrResponse
    vtn.clock.wall += timedelta(minutes=1)
    assert type(await vtn.poll()) is model.OadrRegisterReport
    cancel = await vtn.say("EiReport", model.OadrCancelReport("q", ("often", "x"), False, "ven-1"))
    assert (cancel.response.response_code, cancel.pending_reports) == (452, ())
    assert vtn.hub.load("metadata_asked") == {}


async def test_what_a_ven_asks_in_vain(vtn) -> None:
    usage = model.OadrCreateReport("q", (_ask("m"), _ask("x", specifier="usage")), "ven-1")
    reply = await vtn.say("EiReport", usage)
    assert (reply.response.response_code, reply.pending_reports) == (461, ())
    many = model.OadrCreateReport("q", tuple(_ask(str(n)) for n in range(17)), "ven-1")
    assert (await vtn.say("EiReport", many)).response.response_code == 461
    backwards = model.OadrCreateReport("q", (_ask("m", every=Duration.seconds(-1)),), "ven-1")
    assert (await vtn.say("EiReport", backwards)).response.response_code == 454
    cancel = await vtn.say("EiReport", model.OadrCancelReport("q", ("x",), False, "ven-1"))
    assert (type(cancel), cancel.response.response_code) == (model.OadrCanceledReport, 452)
    requests = model.OadrRegisteredReport(OK, (_ask("x", specifier="usage"),), "ven-1")
    assert (await vtn.say("EiReport", requests)).response.response_code == 461
    assert (await vtn.say("EiReport", model.OadrCanceledReport(OK, ven_id="ven-1"))).response.response_code == 200
    assert vtn.hub.load("metadata_asked") == {}


async def test_requests_survive_a_restart(vtn, around) -> None:
    request = (await _register(vtn, _offered(vtn, _offer("p")))).report_requests[0].report_request_id
    await vtn.say("EiReport", _update(vtn, request, _interval("p", 1.0)))
    hub = around.Hub(documents=dict(vtn.hub.documents))
    async with around.Vtn(hub, vtn.clock, around.home("one")) as again:
        reply = await again.say("EiReport", _update(vtn, request, _interval("p", 1.0)))
        assert reply.response.response_code == 200
        assert len(hub.samples) == 1
        assert type(await again.poll()) is model.OadrResponse
