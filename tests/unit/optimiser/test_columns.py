"""Column generation: members that answer prices reach the optimum of all homes together, certified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimiser import Appliances, Limits, Portfolio, Tariffs, central, plan
from optimiser.answering import InProcess
from optimiser.columns import Column, Member, Negotiation, negotiate
from optimiser.portfolio import FloatArray
from optimiser.synthetic import neighbourhood


def alone(p: Portfolio, tariffs: Tariffs) -> dict[Member, InProcess]:
    """Every home a member of its own."""
    out = {}
    for n in range(p.homes):
        home = replace(p.take(np.array([n])), group=np.zeros(1, np.int64))
        out[Member(f"home-{n}", int(p.group[n]))] = InProcess(home, tariffs.take(np.array([n])))
    return out


def optimum(p: Portfolio, limits: Limits, tariffs: Tariffs) -> float:
    return plan(p, limits, tariffs, gap=1e-6).cost_eur


@pytest.mark.campaign
def test_fifty_homes_reach_a_thousandth_certified() -> None:
    """OPT-19: 118.975630 EUR is the optimum by HiGHS."""
    p, limits, tariffs = neighbourhood(50, 1)
    found = negotiate(alone(p, tariffs), limits, p.dt_h)
    assert found.gap <= 1e-3
    assert found.bound_eur <= 118.975630 + 1e-6
    assert found.cost_eur == pytest.approx(118.975630, rel=1e-3)
    assert found.violation_kw.max() < 1e-6
    assert found.rounds <= 25


def test_awards_are_mixtures_that_members_can_carry_out() -> None:
    p, limits, tariffs = neighbourhood(6, 2)
    members = alone(p, tariffs)
    found = negotiate(members, limits, p.dt_h, gap=1e-2, rounds=6)
    total = np.zeros(p.isps)
    for member, answer in members.items():
        award = found.awards[member.id]
        assert sum(award.shares.values()) == pytest.approx(1.0)
        mixed = sum(share * answer.schedules[r].net_kw.sum(axis=0) for r, share in award.shares.items())
        assert np.allclose(mixed, award.net_kw)
        total += mixed
    assert np.allclose(total, found.point_kw[0])
    again = sum(a.cost_eur for a in found.awards.values()) + p.dt_h * 5.0 * found.violation_kw.sum()
    assert found.cost_eur == pytest.approx(again)


def test_an_aggregate_and_single_homes_together_at_two_congestion_points() -> None:
    p, _, tariffs = neighbourhood(7, 4)
    p = replace(p, group=np.array([0] * 4 + [1] * 3))
    limits = Limits(np.full((2, 96), -6.0), np.array([np.full(96, 4.0), np.full(96, 3.0)]))
    members = dict(list(alone(p, tariffs).items())[4:])
    rest = np.arange(4)
    members[Member("rest", 0)] = InProcess(p.take(rest), tariffs.take(rest))
    found = negotiate(members, limits, p.dt_h, gap=2e-2, rounds=15)
    best = optimum(p, limits, tariffs)
    assert found.bound_eur <= best + 1e-6
    assert best - 1e-3 <= found.cost_eur <= best + 2 * found.gap * max(abs(best), found.cost_eur)


def test_who_falls_silent_is_counted_with_its_baseline_and_bounds_stay_valid() -> None:
    p, limits, tariffs = neighbourhood(6, 1)
    members = alone(p, tariffs)
    calls: list[int] = []

    def silent(price: FloatArray) -> Column | None:
        calls.append(1)
        return members[Member("home-3")](price) if len(calls) <= 3 else None

    found = negotiate({**members, Member("home-3"): silent}, limits, p.dt_h, gap=5e-3, rounds=12)
    assert found.left_out == ("home-3",)
    assert "home-3" not in found.awards
    assert len(calls) == 4, "who is left out is not asked again"
    baseline = plan(p.take(np.array([3])), Limits.none(1, 96), tariffs.take(np.array([3]))).net_kw
    others = sum(award.net_kw for award in found.awards.values())
    assert np.allclose(found.point_kw[0], others + baseline[0], atol=1e-6)
    fixed = p.take(np.delete(np.arange(6), 3))
    rest = Limits(limits.lo_kw - baseline, limits.hi_kw - baseline)
    own = plan(p.take(np.array([3])), Limits.none(1, 96), tariffs.take(np.array([3]))).cost_eur
    best = optimum(fixed, rest, tariffs.take(np.delete(np.arange(6), 3))) + own
    assert found.bound_eur <= best + 1e-5
    assert found.cost_eur >= best - 1e-3


def test_who_never_answers_is_not_counted() -> None:
    p, limits, tariffs = neighbourhood(3, 1)
    members = {**alone(p, tariffs), Member("ghost"): lambda price: None}
    found = negotiate(members, limits, p.dt_h, gap=0.2, rounds=4)
    assert found.absent == ("ghost",)
    assert sorted(found.awards) == ["home-0", "home-1", "home-2"]


@pytest.mark.parametrize("net", [[np.nan] * 96, [1.0] * 95])
def test_an_answer_that_is_no_answer_counts_as_silence(net: list[float]) -> None:
    p, limits, tariffs = neighbourhood(2, 1)
    members = {**alone(p, tariffs), Member("odd"): lambda price: Column(np.array(net), 1.0, 1.0)}
    assert negotiate(members, limits, p.dt_h, gap=0.5, rounds=2).absent == ("odd",)


def test_nobody_there() -> None:
    found = negotiate({Member("ghost"): lambda price: None}, Limits.none(1, 4), 0.25, rounds=2)
    assert found.awards == {}
    assert found.cost_eur == 0.0


def test_without_limits_the_baselines_are_the_answer_at_once() -> None:
    p, _, tariffs = neighbourhood(4, 1)
    found = negotiate(alone(p, tariffs), Limits.none(1, 96), p.dt_h, gap=1e-6)
    assert found.rounds == 1
    assert all(award.shares == {0: 1.0} for award in found.awards.values())


def test_limits_out_of_reach_cost_the_least_penalty() -> None:
    p, _, tariffs = neighbourhood(5, 1)
    limits = Limits(np.full((1, 96), -np.inf), np.full((1, 96), 0.5))
    found = negotiate(alone(p, tariffs), limits, p.dt_h, gap=1e-2)
    best = optimum(p, limits, tariffs)
    assert found.gap <= 1e-2
    assert found.violation_kw.max() > 0.1
    assert found.bound_eur <= best + 1e-6
    assert found.cost_eur == pytest.approx(best, rel=1e-2)


def test_members_that_cannot_mix_get_one_of_their_columns() -> None:
    p, limits, tariffs = neighbourhood(4, 3)
    washing = Appliances(np.array([0, 1]), np.array([0, 8]), np.array([80, 60]), np.array([4, 6]), np.full((2, 6), 0.8))
    members: dict[Member, InProcess] = {}
    for n, (member, answer) in enumerate(alone(p, tariffs).items()):
        home = answer.portfolio
        if n < 2:
            own = {f: getattr(washing, f)[n : n + 1] for f in ("first", "last", "length", "profile_kw")}
            home = replace(home, appliances=Appliances(np.zeros(1, np.int64), **own))
        agent = InProcess(home, answer.tariffs)
        members[replace(member, whole=agent.whole)] = agent
    tight = Limits(limits.lo_kw, limits.hi_kw * 0.8)
    found = negotiate(members, tight, p.dt_h, gap=1e-2, rounds=6)
    for member in members:
        if member.whole:
            assert list(found.awards[member.id].shares.values()) == [1.0]
    assert found.bound_eur <= found.cost_eur


def test_the_bound_never_passes_the_optimum_in_any_round() -> None:
    p, limits, tariffs = neighbourhood(5, 7)
    members = alone(p, tariffs)
    best = optimum(p, limits, tariffs)
    talk, bounds = Negotiation(list(members), limits, p.dt_h), []
    for _ in range(10):
        talk.take({m.id: members[m](talk.price[0]) for m in talk.asked})
        assert np.abs(talk.price).max() <= 5.0
        assert talk.cost_eur >= best - 1e-6
        bounds.append(talk.bound_eur)
    assert max(bounds) <= best + 1e-6
    assert bounds == sorted(bounds)


def test_a_quick_answer_is_the_plan_at_that_price() -> None:
    p, _, tariffs = neighbourhood(5, 1)
    price = 0.2 * np.sin(np.arange(96))
    answer = InProcess(p, tariffs)(price)
    shifted = Tariffs(tariffs.buy_eur_per_kwh + price, tariffs.sell_eur_per_kwh + price)
    model = central.build(p, Limits.none(1, 96), shifted)
    solved = central.solve(model, p)
    assert solved is not None
    with_price = answer.cost_eur + p.dt_h * price @ answer.net_kw
    assert answer.least_eur == pytest.approx(solved.bound_eur, abs=1e-6)
    assert with_price == pytest.approx(answer.least_eur, abs=1e-5)


def test_an_agreement_needs_a_round() -> None:
    with pytest.raises(ValueError, match="nobody has been asked"):
        Negotiation([Member("a")], Limits.none(1, 4), 0.25).agreement()


def test_nested_congestion_points_add_their_prices() -> None:
    """Two feeders under a transformer: what a member is asked is the sum, and the bound holds for all three limits."""
    p, _, tariffs = neighbourhood(6, 4)
    p = replace(p, group=np.array([0] * 3 + [1] * 3))
    contains = np.array([[True, False], [False, True], [True, True]])
    high = np.array([np.full(96, 6.0), np.full(96, 6.0), np.full(96, 9.0)])
    limits = Limits(np.full((3, 96), -np.inf), high, contains=contains)
    members = alone(p, tariffs)
    talk = Negotiation(list(members), limits, p.dt_h)
    while talk.gap > 5e-2 and talk.round < 20:
        talk.take({m.id: members[m](talk.felt(m)) for m in talk.asked})
    found = talk.agreement()
    best = optimum(p, limits, tariffs)
    assert np.allclose(talk.felt(talk.members[0]), talk.price[0] + talk.price[2])
    assert np.allclose(found.point_kw[2], found.point_kw[0] + found.point_kw[1])
    assert found.bound_eur <= best + 1e-5
    assert found.cost_eur >= best - 1e-3
    assert found.gap <= 5e-2
