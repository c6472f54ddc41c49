"""Whatever the scale of the numbers: a finite plan with a true bound, and where the gap stays open, words about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimiser import Limits, Portfolio, Status, Tariffs, plan, planning
from optimiser.interior.shard import Offer, Shard
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]
_POWERS = ("load_kw", "pv_kw", "imp_max_kw", "exp_max_kw", "bat_charge_max_kw", "bat_discharge_max_kw", "ev_max_kw")
_ENERGIES = ("bat_capacity_kwh", "bat_initial_kwh", "bat_final_min_kwh", "ev_energy_min_kwh", "ev_energy_max_kwh")


@pytest.fixture(autouse=True)
def distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_DISTRIBUTED", 1)
    monkeypatch.setattr(planning, "_DISTRIBUTED_UNCOMPILED", 1)


def _evening(homes: int, seed: int) -> Case:
    """The last six hours of a neighbourhood's day: numpy's cost is by ISP."""
    p, limits, tariffs = neighbourhood(homes, seed)
    return p.tail(72), limits.tail(72), tariffs.tail(72)


def _scaled(case: Case, power: float, price: float) -> Case:
    p, limits, tariffs = case
    changed: dict[str, Any] = {name: getattr(p, name) * power for name in (*_POWERS, *_ENERGIES, "hp_max_kw")}
    changed["th_b"] = p.th_b / power
    return (
        replace(p, **changed, bat_wear_eur_per_kwh=p.bat_wear_eur_per_kwh * price),
        Limits(limits.lo_kw * power, limits.hi_kw * power, limits.penalty * price),
        Tariffs(tariffs.buy_eur_per_kwh * price, tariffs.sell_eur_per_kwh * price),
    )


def _sound(case: Case, **options: Any) -> None:
    made = plan(*case, **options)
    assert np.isfinite(made.net_kw).all()
    assert np.isfinite([made.cost_eur, made.bound_eur]).all()
    assert made.bound_eur <= made.cost_eur + 1e-9 * abs(made.cost_eur)
    assert made.gap <= 1e-3 or (made.status is not Status.OPTIMAL and "best certified plan" in made.notes[-1])


@pytest.mark.parametrize(("homes", "seed"), [(1, 1), (3, 2), (8, 3)])
@pytest.mark.parametrize(("power", "price"), [(1e-4, 1.0), (1e4, 1.0), (1.0, 1e-5), (1.0, 1e5)])
def test_any_scale(homes: int, seed: int, power: float, price: float) -> None:
    _sound(_scaled(_evening(homes, seed), power, price))


@pytest.mark.parametrize("efficiency", [1e-3, 0.05])
def test_tiny_efficiencies(efficiency: float) -> None:
    p, limits, tariffs = _evening(6, 4)
    _sound((replace(p, bat_efficiency=np.full(6, efficiency), ev_efficiency=np.full(6, efficiency)), limits, tariffs))


@pytest.mark.parametrize("penalty", [0.0, 5.0, 1e6])
@pytest.mark.parametrize("width", [0.0, 1e-9])
def test_limits_without_room(penalty: float, width: float) -> None:
    p, limits, tariffs = _evening(6, 5)
    middle = np.full_like(limits.lo_kw, 2.0)
    _sound((p, Limits(middle, middle + width, penalty), tariffs))


def test_homes_whose_ratings_differ_by_eight_orders_of_magnitude() -> None:
    p, limits, tariffs = _evening(8, 6)
    scale = np.logspace(-4, 4, 8)
    changed = {name: (getattr(p, name).T * scale).T for name in (*_POWERS, *_ENERGIES, "hp_max_kw")}
    mixed = replace(p, **changed, th_b=(p.th_b.T / scale).T)
    _sound((mixed, Limits(limits.lo_kw * 1e3, limits.hi_kw * 1e3), tariffs))


def _spoil(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """From its `after`-th factorisation on, a shard answers nonsense."""
    factor, calls = Shard.factor, list[int]()

    def spoilt(self: Shard) -> Offer:
        calls.append(1)
        offer = factor(self)
        return Offer(offer.moved, offer.slope * np.nan) if len(calls) > after else offer

    monkeypatch.setattr(Shard, "factor", spoilt)


def test_few_homes_are_rescued_by_the_central_model(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _evening(12, 1)
    _spoil(monkeypatch, 4)
    made = plan(*case)
    assert made.gap <= 1e-6
    assert "HiGHS" in made.notes[0]


@pytest.mark.parametrize("after", [0, 6])
def test_many_homes_get_the_best_certified_plan(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setattr(planning, "_RESCUED", 0)
    _spoil(monkeypatch, after)
    case = _evening(12, 1)
    made = plan(*case)
    assert made.status is Status.TIME_LIMIT
    assert made.gap > 1e-3
    assert "best certified plan" in made.notes[-1]
    _sound(case)
