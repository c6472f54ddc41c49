"""Whatever appliances and modes a home has: each runs as it may, and the bound never lies above a plan's cost."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimiser import Appliances, Limits, Modes, Portfolio, Tariffs, plan
from optimiser.schedules import Choices
from optimiser.synthetic import neighbourhood

HOMES = 5
STREET, _, TARIFFS = neighbourhood(HOMES, 3)
seeds = st.integers(0, 2**32 - 1)


def devices(rng: np.random.Generator, isps: int) -> tuple[Appliances, Modes]:
    runs, switched = int(rng.integers(0, 5)), int(rng.integers(1, 5))
    length = rng.integers(1, 5, runs)
    first = rng.integers(0, isps - 4, runs)
    last = np.minimum(first + rng.integers(0, 9, runs), isps - length)
    homes = [np.sort(rng.integers(0, HOMES, count)) for count in (runs, switched)]
    appliances = Appliances(homes[0], first, last, length, rng.uniform(0.1, 2.5, (runs, 4)))
    switch = rng.choice([0.0, 0.01, np.inf], (switched, 3, 3))
    switch[:, 0, 1] = switch[:, 1, 0] = 0.0
    return appliances, Modes(
        home=homes[1],
        power_kw=rng.uniform(0.0, 2.0, (switched, 3)),
        cost_eur_per_h=rng.uniform(-0.02, 0.05, (switched, 3)),
        switch_eur=switch,
        stay=rng.integers(1, 5, (switched, 3)),
        run=rng.integers(0, isps // 2, switched),
        current=rng.integers(0, 3, switched),
        held=rng.integers(0, 5, switched),
    )


def lasts(m: Modes, d: int, mode: np.ndarray) -> bool:
    """Every mode that was left had lasted for long enough, and was left for one that may follow."""
    changes = np.flatnonzero(np.diff(mode, prepend=m.current[d]))
    begun = np.concatenate([[-m.held[d]], changes])
    modes = np.concatenate([[m.current[d]], mode[changes]])
    enough = np.diff(begun) >= m.stay[d, modes[:-1]]
    return bool(enough.all() and np.isfinite(m.switch_eur[d, modes[:-1], modes[1:]]).all())


@settings(max_examples=5, deadline=None)
@given(seeds, st.floats(0.2, 3.0))
def test_everything_runs_as_it_may_and_the_bound_holds(seed: int, room_kw: float) -> None:
    rng = np.random.default_rng(seed)
    window = slice(40, 60)
    cut = {name: value[:, window] for name, value in vars(STREET).items() if np.shape(value) == (HOMES, 96)}
    absent = dict.fromkeys(("ev_max_kw", "hp_max_kw"), np.zeros((HOMES, 20)))
    appliances, modes = devices(rng, 20)
    whole = {name: value for name, value in vars(STREET).items() if name not in cut}
    p = Portfolio(**(whole | cut | absent | {"appliances": appliances, "modes": modes}))
    tariffs = Tariffs(TARIFFS.buy_eur_per_kwh[:, window], TARIFFS.sell_eur_per_kwh[:, window])
    limits = Limits(np.full((1, 20), -np.inf), np.full((1, 20), HOMES * room_kw))
    result = plan(p, limits, tariffs)
    assert ((appliances.first <= result.app_start) & (result.app_start <= appliances.last)).all()
    for d in range(len(modes)):
        assert lasts(modes, d, result.mode[d])
    missing = Choices(p).short()[Choices(p).modes]
    assert ((result.mode > 0).sum(axis=1) >= modes.run - missing).all()
    drawn = appliances.run_kw(result.app_start, HOMES, 20)
    np.add.at(drawn, modes.home, np.take_along_axis(modes.power_kw, result.mode.astype(int), axis=1))
    np.testing.assert_allclose(result.load_kw - p.load_kw, drawn, atol=1e-9)
    assert result.bound_eur <= result.cost_eur + 1e-7


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_no_schedule_beats_the_best_one(seed: int) -> None:
    """The best at one price, judged at another, is never below the best there."""
    rng = np.random.default_rng(seed)
    appliances, modes = devices(rng, 20)
    p = Portfolio.of(0.25, np.zeros((HOMES, 20)), appliances=appliances, modes=modes)
    choices = Choices(p)
    prices = rng.normal(0.2, 0.2, (2, HOMES, 20))
    (here, mine), (there, other) = (choices.best(price) for price in prices)
    possible = np.isfinite(here)
    for least, price, schedule in ((here, prices[0], other), (there, prices[1], mine)):
        cost = (schedule.power_kw * price[choices.home] + schedule.own_eur).sum(axis=1)
        assert (cost >= least - 1e-9)[possible].all()
    cost = (mine.power_kw * prices[0][choices.home] + mine.own_eur).sum(axis=1)
    np.testing.assert_allclose(cost[possible], here[possible], atol=1e-9)
