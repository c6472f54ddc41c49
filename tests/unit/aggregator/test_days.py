"""Days of 92, 96 and 100 ISPs, one after the other; metering and its revisions; the common reference."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from support.agr import AGR, DSO, POINT, Agr

from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    FlexOffer,
    MarketCalendar,
    Metering,
    Participant,
    PointView,
    Prognosis,
    Quality,
    Quantity,
    RedispatchBy,
    Role,
    Telemetry,
)
from interop.effects import Instruct
from interop.market.ids import reply_head

CALENDAR = MarketCalendar()
ZONE = CALENDAR.zone
SPRING, AUTUMN, PLAIN = date(2026, 3, 29), date(2026, 10, 25), date(2026, 5, 20)


def local(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE)


def eve(day: date, hour: int, minute: int = 0) -> datetime:
    return local(day - timedelta(days=1), hour, minute)


def live(agr: Agr, day: date, *, silent: frozenset[str] = frozenset()) -> list[Telemetry]:
    """A day that goes as forecast, with cars, pumps and batteries idle; resources in `silent` report nothing."""
    planner = next(d.planner for d in agr.desk.days if d.period == day)
    samples: list[Telemetry] = []
    for k, start in enumerate(CALENDAR.starts(day)):
        for home in planner.homes:
            powers = {home.id: planner.forecast.load_kw[k, home.load] * 1000}
            powers |= {pv.id: -planner.forecast.pv_kw[k, pv.series] * 1000 for pv in home.pvs}
            powers |= {device.id: 0.0 for device in (*home.chargers, *home.heat_pumps, *home.batteries)}
            samples += [
                Telemetry(id, Quantity.MEAN_POWER_W, start, power, 900)
                for id, power in powers.items()
                if id not in silent
            ]
    return samples


# --- clocks that change ----------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "isps"), [(SPRING, 92), (PLAIN, 96), (AUTUMN, 100)])
async def test_a_day_of_any_length_goes_from_prognosis_to_metering(tmp_path: Path, day: date, isps: int) -> None:
    agr = Agr(tmp_path, eve(day, 10), day=day)
    await agr.work()
    (prognosis,) = agr.said(Prognosis)
    assert len(prognosis.power) == isps
    assert prognosis.power.is_complete
    midday = CALENDAR.locate(local(day, 13))[1]
    assert min(p for _, p in prognosis.power) == min(p for k, p in prognosis.power if abs(k - midday) <= 12)
    agr.accept()
    noon = range(midday, midday + 4)
    agr.hear(agr.request("r", dict.fromkeys(noon, (2000, 20000)), expires=eve(day, 12)))
    await agr.work()
    (offer,) = agr.said(FlexOffer)
    assert offer.options[0].power.isps == set(noon)
    agr.accept()
    agr.hear(agr.order(offer))
    await agr.work()
    told = [e.dispatch for e in agr.done if isinstance(e, Instruct)]
    assert {d.end for d in told} == {CALENDAR.day_span(day)[1]}
    agr.clock.at = local(day, 14)
    agr.desk.on_telemetry([s for s in live(agr, day) if s.at < agr.clock.at])
    running = agr.desk.day.operation.running
    await agr.desk.day.operation._repair_from(running + 1)
    assert agr.alarms("plan.stale") == []
    agr.desk.on_telemetry([s for s in live(agr, day) if s.at >= agr.clock.at])
    await agr.work(CALENDAR.day_span(day)[1] + timedelta(hours=1))
    meterings = agr.said(Metering)
    assert [len(m.profiles[0].values) for m in meterings] == [isps, isps]
    assert {m.quality for m in meterings} == {Quality.GOOD}


async def test_prices_are_needed_for_every_isp_of_the_day(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10))
    short = (tmp_path / "tariffs.json").read_text().replace("0.26, ", "", 1)
    (tmp_path / "tariffs.json").write_text(short)
    with pytest.raises(ValueError, match="95 prices, and 2026-05-20 has 96 ISPs"):
        agr.restarted()


# --- day after day ----------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "following"), [(SPRING - timedelta(days=1), 92), (AUTUMN - timedelta(days=1), 100)])
async def test_the_next_day_is_prognosed_when_due_from_what_this_one_brought(
    tmp_path: Path, day: date, following: int
) -> None:
    agr = Agr(tmp_path, eve(day, 10), day=day, rolling=True)
    await agr.work()
    await agr.work(local(day, 9, 59))
    assert len(agr.desk.days) == 1
    await agr.work(local(day, 10, 1))
    agr.accept()
    await agr.work()
    first, second = agr.said(Prognosis)[0], agr.said(Prognosis)[-1]
    tomorrow = day + timedelta(days=1)
    assert [d.period for d in agr.desk.days] == [day, tomorrow]
    assert (first.power.period, second.power.period) == (day, tomorrow)
    assert len(second.power) == following
    assert second.revision == 1
    assert agr.desk.day.period == day, "the running day is the one that is shown"
    await agr.desk.stop()
    agr.restarted()
    agr.desk._catch_up()
    assert [d.period for d in agr.desk.days] == [day, tomorrow]
    assert agr.desk.days[1].planner.baseline().net_w == second.power, "a restart plans the same again"


async def test_a_day_is_closed_when_its_metering_is_final(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10), rolling=True, metering_revised_hours=10)
    await agr.work()
    await agr.work(local(PLAIN, 10))
    tomorrow = PLAIN + timedelta(days=1)
    await agr.work(local(tomorrow, 10, 30))
    assert [d.period for d in agr.desk.days] == [PLAIN, tomorrow, PLAIN + timedelta(days=2)]
    await agr.work(local(tomorrow, 10, 46))
    assert [d.period for d in agr.desk.days] == [tomorrow, PLAIN + timedelta(days=2)]
    await agr.desk.stop()


async def test_without_rolling_one_day_is_planned(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10))
    await agr.work()
    await agr.work(local(PLAIN, 10))
    assert [d.period for d in agr.desk.days] == [PLAIN]


# --- metering ----------------------------------------------------------------------------


async def test_late_readings_make_a_new_revision_while_there_is_time(tmp_path: Path) -> None:
    """A plant is silent for the whole day: its connection is metered without it, uncertain, until its readings come."""
    agr = Agr(tmp_path, eve(PLAIN, 10), metering_revised_hours=24)
    await agr.work()
    agr.desk.on_telemetry(live(agr, PLAIN, silent=frozenset({"pv-2"})))
    over = CALENDAR.day_span(PLAIN)[1]
    await agr.work(over + timedelta(minutes=44))
    assert agr.said(Metering) == []
    await agr.work(over + timedelta(minutes=46))
    first = agr.said(Metering)
    assert [(m.revision, m.quality) for m in first] == [(1, Quality.GOOD), (1, Quality.UNCERTAIN)]
    power = first[1].power()
    assert power is not None
    assert min(p or 0 for p in power.power_w) >= 0, "what nobody measured is not claimed"
    agr.accept()
    await agr.work(over + timedelta(hours=2))
    assert len(agr.said(Metering)) == 2, "nothing new was read"
    late = [s for s in live(agr, PLAIN) if s.resource == "pv-2"]
    agr.desk.on_telemetry(late[:40])
    await agr.work(over + timedelta(hours=3))
    assert len(agr.said(Metering)) == 2, "a day with gaps is not sent again"
    agr.desk.on_telemetry(late)
    await agr.work(over + timedelta(hours=4))
    third = agr.said(Metering)[-1]
    assert (third.ean, third.revision, third.quality) == (first[1].ean, 2, Quality.GOOD)
    power = third.power()
    assert power is not None
    assert min(p or 0 for p in power.power_w) < -3000
    agr.accept()
    await agr.work(over + timedelta(hours=5))
    assert len(agr.said(Metering)) == 3


async def test_readings_that_come_too_late_change_nothing(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10), metering_revised_hours=1)
    await agr.work()
    agr.desk.on_telemetry(live(agr, PLAIN, silent=frozenset({"pv-2"})))
    over = CALENDAR.day_span(PLAIN)[1]
    await agr.work(over + timedelta(minutes=46))
    agr.accept()
    agr.desk.on_telemetry(live(agr, PLAIN))
    await agr.work(over + timedelta(hours=1, minutes=46))
    assert len(agr.said(Metering)) == 2


# --- the common reference ----------------------------------------------------------------------------

CRO = "cro.example.org"


def view(agr: Agr, *points: PointView) -> None:
    """The common reference operator's answer to the open question."""
    question = agr.said(AgrPortfolioQuery)[-1]
    about = reply_head(question.head, agr.clock.at)
    shown = AgrView(CALENDAR.tz, question.period, points)
    agr.hear(
        Acknowledgement(about, question.head.message_id, "AgrPortfolioQuery", accepted=True, view=shown),
        needs_answer=False,
    )


async def test_a_common_reference_is_told_and_asked_before_anything_is_prognosed(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10))
    agr.participants[CRO] = Participant(CRO, Role.CRO)
    await agr.work()
    (update,) = agr.said(AgrPortfolioUpdate)
    assert update.head.recipient == CRO
    assert [c.address for c in update.connections] == [h.connection for h in agr.desk.day.planner.homes]
    assert agr.said(AgrPortfolioQuery) == [], "first the update has to be answered"
    agr.accept()
    await agr.work()
    (question,) = agr.said(AgrPortfolioQuery)
    assert question.period == PLAIN
    assert agr.said(Prognosis) == []
    own = tuple(c.address for c in update.connections)
    view(agr, PointView(POINT, DSO, True, RedispatchBy.AGR, own))
    await agr.work()
    (prognosis,) = agr.said(Prognosis)
    assert (prognosis.head.sender, prognosis.head.recipient) == (AGR, DSO)


async def test_where_there_are_no_connections_nothing_is_prognosed(tmp_path: Path) -> None:
    agr = Agr(tmp_path, eve(PLAIN, 10))
    agr.participants[CRO] = Participant(CRO, Role.CRO)
    await agr.work()
    agr.accept()
    await agr.work()
    view(agr, PointView("ean.871685900000000999", DSO, True, RedispatchBy.AGR, ("ean.871685900000000011",)))
    await agr.work()
    assert agr.said(Prognosis) == []
