"""What did not change is kept, and the whole certified; the bound that does it holds whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from optimiser import (
    Limits,
    Plan,
    Portfolio,
    Request,
    State,
    Tariffs,
    central,
    interior,
    keeping,
    offers,
    plan,
    planning,
    replan,
)
from optimiser.bounding import certain_bound
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]


def test_any_prices_and_multipliers_prove_a_bound_and_those_of_a_solver_its_own() -> None:
    p, limits, tariffs = case = neighbourhood(12, 1)
    raw = central.solve(central.build(*case), p)
    assert raw is not None
    proven = certain_bound(p, limits, tariffs, raw.price_eur_per_kwh, raw.multipliers)
    assert proven == pytest.approx(raw.bound_eur, rel=1e-9)
    last = next(interior.candidates(*case, gap=1e-3, scale=1.0))
    proven = certain_bound(p, limits, tariffs, last.price_eur_per_kwh, last.multipliers)
    assert proven == pytest.approx(last.bound_eur, rel=1e-6)
    rng = np.random.default_rng(1)
    for spread in (1e-3, 0.1, 10.0):
        price = raw.price_eur_per_kwh + spread * rng.normal(size=raw.price_eur_per_kwh.shape)
        wild = raw.multipliers + spread * rng.normal(size=raw.multipliers.shape)
        assert certain_bound(p, limits, tariffs, price, wild) <= raw.bound_eur + 1e-9


def test_a_mixture_keeps_limits_that_neither_of_its_plans_is_beyond() -> None:
    """Two cars at two hours, one in each: each car would rather take the share in which it charges at the cheap one."""
    p, _, _ = neighbourhood(2, 1)
    p = replace(p, load_kw=np.zeros((2, 96)), ev_max_kw=np.ones((2, 96)))
    buy, high, one = np.full((2, 96), 0.5), np.full((1, 96), np.inf), np.zeros((2, 96))
    buy[:, 0], high[0, 0] = 0.1, 1.2
    one[0, 0] = one[1, 1] = 1.0
    limits = Limits(np.full((1, 96), -np.inf), high)
    idle = {name: np.zeros((2, 96)) for name in central.POWERS}
    first, second = (
        central.Raw(
            **idle | {"ev_kw": ev},
            excess_kw=np.zeros((1, 96)),
            price_eur_per_kwh=np.zeros((1, 96)),
            bound_eur=-np.inf,
            iterations=0,
            multipliers=np.zeros((2, 4, 96)),
        )
        for ev in (one, one[::-1])
    )
    kept = keeping.Kept((first, second), np.zeros(2, bool), 1.0)
    (mixed,) = keeping.patches(p, limits, Tariffs(buy, buy - 0.1), kept, 0.0)
    assert mixed.ev_kw[:, 0].sum() == pytest.approx(1.2)
    assert mixed.ev_kw.sum(axis=1) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("now", [0, 40])
def test_one_home_drops_out_and_nothing_is_solved_anew(
    monkeypatch: pytest.MonkeyPatch, judge: Callable[..., None], now: int
) -> None:
    case = neighbourhood(80, 2)
    earlier = plan(*case, gap=5e-4)
    state = State.foreseen(case[0], earlier, now).lose(int(np.flatnonzero(case[0].has_battery)[2]), "battery")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the day was solved anew")

    fresh = replan(*case, now=now, state=state, earlier=replace(earlier, multipliers=np.zeros((0, 4, 0))))
    monkeypatch.setattr(planning.interior, "candidates", never)
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", 1)
    kept = replan(*case, now=now, state=state, earlier=earlier)
    assert kept.gap <= 1e-3
    assert kept.iterations == 0
    assert kept.cost_eur == pytest.approx(fresh.cost_eur, rel=2e-3)
    assert fresh.bound_eur <= kept.cost_eur + 1e-6
    assert kept.bound_eur <= fresh.cost_eur + 1e-6
    assert kept.violation_kw.max() <= 1e-4
    np.testing.assert_allclose(kept.net_kw[:, :now], earlier.net_kw[:, :now])


def test_a_day_that_changed_is_solved_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio, limits, tariffs = neighbourhood(20, 3)
    earlier = plan(portfolio, limits, tariffs)
    dear = Tariffs(tariffs.buy_eur_per_kwh[:, ::-1] + 0.2, tariffs.sell_eur_per_kwh[:, ::-1])
    again = replan(portfolio, limits, dear, now=0, state=State.foreseen(portfolio, None, 0), earlier=earlier)
    assert again.gap <= 1e-3
    assert again.cost_eur == pytest.approx(plan(portfolio, limits, dear).cost_eur, rel=1e-3)


def test_a_change_in_many_homes_is_not_patched() -> None:
    assert not keeping.Kept((), np.arange(10) < 4, 1.0).promising
    assert keeping.Kept((), np.arange(10) < 3, 1.0).promising
    assert not keeping.Kept((), None, 1.0).promising


@pytest.fixture(scope="module")
def priced() -> tuple[Case, Plan, Request]:
    case = portfolio, limits, tariffs = neighbourhood(40, 4)
    base = plan(portfolio, limits, tariffs)
    asked = (np.arange(96) >= 72) & (np.arange(96) < 80)
    least = np.where(asked, -0.06 * np.abs(base.group_w[0]), -np.inf)
    return case, base, Request(asked, least, np.where(asked, 0.0, np.inf), limits)


def exact(case: Case, base: Plan, request: Request, level: float) -> float:
    portfolio, limits, tariffs = case
    wanted = np.rint(level * request.need_w)
    high = np.where(wanted < 0, np.minimum(limits.hi_kw, (base.group_w[0] + wanted) / 1000), limits.hi_kw)
    tight = Limits(np.minimum(limits.lo_kw, high), high)
    raw = central.solve(central.build(portfolio, tight, tariffs), portfolio)
    assert raw is not None
    return raw.bound_eur


def test_options_between_two_plans_are_mixtures_of_them(priced: tuple[Case, Plan, Request]) -> None:
    """OPT-14: five options, monotone; those in the middle cost no iteration, and are certified."""
    case, base, request = priced
    found = offers(case[0], case[2], base, request, 5)
    assert [o.level for o in found] == [1.0, 0.875, 0.75, 0.625, 0.5]
    prices = [o.price_eur for o in found]
    assert prices == sorted(prices, reverse=True)
    assert sum(o.plan.iterations == 0 for o in found) >= 2
    for option in found:
        assert option.plan.gap <= 2e-3
        assert option.plan.violation_kw.max() <= 1e-4
        assert not option.problems
        price = exact(case, base, request, option.level) - exact(case, base, request, 0.0)
        assert abs(option.price_eur - price) <= option.price_error_eur + 1e-5


def test_prices_lie_near_the_true_cost_curve(
    monkeypatch: pytest.MonkeyPatch, priced: tuple[Case, Plan, Request]
) -> None:
    """With plans that are a thousandth off the optimum the prices are much nearer than that: middles, not costs."""
    case, _, request = priced
    monkeypatch.setattr(planning, "_DISTRIBUTED", 1)
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", 1)
    base = plan(*case)
    for option in offers(case[0], case[2], base, request, 1):
        price = exact(case, base, request, option.level) - exact(case, base, request, 0.0)
        assert option.price_error_eur > 0.02
        assert option.price_eur == pytest.approx(price, abs=0.1 * price + 0.02)
