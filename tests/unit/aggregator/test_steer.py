"""Steering inside an ISP: the mean keeps its bounds, batteries go before PV, and the plan stands where it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.aggregator.steer import Moment, PvNow, StoreNow, mean_so_far, steer


def moment(uncontrolled_w: float, low_w: float, high_w: float, elapsed: float = 0.0, done_w: float = 0.0) -> Moment:
    return Moment(elapsed, done_w, uncontrolled_w, low_w, high_w)


def test_the_plan_stands_where_it_keeps_the_bounds():
    out = steer(moment(10e3, -155e3, 155e3), [StoreNow("b", 5e3, -30e3, 30e3)], [PvNow("p", 40e3, 40e3)])
    assert out.battery_w == {"b": 5e3}
    assert out.pv_limit_w == {"p": 40e3}
    assert out.short_w == 0


def test_too_much_export_fills_batteries_in_proportion_to_their_room():
    batteries = [StoreNow("big", 0, -60e3, 60e3), StoreNow("small", 0, -20e3, 20e3)]
    out = steer(moment(0, -155e3, 155e3), batteries, [PvNow("p", 195e3, 200e3)])
    assert out.battery_w == pytest.approx({"big": 30e3, "small": 10e3})
    assert out.pv_limit_w == {"p": 200e3}


def test_pv_is_curtailed_only_by_what_batteries_cannot_take():
    out = steer(moment(0, -155e3, 155e3), [StoreNow("b", 0, -10e3, 10e3)], [PvNow("p", 200e3, 200e3)])
    assert out.battery_w == pytest.approx({"b": 10e3})
    assert out.pv_limit_w == pytest.approx({"p": 165e3})
    assert out.short_w == 0


def test_what_was_missed_at_the_beginning_is_made_up_for():
    """A fifth of the ISP at -200 kW leaves the rest at (-155 + 40) / 0.8 = -143.75 kW."""
    out = steer(moment(-200e3, -155e3, 155e3, elapsed=0.2, done_w=-200e3), [StoreNow("b", 0, -90e3, 90e3)], [])
    assert out.battery_w["b"] == pytest.approx(200e3 - 143.75e3)


def test_too_much_import_discharges():
    out = steer(moment(170e3, -155e3, 155e3), [StoreNow("b", 0, -30e3, 30e3)], [])
    assert out.battery_w == pytest.approx({"b": -15e3})


def test_what_cannot_be_reached_is_said():
    out = steer(moment(-200e3, -155e3, 155e3), [], [])
    assert out.short_w == pytest.approx(45e3)


def test_a_device_that_died_counts_for_what_it_did_and_no_more():
    """Metered at 60 kW for a fifth of the ISP, then silent: 12 kW at the end of it, nothing in the next one."""
    assert mean_so_far(900, 180, 60e3, 0) == pytest.approx(12e3)
    assert mean_so_far(450, 0, 0, 0) == 0


def test_what_was_not_metered_yet_runs_on():
    assert mean_so_far(100, 50, 10e3, 20e3) == pytest.approx(15e3)
    assert mean_so_far(0, 0, 0, 20e3) == 20e3


watts = st.floats(0, 200e3)


@given(
    uncontrolled=st.floats(-200e3, 200e3),
    stores=st.lists(st.tuples(watts, watts, st.floats(0, 1)), max_size=4),
    plants=st.lists(st.tuples(watts, watts), max_size=4),
    elapsed=st.floats(0, 0.8),
    done=st.floats(-200e3, 200e3),
)
def test_set_points_stay_within_ratings_and_reach_the_bound_or_say_so(uncontrolled, stores, plants, elapsed, done):
    batteries = [StoreNow(str(n), -d + f * (c + d), -d, c) for n, (c, d, f) in enumerate(stores)]
    pvs = [PvNow(str(n), potential, limit) for n, (potential, limit) in enumerate(plants)]
    now = moment(uncontrolled, -150e3, 150e3, elapsed, done)
    out = steer(now, batteries, pvs)
    for battery in batteries:
        assert battery.min_w - 1e-6 <= out.battery_w[battery.id] <= battery.max_w + 1e-6
    produced = sum(min(pv.potential_w, out.pv_limit_w[pv.id]) for pv in pvs)
    net = uncontrolled - produced + sum(out.battery_w.values())
    mean = done * elapsed + net * (1 - elapsed)
    assert all(limit >= 0 for limit in out.pv_limit_w.values())
    reached = mean + out.short_w * (1 - elapsed)
    assert -150e3 - 1 <= reached <= 150e3 + 1
