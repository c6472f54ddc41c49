"""Each rule of `validate`: an object that keeps it, and the smallest change that breaks it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from datamodels import (
    CongestionPoint,
    Connection,
    Dispatch,
    DispatchInterval,
    DispatchKind,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    GridSignal,
    Head,
    IspSeries,
    MarketCalendar,
    Metering,
    MeteringKind,
    MeterProfile,
    OfferOption,
    Prognosis,
    RequestIsp,
    Resource,
    ResourceKind,
    ResourceRole,
    Run,
    SettlementRow,
    SignalInterval,
    SignalKind,
    Storage,
    validate,
)

CALENDAR, DAY = MarketCalendar(), date(2026, 5, 20)
NOW, QUARTER = datetime(2026, 5, 20, 12, tzinfo=UTC), timedelta(minutes=15)
HEAD = Head("agr.example.com", "dso.example.com", "m-1", "c-1", NOW)
POWER = IspSeries.from_runs(CALENDAR, DAY, [Run(40, 4, -4_000)])
EMPTY = IspSeries.empty(CALENDAR, DAY)

PROGNOSIS = Prognosis(HEAD, "ean.1", 1, IspSeries.of(CALENDAR, DAY, [500] * 96))
WANTED = RequestIsp(40, 4, Disposition.REQUESTED, -4_000, 0)
ROOM = RequestIsp(1, 39, Disposition.AVAILABLE, -9_000, 9_000)
REQUEST = FlexRequest(HEAD, "ean.1", CALENDAR, DAY, 1, NOW, (ROOM, WANTED))
OPTION = OfferOption("opt-1", Decimal("8.00"), POWER, Decimal("0.50"))
OFFER = FlexOffer(HEAD, "ean.1", NOW, "EUR", (OPTION,), request="m-0")
ORDER = FlexOrder(HEAD, "ean.1", "o-1", Decimal("8.00"), "EUR", POWER, offer="m-2")
METERING = Metering(
    HEAD, "E871685900000000010", CALENDAR, DAY, 1, (MeterProfile(MeteringKind.POWER, "kW", (Decimal(1),) * 96),)
)
ROW = SettlementRow("o-1", "ean.1", DAY, Decimal(8), Decimal(1), Decimal(7), ())
STORE = Storage(10_000, 4_000, 5_000, 5_000, 0.95, 0.95)
BATTERY = Resource("r", "ean.1", ResourceKind.BATTERY, ResourceRole.STORAGE, -5_000, 5_000, flexibility=STORE)
DISPATCH = Dispatch(
    "d",
    "r",
    DispatchKind.IMPORT_LIMIT,
    (DispatchInterval(NOW, QUARTER, 0), DispatchInterval(NOW + QUARTER, QUARTER, 5)),
    "o-1",
)
SIGNAL = GridSignal("s", "dso", SignalKind.IMPORT_LIMIT, (SignalInterval(NOW, QUARTER, Decimal(5)),), priority=1)
POINT = CongestionPoint("ean.1", "dso.example.com", DAY, DAY)
CONNECTION = Connection("ean.2", "ean.1", DAY)


def with_options(*options: OfferOption) -> FlexOffer:
    return replace(OFFER, options=options)


def with_isps(*isps: RequestIsp) -> FlexRequest:
    return replace(REQUEST, isps=isps)


GOOD = [PROGNOSIS, REQUEST, OFFER, ORDER, METERING, ROW, BATTERY, DISPATCH, SIGNAL, POINT, CONNECTION, HEAD]

BROKEN: list[tuple[str, Callable[[], Any]]] = [
    ("prognosis.complete", lambda: replace(PROGNOSIS, power=POWER)),
    ("request.range", lambda: with_isps(WANTED, WANTED._replace(start=96, duration=2))),
    ("request.range", lambda: with_isps(WANTED, WANTED._replace(start=0, duration=1))),
    ("request.order", lambda: with_isps(WANTED._replace(min_power_w=-1, max_power_w=-2))),
    ("request.direction", lambda: with_isps(WANTED._replace(min_power_w=-1, max_power_w=1))),
    ("request.overlap", lambda: with_isps(WANTED, ROOM._replace(start=43, duration=1))),
    ("request.requested", lambda: with_isps(ROOM)),
    ("offer.options", with_options),
    ("offer.reference", lambda: with_options(OPTION, OPTION)),
    ("offer.activation", lambda: with_options(replace(OPTION, min_activation=Decimal(0)))),
    ("offer.activation", lambda: with_options(replace(OPTION, min_activation=Decimal("1.01")))),
    ("offer.empty", lambda: with_options(replace(OPTION, power=EMPTY))),
    ("offer.unsolicited", lambda: replace(OFFER, request=None)),
    ("offer.unsolicited", lambda: replace(OFFER, unsolicited=True)),
    ("order.empty", lambda: replace(ORDER, power=EMPTY)),
    ("order.activation", lambda: replace(ORDER, activation_factor=Decimal(0))),
    ("order.unsolicited", lambda: replace(ORDER, offer=None)),
    ("metering.unit", lambda: replace(METERING, profiles=(replace(METERING.profiles[0], unit="kWh"),))),
    ("metering.complete", lambda: replace(METERING, period=date(2026, 3, 29))),
    ("settlement.net", lambda: replace(ROW, net=Decimal(8))),
    ("resource.range", lambda: replace(BATTERY, p_min_w=1, p_max_w=0)),
    ("resource.sign", lambda: replace(BATTERY, role=ResourceRole.PRODUCER)),
    ("resource.sign", lambda: replace(BATTERY, role=ResourceRole.CONSUMER)),
    ("storage.content", lambda: replace(BATTERY, flexibility=replace(STORE, content_wh=10_001))),
    ("storage.content", lambda: replace(BATTERY, flexibility=replace(STORE, content_wh=-1))),
    ("storage.efficiency", lambda: replace(BATTERY, flexibility=replace(STORE, charge_efficiency=0.0))),
    ("storage.efficiency", lambda: replace(BATTERY, flexibility=replace(STORE, discharge_efficiency=1.1))),
    ("dispatch.empty", lambda: replace(DISPATCH, intervals=())),
    ("dispatch.overlap", lambda: replace(DISPATCH, intervals=DISPATCH.intervals[::-1])),
    ("dispatch.limit", lambda: replace(DISPATCH, intervals=(DispatchInterval(NOW, QUARTER, -1),))),
    ("signal.empty", lambda: replace(SIGNAL, intervals=())),
    ("signal.priority", lambda: replace(SIGNAL, priority=-1)),
    ("signal.duration", lambda: replace(SIGNAL, intervals=(SignalInterval(NOW, -QUARTER, Decimal(5)),))),
    ("signal.value", lambda: replace(SIGNAL, intervals=(SignalInterval(NOW, QUARTER, Decimal("NaN")),))),
    ("signal.limit", lambda: replace(SIGNAL, intervals=(SignalInterval(NOW, QUARTER, Decimal(-1)),))),
    ("signal.overlap", lambda: replace(SIGNAL, intervals=SIGNAL.intervals * 2)),
    ("period.order", lambda: replace(POINT, end=DAY - timedelta(days=1))),
    ("period.order", lambda: replace(CONNECTION, end=DAY - timedelta(days=1))),
]


@pytest.mark.parametrize("value", GOOD, ids=lambda value: type(value).__name__)
def test_what_keeps_every_rule_has_no_problem(value: Any) -> None:
    assert validate(value) == []


@pytest.mark.parametrize(("rule", "broken"), BROKEN, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BROKEN)])
def test_one_fault_is_one_problem(rule: str, broken: Callable[[], Any]) -> None:
    assert [problem.rule for problem in validate(broken())] == [rule]


def test_every_problem_is_found_at_once() -> None:
    worst = with_isps(RequestIsp(95, 4, Disposition.AVAILABLE, 5, 1), RequestIsp(95, 1, Disposition.AVAILABLE, 0, 1))
    assert {p.rule for p in validate(worst)} == {
        "request.range",
        "request.order",
        "request.overlap",
        "request.requested",
    }


def test_a_long_list_of_isps_is_cut() -> None:
    (problem,) = validate(replace(PROGNOSIS, power=EMPTY))
    assert problem.message == "ISPs 1, 2, 3, 4, 5, 6, 7, 8, … (96 in all) are missing"


def test_a_cancelled_signal_needs_no_interval() -> None:
    assert validate(replace(SIGNAL, intervals=(), cancelled=True)) == []


def test_net_power_of_a_meter() -> None:
    energy = tuple(
        MeterProfile(kind, "kWh", (Decimal(value),) * 96)
        for kind, value in ((MeteringKind.IMPORT_ENERGY, "0.5"), (MeteringKind.EXPORT_ENERGY, "0.125"))
    )
    expected = {METERING.profiles: 1_000, energy: 1_500, energy[:1]: 2_000, energy[1:]: -500}
    for profiles, watts in expected.items():
        power = replace(METERING, profiles=profiles).power()
        assert power is not None
        assert set(power.power_w) == {watts}
    reading = replace(energy[0], kind=MeteringKind.IMPORT_METER_READING)
    assert replace(METERING, profiles=(reading,)).power() is None
