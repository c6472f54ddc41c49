"""The VEN's reports: every row of the table of requests, the sampling clock, cancelling, restarts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.openadr2 import HandClock, until
from support.openadr2_ven import PEER, HandVtn, Store, battery, ven

from adapters.openadr2 import model
from adapters.openadr2.lexical import Duration
from adapters.openadr2.ven import reports
from adapters.openadr2.ven.config import read_vtns
from adapters.openadr2.ven.records import Job
from datamodels import Problem, Quality, Quantity, Telemetry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
S = timedelta(seconds=1)
CONFIG = read_vtns([{"peer": PEER, "url": "https://utility.example", "ven_name": "one", "sampling_s": 5}])[0]
OURS = {"battery": battery()}


def request(
    granularity_s: float,
    back_s: float,
    start: datetime | None = None,
    length_s: float = 0,
    *,
    specifier: str = "telemetry-usage",
    points: tuple[str, ...] = ("battery/power",),
    id: str = "q1",
) -> model.ReportRequest:
    interval = None if start is None else model.Properties(start, Duration.seconds(length_s))
    payloads = tuple(model.SpecifierPayload(p, "Mean") for p in points)
    asked = model.ReportSpecifier(
        specifier, Duration.seconds(granularity_s), Duration.seconds(back_s), payloads, interval
    )
    return model.ReportRequest(id, asked)


def job(*arguments, now: datetime = NOW, **more) -> Job:
    made = reports.job_of(request(*arguments, **more), CONFIG, OURS, now)
    assert isinstance(made, Job), made
    return made


def sends(made: Job | None, until_s: int) -> tuple[list[int], Job | None]:
    """Seconds at which reports go out, looked at every second, and what is left of the job."""
    out = []
    for n in range(until_s + 1):
        if made is None:
            break
        end = reports.due_at(made, NOW + n * S)
        if end is not None:
            out.append(n)
            made = reports.sent(made, end)
    return out, made


@pytest.mark.parametrize(
    ("asked", "at", "left"),
    [
        (request(10, 0), [0], False),  # one-shot (rule 324)
        (request(0, 0, None), [0], False),
        (request(7, 21, NOW, 63), [21, 42, 63], False),  # any granularity, to the end
        (request(45, 45, NOW, 100), [45, 90, 100], False),
        (request(10, 20, NOW), [20, 40, 60, 80, 100], True),  # until it is cancelled
        (request(0, 30, NOW), [30, 60, 90], True),  # on change
        (request(10, 20, NOW + 50 * S), [70, 90], True),
        (request(10, 20, NOW - 10 * S), [10, 30, 50, 70, 90], True),
        (request(0, 0, NOW - 600 * S, 600, specifier="history-usage"), [0], False),
        (request(0, 0, NOW - 600 * S, 630, specifier="history-usage"), [30], False),  # when its window is over
        (request(0, 0, NOW - 600 * S, specifier="history-usage"), [0], False),  # all
        (request(0, 0, specifier="METADATA", points=()), [0], False),
        (request(0, 40, NOW, specifier="METADATA", points=()), [40, 80], True),  # rule 306
    ],
)
def test_when_reports_go_out(asked: model.ReportRequest, at: list[int], left: bool) -> None:
    made = reports.job_of(asked, CONFIG, OURS, NOW)
    assert isinstance(made, Job)
    times, rest = sends(made, 100)
    assert (times, rest is not None) == (at, left)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (request(10, 10, specifier="unknown"), "461"),
        (request(10, 10, points=("unknown",)), "461"),
        (request(1, 10), "461"),
        (request(10, -10), "454"),
    ],
)
def test_what_cannot_be_reported(asked: model.ReportRequest, code: str) -> None:
    problem = reports.job_of(asked, CONFIG, OURS, NOW)
    assert isinstance(problem, Problem)
    assert problem.reason == code


def told(made: Job, samples: list[Telemetry], now: datetime, clock: HandClock | None = None) -> model.OadrReport:
    clock = clock or HandClock()
    end = reports.due_at(made, now)
    assert end is not None
    by = {}
    for sample in samples:
        by.setdefault((sample.resource, sample.quantity), []).append(sample)
    points = {p.r_id: p for p in reports.offer(OURS)[made.specifier]}
    return reports.message(reports.Due.of(made, end), points, by, clock, now)


def power(clock: HandClock, second: float, watts: float, quality: Quality = Quality.GOOD, **more) -> Telemetry:
    return Telemetry("battery", Quantity.POWER_W, clock.from_wall(NOW + second * S), watts, quality=quality, **more)


def values(report: model.OadrReport) -> list[tuple[float, float, float]]:
    found = []
    for interval in report.intervals:
        assert interval.dtstart is not None  # rule 342
        assert interval.duration is not None
        seconds = (interval.dtstart - NOW) / S
        found.append((seconds, interval.duration.span / S, interval.payloads[0].payload.value))
    return found


@pytest.mark.parametrize("granularity_s", [7, 45, 660])
def test_the_sampling_clock_is_dtstart_and_multiples_of_any_granularity(granularity_s: int) -> None:
    clock = HandClock()
    made = job(granularity_s, 3 * granularity_s, NOW)
    samples = [power(clock, n, float(n // granularity_s)) for n in range(3 * granularity_s)]
    report = told(made, samples, NOW + 3 * granularity_s * S)
    assert values(report) == [(n * granularity_s, granularity_s, float(n)) for n in range(3)]
    assert [interval.uid for interval in report.intervals] == ["0", "1", "2"]


def test_after_a_pause_one_report_covers_all_that_was_missed() -> None:
    clock = HandClock()
    made = job(10, 10, NOW)
    report = told(made, [power(clock, n, float(n // 10)) for n in range(60)], NOW + 57 * S)
    assert [value for _, _, value in values(report)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    after = reports.sent(made, NOW + 50 * S)
    assert after is not None
    assert reports.next_due(after) == NOW + 60 * S


def test_an_interval_that_is_not_over_comes_with_the_next_report() -> None:
    clock = HandClock()
    made = job(20, 30, NOW)
    samples = [power(clock, n, 1.0) for n in range(60)]
    assert values(told(made, samples, NOW + 30 * S)) == [(0, 20, 1.0)]
    after = reports.sent(made, NOW + 30 * S)
    assert after is not None
    assert values(told(after, samples, NOW + 60 * S)) == [(20, 20, 1.0), (40, 20, 1.0)]


def test_means_are_weighted_and_preferred_and_bad_quality_is_said() -> None:
    clock = HandClock()
    made = job(10, 10, NOW)
    mean = Telemetry("battery", Quantity.MEAN_POWER_W, clock.from_wall(NOW), 100.0, 2.0)
    longer = replace(mean, at=clock.from_wall(NOW + 2 * S), value=200.0, duration_s=8.0, quality=Quality.UNCERTAIN)
    report = told(made, [mean, longer, power(clock, 5, 9999.0)], NOW + 10 * S)
    assert values(report) == [(0, 10, 180.0)]
    assert report.intervals[0].payloads[0].data_quality == "Quality Uncertain - Non Specific"
    bad = told(made, [power(clock, 5, 1.0, Quality.BAD)], NOW + 10 * S)
    assert bad.intervals[0].payloads[0].data_quality == "Quality Bad - Non Specific"


def test_on_change_sends_what_was_measured_as_it_was() -> None:
    clock = HandClock()
    report = told(job(0, 30, NOW), [power(clock, s, s) for s in (-1, 1.0, 17.0, 30.0)], NOW + 30 * S)
    assert [(at, value) for at, _, value in values(report)] == [(1.0, 1.0), (17.0, 17.0)]


def test_history_is_the_window_that_was_asked_for() -> None:
    clock = HandClock()
    samples = [power(clock, s, float(s)) for s in (-700, -600, -300, -1, 5)]
    asked = job(0, 0, NOW - 600 * S, 600, specifier="history-usage")
    assert [value for _, _, value in values(told(asked, samples, NOW))] == [-600.0, -300.0, -1.0]
    coarse = job(300, 0, NOW - 600 * S, 600, specifier="history-usage")
    assert values(told(coarse, samples, NOW)) == [(-600, 300, -600.0), (-300, 300, -150.5)]


def test_rules_331_and_510_status_is_the_state_now() -> None:
    clock = HandClock()
    made = job(0, 0, specifier="telemetry-status", points=("battery/status",))
    at = clock.from_wall(NOW - 5 * S)
    online = Telemetry("battery", Quantity.ONLINE, at, 1.0)
    override = Telemetry("battery", Quantity.MANUAL_OVERRIDE, at, 1.0)
    (interval,) = told(made, [online, override], NOW).intervals
    assert interval.payloads[0].payload == model.ResourceStatus(online=True, manual_override=True)
    (measured,) = told(made, [power(clock, -5, 1.0)], NOW).intervals
    assert measured.payloads[0].payload.online
    assert Quantity.POWER_W in reports.offer(OURS)["telemetry-status"][0].quantities
    (silent,) = told(made, [], NOW).intervals
    assert silent.payloads[0].payload == model.ResourceStatus(online=False, manual_override=False)


def test_times_of_an_accelerated_market_are_wall_times() -> None:
    clock = HandClock(rate=900.0)
    hour = Telemetry("battery", Quantity.MEAN_POWER_W, clock.from_wall(NOW), 1200.0, 3600.0)
    report = told(job(0, 10, NOW), [hour], NOW + 10 * S, clock)
    assert values(report) == [(0.0, 4.0, 1200.0)]


def test_the_offer_has_units_and_rates_and_each_report_its_own_ids() -> None:
    offers = {r.report_name: r for r in reports.metadata(CONFIG, OURS, NOW)}
    assert list(offers) == ["METADATA_TELEMETRY_USAGE", "METADATA_TELEMETRY_STATUS", "METADATA_HISTORY_USAGE"]
    usage = offers["METADATA_TELEMETRY_USAGE"]
    assert [d.r_id for d in usage.descriptions] == ["battery/power", "battery/stored"]
    assert all(d.item_base is not None and d.sampling_rate is not None for d in usage.descriptions)  # rule 305
    assert len({r.report_specifier_id for r in offers.values()}) == 3
    assert reports.metadata(replace(CONFIG, reports=False), OURS, NOW) == ()


# --- over the wire ------------------------------------------------------------------------------------------------


async def test_requested_reports_are_confirmed_sent_cancelled_and_survive() -> None:
    hub, clock = Store(), HandClock(real=True)
    begin = datetime.now(UTC)
    usage = request(0, 1, begin, id="usage")
    status = request(0, 1, begin, specifier="telemetry-status", points=("battery/status",), id="status")
    bad = request(10, 10, begin, points=("nothing",), id="bad")
    hub.measured = [Telemetry("battery", Quantity.POWER_W, clock.from_wall(begin + n / 10 * S), 5.0) for n in range(80)]
    async with HandVtn() as vtn:
        vtn.requests = (usage, status)
        adapter = ven(hub, clock, vtn.url, battery(), sampling_s=1)
        await adapter.start()
        confirmed = await vtn.hears(model.OadrCreatedReport)
        assert set(confirmed.pending_reports) == {"usage", "status"}  # rule 329
        vtn.queue = [model.OadrCreateReport("c1", (bad,))]
        refused = await vtn.hears(model.OadrCreatedReport, 2)
        assert (refused.response.response_code, refused.response.request_id) == (461, "c1")
        assert set(refused.pending_reports) == {"usage", "status"}
        await vtn.hears(model.OadrUpdateReport, 2)
        kinds = {m.reports[0].report_request_id: m.reports[0] for m in vtn.said(model.OadrUpdateReport)}
        assert {type(i.payloads[0].payload) for i in kinds["status"].intervals} == {model.ResourceStatus}
        assert {i.payloads[0].payload.value for i in kinds["usage"].intervals} == {5.0}
        vtn.queue = [model.OadrCancelReport("c2", ("status", "unknown"), report_to_follow=False)]
        gone = await vtn.hears(model.OadrCanceledReport)
        assert (gone.response.response_code, gone.pending_reports) == (452, ("usage",))
        await adapter.stop()
        before = len(vtn.said(model.OadrUpdateReport))

        again = ven(hub, clock, vtn.url, battery(), sampling_s=1)
        await again.start()
        await vtn.hears(model.OadrUpdateReport, before + 1)
        sent = [m.reports[0] for m in vtn.said(model.OadrUpdateReport) if m.reports[0].report_request_id == "usage"]
        times = [i.dtstart for report in sent for i in report.intervals]
        assert len(times) == len(set(times))
        assert times == sorted(times)
        vtn.queue = [model.OadrCancelReport("c3", ("usage",), report_to_follow=True)]
        count = len(vtn.said(model.OadrUpdateReport))
        assert (await vtn.hears(model.OadrCanceledReport, 2)).pending_reports == ()
        await until(lambda: hub.load("vtn.report") == {})
        assert len(vtn.said(model.OadrUpdateReport)) >= count + 1  # the last one follows
        await again.stop()


async def test_rule_327_metadata_is_confirmed_and_then_registered_again() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn:
        adapter = ven(hub, clock, vtn.url, battery())
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        asked = request(0, 0, specifier="METADATA", points=("x",), id="meta")
        vtn.queue = [model.OadrCreateReport("c1", (asked,))]
        again = await vtn.hears(model.OadrRegisterReport, 2)
        assert vtn.heard.index(vtn.said(model.OadrCreatedReport)[0]) < vtn.heard.index(again)
        await adapter.stop()
    assert hub.load("vtn.report") == {}


async def test_a_report_can_be_cancelled_in_the_answer_and_ends_where_the_vtn_forgot_it() -> None:
    hub, clock = Store(), HandClock()
    once = [request(0, 0, specifier="telemetry-status", points=("battery/status",), id=i) for i in ("a", "b")]
    usage = request(0, 3600, clock.wall, id="usage")
    async with HandVtn() as vtn:
        vtn.requests = (*once, usage)

        def update(message: model.OadrUpdateReport) -> model.OadrUpdatedReport:
            if message.reports[0].report_request_id == "a":
                return model.OadrUpdatedReport(model.EiResponse(452, message.request_id, "unknown"))
            cancel = model.OadrCancelReport("c", ("usage",), report_to_follow=False)
            return model.OadrUpdatedReport(model.EiResponse(200, message.request_id), cancel)

        vtn.replies[model.OadrUpdateReport] = update
        adapter = ven(hub, clock, vtn.url, battery())
        await adapter.start()
        canceled = await vtn.hears(model.OadrCanceledReport)
        assert canceled.response.response_code == 200
        await until(lambda: hub.load("vtn.report") == {})
        await asyncio.sleep(0.05)
        await adapter.stop()
    assert [rule for _, rule, _ in hub.refusals] == ["oadr.report.request"]
