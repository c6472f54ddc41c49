"""OPT-02, OPT-18: optima, certified bounds and prices against numbers from another formulation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from optimiser import Limits, Portfolio, Status, Tariffs, plan
from optimiser.central import bound, build
from optimiser.instance import read_instance

Case = tuple[Portfolio, Limits, Tariffs]


def full_optimum(p: Portfolio, limits: Limits, tariffs: Tariffs) -> float:
    """Ten variables and four rows per home and ISP, absent devices fixed, the limit on m - e: written from scratch."""
    n, isps, dt = p.homes, p.isps, p.dt_h
    order = ["m", "e", "c", "d", "v", "h", "g", "E", "S", "X"]
    size = n * isps
    offset = {name: k * size for k, name in enumerate(order)}
    total = len(order) * size
    eye, back = sparse.identity(isps), sparse.eye(isps, k=-1)

    def spread(name: str, block: sparse.spmatrix) -> sparse.spmatrix:
        left, right = offset[name], total - offset[name] - size
        rows = block.shape[0]
        return sparse.hstack([sparse.csr_matrix((rows, left)), block, sparse.csr_matrix((rows, right))])

    def per_home(make: Callable[[int], sparse.spmatrix]) -> sparse.spmatrix:
        return sparse.block_diag([make(i) for i in range(n)])

    battery, ev, heat = p.has_battery, p.has_ev, p.has_heat_pump
    whole = per_home(lambda i: eye)
    signs = {"m": 1, "e": -1, "c": -1, "d": 1, "v": -1, "h": -1, "g": 1}
    balance = sum(s * spread(k, whole) for k, s in signs.items())
    store = per_home(lambda i: eye - back)
    rows = [
        balance,
        spread("E", store)
        + spread("c", per_home(lambda i: -p.bat_efficiency[i] * dt * eye))
        + spread("d", per_home(lambda i: dt / max(p.bat_efficiency[i], 0.1) * eye)),
        spread("S", store) + spread("v", per_home(lambda i: -p.ev_efficiency[i] * dt * eye)),
        spread("X", per_home(lambda i: eye - (p.th_a[i] if heat[i] else 1.0) * back))
        + spread("h", per_home(lambda i: -sparse.diags(p.th_b[i] if heat[i] else np.ones(isps)))),
    ]
    first = np.zeros((n, isps))
    first[:, 0] = 1.0
    thermal = np.where(heat[:, None], p.th_w + first * (p.th_a * p.th_initial)[:, None], 0.0)
    rhs = [p.load_kw, first * np.where(battery, p.bat_initial_kwh, 0.0)[:, None], 0 * first, thermal]
    floor = np.zeros((n, isps))
    floor[:, -1] = np.where(battery, p.bat_final_min_kwh, 0.0)
    far = 1e4
    lower = {k: np.zeros((n, isps)) for k in order} | {
        "E": floor,
        "S": np.where(ev[:, None], p.ev_energy_min_kwh, 0.0),
        "X": np.where(heat[:, None], p.th_min, 0.0),
    }
    has = battery[:, None]
    upper = {
        "m": p.imp_max_kw,
        "e": p.exp_max_kw,
        "c": np.where(has, p.bat_charge_max_kw, 0),
        "d": np.where(has, p.bat_discharge_max_kw, 0),
        "v": p.ev_max_kw,
        "h": p.hp_max_kw,
        "g": p.pv_kw,
        "E": np.repeat(p.bat_capacity_kwh[:, None], isps, axis=1),
        "S": np.where(ev[:, None], p.ev_energy_max_kwh, 0.0),
        "X": np.where(heat[:, None], p.th_max, 0.0),
    }
    cost = dict.fromkeys(order, np.zeros((n, isps))) | {
        "m": dt * tariffs.buy_eur_per_kwh,
        "e": -dt * tariffs.sell_eur_per_kwh,
        "d": np.repeat(dt * p.bat_wear_eur_per_kwh[:, None], isps, axis=1),
    }
    # Soft limits as two inequalities with one slack each.
    member = sparse.csr_matrix(np.stack([p.group == g for g in range(p.groups)]).astype(float))
    summed = sparse.kron(member, eye)
    net = spread("m", summed) - spread("e", summed)
    slack = sparse.identity(p.groups * isps)
    empty = sparse.csr_matrix(slack.shape)
    above = sparse.hstack([net, -slack, empty])
    below = sparse.hstack([-net, empty, -slack])
    hi = np.where(np.isfinite(limits.hi_kw), limits.hi_kw, far).ravel()
    lo = np.where(np.isfinite(limits.lo_kw), limits.lo_kw, -far).ravel()
    extra = 2 * p.groups * isps
    equal: Any = sparse.hstack([sparse.vstack(rows), sparse.csr_matrix((4 * size, extra))]).tocsc()
    pad = np.tile((dt * limits.penalty).ravel(), 2)
    result = linprog(
        np.concatenate([*(cost[k].ravel() for k in order), pad]),
        A_ub=sparse.vstack([above, below]).tocsc(),
        b_ub=np.concatenate([hi, -lo]),
        A_eq=equal,
        b_eq=np.concatenate([r.ravel() for r in rhs]),
        bounds=np.stack(
            [
                np.concatenate([*(lower[k].ravel() for k in order), np.zeros(extra)]),
                np.concatenate([*(upper[k].ravel() for k in order), np.full(extra, np.inf)]),
            ],
            axis=1,
        ),
        method="highs-ds",
    )
    assert result.status == 0
    return float(result.fun)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_compact_equals_full_formulation(street: Callable[..., Case], judge: Callable[..., None], seed: int) -> None:
    case = street(homes=5, isps=48, dt_h=0.5, seed=seed)
    result = plan(*case)
    assert result.cost_eur == pytest.approx(full_optimum(*case), rel=1e-7)
    judge(case, result)


@pytest.mark.parametrize("name", ["synthetic_n50_s1", "rural1_export", "rural1_winter"])
def test_optimum_bound_and_judgement(vectors: Path, judge: Callable[..., None], name: str) -> None:
    reference = json.loads((vectors / "reference.json").read_text())
    wanted = reference["50/1" if name.startswith("synthetic") else name]
    case = read_instance(vectors / f"{name}.npz")
    result = plan(*case)
    assert result.status is Status.OPTIMAL
    assert result.cost_eur == pytest.approx(wanted["optimum_eur"], abs=2e-6)
    assert wanted["optimum_eur"] - 2e-6 <= result.bound_eur <= wanted["optimum_eur"] + 1e-9
    assert result.gap < 1e-6
    assert result.simultaneous_kwh == pytest.approx(0.0, abs=1e-6)
    judge(case, result)
    limits = case[1]
    group = result.group_kw
    assert int((group >= limits.hi_kw - 1e-5).sum()) == wanted["isps_at_upper"]
    assert int((group <= limits.lo_kw + 1e-5).sum()) == wanted["isps_at_lower"]


def test_optimum_without_limits(rural1: Case) -> None:
    portfolio, _, tariffs = rural1
    free = plan(portfolio, Limits.none(1, 96), tariffs)
    assert free.cost_eur == pytest.approx(27.987876858, abs=2e-6)
    assert not free.price_eur_per_kwh.any()


def test_price_is_positive_at_the_upper_limit_and_negative_at_the_lower(vectors: Path) -> None:
    portfolio, limits, tariffs = read_instance(vectors / "synthetic_n50_s1.npz")
    wanted = np.array(json.loads((vectors / "reference.json").read_text())["50/1"]["coupling_price_eur_per_kwh"])
    result = plan(portfolio, limits, tariffs)
    price, group = result.price_eur_per_kwh[0], result.group_kw[0]
    inside = (group < limits.hi_kw[0] - 1e-5) & (group > limits.lo_kw[0] + 1e-5)
    assert (price[group >= limits.hi_kw[0] - 1e-5] >= -1e-9).all()
    assert (price[group <= limits.lo_kw[0] + 1e-5] <= 1e-9).all()
    assert np.abs(price[inside]).max() < 1e-9
    assert price.max() > 0.01
    assert price.min() < -0.01
    # Prices are not unique, the bound they certify is: the reference's own prices certify the same optimum.
    model = build(portfolio, limits, tariffs)
    rows = model.coupling[0]
    matrix: Any = model.matrix
    free_rows = np.setdiff1d(np.arange(model.rhs.size), rows)
    shifted = model.cost - matrix[rows].T @ (-wanted * portfolio.dt_h)
    inner = linprog(
        shifted,
        A_eq=matrix[free_rows],
        b_eq=model.rhs[free_rows],
        bounds=np.stack([model.lower, model.upper], axis=1),
        method="highs-ds",
    )
    certified = inner.fun + model.rhs[rows] @ (-wanted * portfolio.dt_h)
    assert certified == pytest.approx(result.cost_eur, rel=1e-5)


def test_any_multipliers_give_a_true_bound(street: Callable[..., Case]) -> None:
    case = street()
    optimum = plan(*case).cost_eur
    model = build(*case)
    rng = np.random.default_rng(5)
    bounds = [bound(model, rng.normal(0, 0.1, model.rhs.size)) for _ in range(20)]
    assert max(bounds) <= optimum
    assert bound(model, np.zeros(model.rhs.size)) <= optimum


def test_the_same_input_gives_the_same_plan_bytes(street: Callable[..., Case]) -> None:
    case = street(seed=9)
    one, other = plan(*case), plan(*case)
    for name in ("battery_kw", "ev_kw", "hp_kw", "pv_kw", "net_kw", "price_eur_per_kwh"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_time_preference_charges_early_and_costs_nothing(street: Callable[..., Case]) -> None:
    """One flat tariff: any time to charge is optimal; the preference picks the first."""
    isps = 24
    portfolio = Portfolio.of(
        1.0,
        np.ones((1, isps)),
        ev_max_kw=np.full((1, isps), 4.0),
        ev_energy_min_kwh=np.where(np.arange(isps) == isps - 1, 8.0, 0.0)[None],
        ev_energy_max_kwh=np.full((1, isps), 8.0),
    )
    flat = np.full((1, isps), 0.3)
    result = plan(portfolio, Limits.none(1, isps), Tariffs(flat, flat - 0.1), time_preference_eur_per_kwh=1e-5)
    np.testing.assert_allclose(result.ev_kw[0, :3], [4.0, 4.0, 0.0], atol=1e-9)
    assert result.cost_eur == pytest.approx(0.3 * (isps + 8.0), abs=1e-9)
    assert result.bound_eur <= result.cost_eur
    assert result.status is Status.OPTIMAL


def test_speed_is_of_the_right_order(rural1: Case) -> None:
    """The bound is generous: a run on an idle core takes 0.09 s."""
    assert min(plan(*rural1).cpu_s for _ in range(3)) < 0.4
