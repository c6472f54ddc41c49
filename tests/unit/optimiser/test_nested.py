"""Congestion points within others: feeders under a transformer, in both methods, the repair and what is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimiser import InputError, Limits, Portfolio, Tariffs, disaggregate, plan, planning
from optimiser.instance import read_instance, write_instance
from optimiser.synthetic import neighbourhood

CONTAINS = np.array([[True, True, True], [True, False, False], [False, True, False]])


def nested(homes: int, seed: int) -> tuple[Portfolio, Limits, Tariffs]:
    """A transformer over three feeders, the first two of which have limits of their own."""
    portfolio, limits, tariffs = neighbourhood(homes, seed)
    portfolio = replace(portfolio, group=np.arange(homes) % 3)
    lo = np.vstack([limits.lo_kw, limits.lo_kw / 3, limits.lo_kw / 2])
    hi = np.vstack([limits.hi_kw, limits.hi_kw / 3.3, limits.hi_kw / 2])
    return portfolio, Limits(lo, hi, contains=CONTAINS), tariffs


@pytest.mark.parametrize("threshold", [1, 10**9])
def test_both_methods_keep_feeders_and_transformer(
    monkeypatch: pytest.MonkeyPatch, judge: Callable[..., None], threshold: int
) -> None:
    """OPT-09: feasible, certified, and a home's extra price is the sum over the points around it."""
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", threshold)
    case = nested(30, 2)
    found = plan(*case, gap=1e-3)
    judge(case, found)
    assert found.gap <= 1e-3
    sums = np.stack([found.net_kw[np.isin(case[0].group, np.flatnonzero(inside))].sum(axis=0) for inside in CONTAINS])
    np.testing.assert_allclose(found.group_kw, sums, atol=1e-9)
    assert found.price_eur_per_kwh.shape == (3, 96)
    assert np.abs(found.price_eur_per_kwh[:2]).max(axis=1).min() > 0.01
    third = found.home_price_eur_per_kwh[case[0].group == 2]
    np.testing.assert_allclose(third, np.broadcast_to(found.price_eur_per_kwh[0], third.shape))
    first = found.home_price_eur_per_kwh[case[0].group == 0][0]
    np.testing.assert_allclose(first, found.price_eur_per_kwh[0] + found.price_eur_per_kwh[1])


def test_the_methods_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    case = nested(24, 5)
    costs = []
    for threshold in (1, 10**9):
        monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", threshold)
        costs.append(plan(*case, gap=1e-4))
    assert costs[0].bound_eur <= costs[1].cost_eur + 1e-6
    assert costs[0].cost_eur == pytest.approx(costs[1].cost_eur, rel=2e-4)


def test_whole_watts_add_up_at_every_point() -> None:
    case = nested(12, 3)
    found = plan(*case)
    net = disaggregate(case[0], found).net_w
    for g, inside in enumerate(CONTAINS):
        member = np.isin(case[0].group, np.flatnonzero(inside))
        np.testing.assert_array_equal(net[member].sum(axis=0), found.group_w[g])
        np.testing.assert_array_equal(found.net_w[member].sum(axis=0), found.group_w[g])


def test_relieving_the_transformer_does_not_break_a_feeder() -> None:
    """The feeder whose members could give most is already at its limit: the others give."""
    load = np.full((2, 1), 1.0)
    portfolio = Portfolio.of(1.0, load, pv_kw=np.array([[4.0], [3.0]]), group=np.array([0, 1]))
    contains = np.array([[True, True], [True, False]])
    limits = Limits(np.array([[-3.0], [-1.0]]), np.array([[9.0], [9.0]]), contains=contains)
    prices = Tariffs(np.full((2, 1), 0.3), np.full((2, 1), 0.1))
    found = plan(portfolio, limits, prices)
    np.testing.assert_allclose(found.group_kw[:, 0], [-3.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(found.pv_kw[:, 0], [2.0, 3.0], atol=1e-6)


def test_files_keep_the_nesting_and_shapes_are_checked(tmp_path: Path) -> None:
    portfolio, limits, tariffs = nested(6, 1)
    write_instance(tmp_path / "n.npz", portfolio, limits, tariffs)
    assert np.array_equal(read_instance(tmp_path / "n.npz")[1].membership, CONTAINS)
    with pytest.raises(InputError, match="groups"):
        plan(portfolio, Limits(limits.lo_kw, limits.hi_kw, contains=CONTAINS[:, :2]), tariffs)
    with pytest.raises(InputError, match="contains"):
        Limits(limits.lo_kw, limits.hi_kw, contains=CONTAINS[:2])
