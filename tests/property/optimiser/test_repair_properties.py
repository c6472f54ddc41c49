"""OPT-06, OPT-15: whatever a solver returns becomes feasible, and whatever is rounded adds up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimiser import Limits
from optimiser.envelopes import relax
from optimiser.plans import largest_remainder
from optimiser.repair import repair
from optimiser.synthetic import neighbourhood

CASES = [neighbourhood(6, seed) for seed in range(4)]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(range(len(CASES))),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 3.0),
    st.booleans(),
)
def test_noisy_powers_become_feasible_and_stay_so(case: int, seed: int, noise: float, limited: bool) -> None:
    p, limits, _ = CASES[case]
    p, problems = relax(p)
    assert not problems
    if not limited:
        limits = Limits.none(1, p.isps)
    rng = np.random.default_rng(seed)
    names = ("charge_kw", "discharge_kw", "ev_kw", "hp_kw", "pv_kw")
    wild = {n: rng.normal(0.5, 0.01 + noise, p.load_kw.shape) for n in names}
    way = repair(p, limits, **wild)
    battery, ev, heat = p.has_battery, p.has_ev, p.has_heat_pump
    eta = p.bat_efficiency[:, None]
    stored = np.where(way.battery_kw > 0, eta * way.battery_kw, way.battery_kw / eta) * p.dt_h
    energy = p.bat_initial_kwh[:, None] + np.cumsum(stored, axis=1)
    tolerance = 1e-6
    assert (np.abs(energy - way.battery_kwh)[battery] < tolerance).all()
    assert (energy[battery] > -tolerance).all()
    assert (energy[battery] < p.bat_capacity_kwh[battery, None] + tolerance).all()
    assert (energy[battery, -1] > p.bat_final_min_kwh[battery] - tolerance).all()
    assert (way.battery_kw <= p.bat_charge_max_kw + tolerance).all()
    assert (way.battery_kw >= -p.bat_discharge_max_kw - tolerance).all()
    driven = np.cumsum(way.ev_kw * p.ev_efficiency[:, None] * p.dt_h, axis=1)
    assert (way.ev_kw >= -tolerance).all()
    assert (way.ev_kw <= p.ev_max_kw + tolerance).all()
    assert (driven[ev] > p.ev_energy_min_kwh[ev] - tolerance).all()
    assert (driven[ev] < p.ev_energy_max_kwh[ev] + tolerance).all()
    assert (way.thermal[heat] > p.th_min[heat] - tolerance).all()
    assert (way.thermal[heat] < p.th_max[heat] + tolerance).all()
    assert (way.hp_kw >= -tolerance).all()
    assert (way.hp_kw <= p.hp_max_kw + tolerance).all()
    assert (way.pv_kw >= -tolerance).all()
    assert (way.pv_kw <= p.pv_kw + tolerance).all()
    # Repairing what is repaired changes nothing.
    again = repair(
        p,
        limits,
        charge_kw=np.maximum(way.battery_kw, 0),
        discharge_kw=np.maximum(-way.battery_kw, 0),
        ev_kw=way.ev_kw,
        hp_kw=way.hp_kw,
        pv_kw=way.pv_kw,
        excess_kw=limits.excess_kw(p.by_group(way.net_kw)),
    )
    np.testing.assert_allclose(again.net_kw, way.net_kw, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
)
def test_rounded_values_add_up_within_their_bounds(count: int, isps: int, seed: int, slack: int) -> None:
    rng = np.random.default_rng(seed)
    exact = rng.normal(0, 2000, (count, isps))
    low, high = np.floor(exact).astype(np.int64) - slack, np.ceil(exact).astype(np.int64) + slack
    target = np.clip(np.rint(exact.sum(axis=0)).astype(np.int64) + slack, low.sum(axis=0), high.sum(axis=0))
    out = largest_remainder(exact, target, low, high)
    np.testing.assert_array_equal(out.sum(axis=0), target)
    assert (out >= low).all()
    assert (out <= high).all()
