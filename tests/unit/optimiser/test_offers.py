"""OPT-14: options for a request, their prices, and what happens when it cannot be served."""

from collections.abc import Callable

import numpy as np
import pytest

from optimiser import InputError, Limits, Plan, Portfolio, Request, State, Tariffs, offers, plan

Case = tuple[Portfolio, Limits, Tariffs]
OPEN = np.inf


@pytest.fixture(scope="module")
def case(street: Callable[..., Case]) -> Case:
    portfolio, _, tariffs = street(homes=6, isps=48, dt_h=0.5, seed=3)
    return portfolio, Limits.none(1, 48), tariffs


@pytest.fixture(scope="module")
def baseline(case: Case) -> Plan:
    return plan(*case)


def ask(isps: dict[int, float], room_w: float = OPEN, total: int = 48) -> Request:
    """Ask for a deviation (W) in some ISPs; the others are Available with `room_w` to either side."""
    low, high, requested = np.full(total, -room_w), np.full(total, room_w), np.zeros(total, bool)
    for isp, power in isps.items():
        requested[isp] = True
        low[isp], high[isp] = (-OPEN, power) if power <= 0 else (power, OPEN)
    return Request(requested, low, high)


def test_full_need_first_and_less_costs_less(case: Case, baseline: Plan) -> None:
    request = ask({36: -2500.0, 37: -2500.0, 38: -2000.0})
    options = offers(case[0], case[2], baseline, request, 3)
    assert [o.level for o in options] == [1.0, 0.75, 0.5]
    prices = [o.price_eur for o in options]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[-1] > 0
    for option in options:
        assert option.power_w.dtype == np.int64
        wanted = np.rint(option.level * request.need_w).astype(int)
        np.testing.assert_array_equal(option.power_w, wanted)
        assert not option.problems


def test_each_option_resolves_to_its_price(case: Case, baseline: Plan, judge: Callable[..., None]) -> None:
    portfolio, _, tariffs = case
    request = ask({36: -2500.0, 37: -2500.0})
    for option in offers(portfolio, tariffs, baseline, request, 2):
        hi = np.full((1, 48), np.inf)
        hi[0, 36:38] = (baseline.group_w[0, 36:38] + option.power_w[36:38]) / 1000
        limits = Limits(np.full((1, 48), -np.inf), hi)
        again = plan(portfolio, limits, tariffs)
        assert again.cost_eur - baseline.cost_eur == pytest.approx(option.price_eur, abs=2e-6)
        assert option.plan.cost_eur == pytest.approx(again.cost_eur, abs=2e-6)
        judge((portfolio, limits, tariffs), option.plan, tolerance=1e-5)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_part_of_an_option_costs_no_more_than_that_part_of_its_price(case: Case, baseline: Plan, part: float) -> None:
    """What is paid for a part (from the minimum activation on) is in proportion, and the true cost curve is convex."""
    portfolio, _, tariffs = case
    option = offers(portfolio, tariffs, baseline, ask({36: -2500.0, 37: -2500.0}), 1)[0]
    hi = np.full((1, 48), np.inf)
    hi[0, 36:38] = (baseline.group_w[0, 36:38] + part * option.power_w[36:38]) / 1000
    some = plan(portfolio, Limits(np.full((1, 48), -np.inf), hi), tariffs)
    assert some.violation_kw.max() == 0.0
    assert some.cost_eur - baseline.cost_eur <= part * option.price_eur + option.price_error_eur + 2e-6


def test_more_consumption_can_be_asked_for(case: Case, baseline: Plan) -> None:
    option = offers(case[0], case[2], baseline, ask({4: 1500.0, 5: 1500.0}), 1)[0]
    assert option.power_w[[4, 5]].tolist() == [1500, 1500]
    assert np.delete(option.power_w, [4, 5]).any() == np.False_
    assert option.price_eur >= 0


def test_nothing_asked_costs_nothing(case: Case, baseline: Plan) -> None:
    options = offers(case[0], case[2], baseline, ask({10: 0.0, 11: 0.0}), 3)
    assert len(options) == 1
    assert options[0].price_eur == 0.0
    assert not options[0].power_w.any()
    assert options[0].plan is baseline


def test_room_that_is_available_is_not_exceeded(case: Case, baseline: Plan) -> None:
    """The energy has to be taken back in ISPs that leave 600 W to either side."""
    request = ask({36: -2000.0}, room_w=600.0)
    option = offers(case[0], case[2], baseline, request, 1)[0]
    deviation = option.plan.group_w[0] - baseline.group_w[0]
    assert deviation[36] == -2000
    assert np.abs(np.delete(deviation, 36)).max() <= 601
    wide = offers(case[0], case[2], baseline, ask({36: -2000.0}), 1)[0]
    assert wide.price_eur <= option.price_eur


def test_a_range_of_up_to_some_reduction(case: Case, baseline: Plan) -> None:
    """MinPower -2000, MaxPower 0: the need is all of it, and more than that is not delivered."""
    requested = np.arange(48) == 36
    request = Request(requested, np.where(requested, -2000.0, -OPEN), np.where(requested, 0.0, OPEN))
    assert request.need_w[36] == -2000.0
    first, second = offers(case[0], case[2], baseline, request, 2)
    assert (first.power_w[36], second.power_w[36]) == (-2000, -1000)
    assert first.plan.group_w[0, 36] - baseline.group_w[0, 36] == -2000


def test_what_is_out_of_reach_is_offered_as_far_as_it_goes(case: Case, baseline: Plan) -> None:
    request = ask({36: -500_000.0, 37: -100.0})
    option = offers(case[0], case[2], baseline, request, 1)[0]
    assert -500_000 < option.power_w[36] < 0
    assert option.power_w[37] == -100
    assert [(p.isp, p.unit) for p in option.problems] == [(36, "W")]
    assert option.problems[0].missing == pytest.approx(500_000 + option.power_w[36])


def test_absolute_limits_hold_besides(case: Case, baseline: Plan) -> None:
    portfolio, _, tariffs = case
    limits = Limits(np.full((1, 48), -np.inf), np.full((1, 48), float(baseline.group_kw.max())))
    free = ask({36: -2500.0})
    held = Request(free.requested, free.min_w, free.max_w, limits)
    option = offers(portfolio, tariffs, baseline, held, 1)[0]
    assert option.plan.group_kw.max() <= limits.hi_kw.max() + 1e-6
    assert option.price_eur >= offers(portfolio, tariffs, baseline, free, 1)[0].price_eur - 1e-6


def test_during_the_day_the_past_is_fixed_and_past_isps_are_too_late(case: Case, baseline: Plan) -> None:
    portfolio, _, tariffs = case
    request = ask({10: -500.0, 36: -2000.0})
    option = offers(portfolio, tariffs, baseline, request, 1, now=20, state=State.foreseen(portfolio, baseline, 20))[0]
    np.testing.assert_array_equal(option.plan.net_kw[:, :20], baseline.net_kw[:, :20])
    assert option.power_w[[10, 36]].tolist() == [0, -2000]
    assert [(p.isp, p.reason) for p in option.problems] == [(10, "the ISP is over")]
    late = offers(portfolio, tariffs, baseline, ask({10: -500.0}), 2, now=20)
    assert [o.price_eur for o in late] == [0.0]


def test_deviations_count_from_the_prognosis(case: Case, baseline: Plan) -> None:
    free = ask({36: -1000.0})
    prognosis = baseline.group_w[0] + 300
    request = Request(free.requested, free.min_w, free.max_w, None, prognosis)
    option = offers(case[0], case[2], baseline, request, 1)[0]
    assert option.power_w[36] == -1000
    assert option.plan.group_w[0, 36] - baseline.group_w[0, 36] == -700


def test_requests_without_sense_are_refused(case: Case, baseline: Plan) -> None:
    one = np.ones(48)
    with pytest.raises(InputError, match=r"isp\[0\].*not both"):
        Request(one > 0, -one, one)
    with pytest.raises(InputError, match=r"isp\[0\].*minimum"):
        Request(one > 0, one * 2, one)
    with pytest.raises(InputError, match="max_w: has shape"):
        Request(one > 0, -one, np.ones(47))
    with pytest.raises(InputError, match="covers 24 ISPs"):
        offers(case[0], case[2], baseline, ask({3: -1.0}, total=24))
    with pytest.raises(ValueError, match="at least one option"):
        offers(case[0], case[2], baseline, ask({3: -1.0}), 0)
