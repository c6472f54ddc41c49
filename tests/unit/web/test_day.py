from types import ModuleType

import pytest

from interop.web.day import Day, figures


def tell(day: Day) -> dict[str, tuple[float | None, str, str]]:
    return {f.label: (f.value, f.note, f.tone) for f in figures(day)}


@pytest.fixture
def day(sample: ModuleType) -> Day:
    day = Day()
    day.apply("day", sample.day())
    return day


def test_nothing_is_told_of_an_empty_day() -> None:
    assert all(figure.value is None for figure in figures(Day()))


def test_figures_of_a_day_that_has_not_begun(day: Day) -> None:
    told = tell(day)
    assert told["Peak in forecast"][0] == min(day.series("forecast_kw"))
    assert told["Flexibility delivered"] == (None, "19 ISPs requested, none has passed", "")
    assert told["ISPs above limit"][0] is None


def test_excess_is_told_whichever_limit_it_breaks() -> None:
    day = Day()
    day.apply("day", {"limit_import_kw": [10.0, 10.0], "limit_export_kw": [-5.0, None]})
    day.apply("actual", {"isp": 1, "net_kw": -7.25})
    assert tell(day)["Feeder now"] == (-7.25, "2.2 kW above the export limit", "bad")
    day.apply("actual", {"isp": 2, "net_kw": 12.0})
    assert tell(day)["Feeder now"] == (12.0, "2.0 kW above the import limit", "bad")
    assert tell(day)["ISPs above limit"][0] == 2
    day.apply("actual", {"isp": 2, "net_kw": -400.0})
    assert tell(day)["Feeder now"] == (-400.0, "export", ""), "an ISP without a limit"


def test_delivered_energy_counts_only_requested_isps_that_passed() -> None:
    day = Day()
    day.apply("day", {"isp_minutes": 15, "prognosis_kw": [-10.0] * 4, "requested": [2, 3, 4]})
    day.apply("actuals", {"net_kw": [0.0, -6.0, -8.0]})
    value, note, _ = tell(day)["Flexibility delivered"]
    assert value == pytest.approx((4 + 2) * 0.25)
    assert note == "against the prognosis, in 2 of 3 requested ISPs"


def test_settlement_adds_rows_up(day: Day, sample: ModuleType) -> None:
    day.apply("settlement", sample.settlement())
    value, note, _ = tell(day)["Settled"]
    assert value == pytest.approx(40.89)
    assert note == "98.8% of 128.4 kWh ordered"


def test_a_new_plan_replaces_the_old_one(day: Day) -> None:
    day.apply("plan", {"plan_kw": [1.0], "isp": 3})
    assert day.series("plan_kw") == [1.0]
    assert day.series("forecast_kw"), "the rest of the day stays"


def test_another_period_begins_with_no_measurements(day: Day, sample: ModuleType) -> None:
    day.apply("actuals", sample.actuals(10))
    day.apply("day", sample.day())
    assert len(day.actuals["net_kw"]) == 10
    day.apply("day", sample.day() | {"period": "2016-05-21"})
    assert day.actuals["net_kw"] == []


def test_a_live_value_stays_until_the_final_one_is_known() -> None:
    day = Day()
    day.apply("actual", {"isp": 2, "net_kw": 9.0, "mean_kw": 5.0, "live": True})
    day.apply("actuals", {"net_kw": [1.0, None, None]})
    assert day.actuals["net_kw"] == [1.0, 5.0]
    day.apply("actuals", {"net_kw": [1.0, 4.0]})
    assert day.actuals["net_kw"] == [1.0, 4.0]


@pytest.mark.parametrize(
    ("told", "phase"),
    [
        ([], ""),
        ([("day", {"starts": ["a", "b"]})], "trade"),
        ([("day", {"starts": ["a", "b"]}), ("actual", {"isp": 1, "net_kw": 1.0})], "day"),
        ([("day", {"starts": ["a", "b"]}), ("actual", {"isp": 2, "net_kw": 1.0})], "settlement"),
        ([("day", {"starts": ["a", "b"]}), ("settlement", {"rows": []}), ("result", {"failures": []})], "done"),
        ([("actual", {"isp": 2, "net_kw": 1.0}), ("progress", {"phase": "trade"})], "trade"),
    ],
)
def test_the_phase_is_told_or_else_derived(told: list[tuple[str, object]], phase: str) -> None:
    day = Day()
    for topic, data in told:
        day.apply(topic, data)
    assert day.progress()["phase"] == phase


def test_a_snapshot_makes_the_same_day(day: Day, sample: ModuleType) -> None:
    day.apply("actuals", sample.actuals(30))
    day.apply("progress", sample.progress(30))
    other = Day()
    for topic, data in day.snapshot():
        other.apply(topic, data)
    assert other == day


@pytest.mark.parametrize(
    ("topic", "data"),
    [
        ("day", None),
        ("day", [1]),
        ("actual", {"isp": 0, "net_kw": 1.0}),
        ("actual", {"isp": 10**9, "net_kw": 1.0}),
        ("actual", {"isp": "1", "net_kw": 1.0}),
        ("actual", {}),
        ("unknown", {"isp": 1}),
    ],
)
def test_what_makes_no_sense_changes_nothing(topic: str, data: object) -> None:
    day = Day()
    assert day.apply(topic, data) is None
    assert day == Day()
