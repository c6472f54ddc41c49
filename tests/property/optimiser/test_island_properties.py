"""Whatever the homes and the hour: an island is balanced, sheds in order, and draws no battery below empty."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimiser import Island, Limits, State, islanded
from optimiser.synthetic import neighbourhood

CASES = [neighbourhood(6, seed) for seed in range(3)]


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(range(len(CASES))),
    st.integers(0, 90),
    st.integers(1, 24),
    st.lists(st.integers(1, 3), min_size=6, max_size=6),
    st.floats(0.0, 1.0),
)
def test_islands_balance_shed_in_order_and_keep_their_stores(
    case: int, start: int, length: int, ranks: list[int], charge: float
) -> None:
    p, _, tariffs = CASES[case]
    end, priority = min(start + length, p.isps), np.array(ranks)
    state = State(charge * p.bat_capacity_kwh, np.zeros(6), p.th_initial)
    island = Island(np.ones(6, bool), start, end, priority)
    measured = np.zeros((6, start))
    found = islanded(p, Limits.none(1, p.isps), tariffs, island, state=state, measured_net_kw=measured)
    window = slice(start, end)
    told, shed = found.plan, found.unserved_kw[:, window]
    np.testing.assert_allclose(told.net_kw[:, window].sum(axis=0), 0.0, atol=1e-6)
    assert (told.battery_kwh[p.has_battery][:, window] >= -1e-9).all()
    assert (told.battery_kwh[p.has_battery][:, window] <= p.bat_capacity_kwh[p.has_battery, None] + 1e-9).all()
    asked = np.maximum(p.load_kw[:, window], 0.0)
    for t in range(end - start):
        if shed[:, t].max() <= 1e-6:
            continue
        least = priority[shed[:, t] > 1e-6].max()
        below = priority < least
        np.testing.assert_allclose(shed[below, t], asked[below, t], atol=1e-6)
    energy, driven, warmth = state.battery_kwh, state.ev_kwh, state.thermal
    for t in range(start, p.isps):
        power = told.battery_kw[:, t]
        energy = energy + p.dt_h * np.where(power > 0, power * p.bat_efficiency, power / p.bat_efficiency)
        driven = driven + p.dt_h * p.ev_efficiency * told.ev_kw[:, t]
        warmth = p.th_a * warmth + p.th_b[:, t] * told.hp_kw[:, t] + p.th_w[:, t]
        np.testing.assert_allclose(told.battery_kwh[p.has_battery, t], energy[p.has_battery], atol=1e-6)
        np.testing.assert_allclose(told.ev_kwh[p.has_ev, t], driven[p.has_ev], atol=1e-6)
        np.testing.assert_allclose(told.thermal[p.has_heat_pump, t], warmth[p.has_heat_pump], atol=1e-6)
    used = told.battery_kw + told.ev_kw + told.hp_kw - told.pv_kw
    np.testing.assert_allclose(told.net_kw[:, start:], (told.load_kw + used)[:, start:], atol=1e-8)
    np.testing.assert_allclose(told.load_kw[:, window] + shed, p.load_kw[:, window], atol=1e-9)
    assert (told.pv_kw <= p.pv_kw + 1e-9).all()
    assert (told.hp_kw <= p.hp_max_kw + 1e-9).all()
    assert (told.ev_kw <= p.ev_max_kw + 1e-9).all()
    assert told.bound_eur <= told.cost_eur + 1e-6
    assert (told.net_kw[:, window] <= p.imp_max_kw[:, window] + 1e-6).all()
    assert (told.net_kw[:, window] >= -p.exp_max_kw[:, window] - 1e-6).all()
