"""One dispatch per resource: revisions, merged intervals, and a deadband."""

from __future__ import annotations

from datetime import date

from datamodels import DispatchKind, MarketCalendar, validate
from interop.aggregator.schedule import Schedule

CALENDAR = MarketCalendar("Europe/Berlin")
DAY = date(2016, 5, 20)


def schedule(targets: list[int]) -> Schedule:
    return Schedule.of("battery-1", DispatchKind.SETPOINT, "order-1", CALENDAR, CALENDAR.starts(DAY), targets)


def test_equal_neighbours_become_one_interval():
    dispatch = schedule([0] * 40 + [5000] * 16 + [0] * 40).dispatch()
    assert [(i.start, i.value) for i in dispatch.intervals] == [
        (CALENDAR.start(DAY, 1), 0),
        (CALENDAR.start(DAY, 41), 5000),
        (CALENDAR.start(DAY, 57), 0),
    ]
    assert dispatch.end == CALENDAR.end(DAY, 96)
    assert validate(dispatch) == []


def test_a_changed_plan_revises_the_same_dispatch():
    plan = schedule([0] * 96)
    plan.sent = plan.dispatch()
    plan.targets_w[50] = 4000
    assert plan.differs(51, 200)
    revised = plan.dispatch(51)
    assert (revised.id, revised.revision) == (plan.sent.id, 1)
    assert revised.start == CALENDAR.start(DAY, 51)


def test_small_changes_are_not_worth_a_revision():
    plan = schedule([0] * 96)
    plan.sent = plan.dispatch()
    plan.targets_w[50] = 150
    assert not plan.differs(51, 200)
    assert plan.differs(51, 100)
    assert not plan.differs(52, 100)
