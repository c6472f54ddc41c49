"""Nobody loses and payments add up, whatever members do and prices are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from interop.usecases.measures import bills, community_bill
from interop.usecases.sharing import clear, local_prices, share

POWERS = arrays(float, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-50, 50, width=32))
MONEY = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=1, max_size=9)


def prices(isps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Buying and selling prices, the latter never above; both may be below zero."""
    rng = np.random.default_rng(seed)
    sell = rng.uniform(-0.2, 0.3, isps)
    return sell + rng.uniform(0, 0.3, isps), sell


@given(POWERS, st.integers(0, 99))
def test_clearing_balances_and_leaves_nobody_worse_off_than_its_supplier(net: np.ndarray, seed: int) -> None:
    buy, sell = prices(net.shape[1], seed)
    fee = (seed % 3) / 2 * (buy - sell)
    paid = clear(net, buy, sell, 0.25, fee)
    assert paid.sum() == pytest.approx(community_bill(net, buy, sell, 0.25, fee), abs=1e-9)
    assert (paid <= bills(net, buy, sell, 0.25) + 1e-9).all()
    bought, sold = local_prices(net, buy, sell, fee)
    assert (sell - 1e-12 <= sold).all()
    assert (sold <= bought + 1e-12).all()
    assert (bought <= buy + 1e-12).all()


@given(POWERS, st.integers(0, 99))
def test_prices_do_not_jump_where_a_community_is_just_balanced(net: np.ndarray, seed: int) -> None:
    buy, sell = prices(net.shape[1], seed)
    balanced = np.vstack([net, -net.sum(axis=0)])
    nudged = balanced.copy()
    nudged[0] += 1e-9
    np.testing.assert_allclose(clear(balanced, buy, sell, 1.0), clear(nudged, buy, sell, 1.0), atol=1e-6)


@given(MONEY)
def test_redistribution_balances_and_nobody_loses_where_there_is_a_gain(money: list[tuple[float, float]]) -> None:
    alone, cleared = np.array(money).T
    shares = share(alone, cleared)
    assert shares.paid_eur.sum() == pytest.approx(cleared.sum(), abs=1e-7)
    if alone.sum() >= cleared.sum():
        assert (shares.gain_eur >= -1e-9).all()
        helped = cleared < alone
        if helped.any():
            assert shares.gain_eur[~helped] == pytest.approx(0.0, abs=1e-9)


@given(MONEY)
def test_members_are_treated_alike_whatever_their_order(money: list[tuple[float, float]]) -> None:
    alone, cleared = np.array(money).T
    turned = share(alone[::-1], cleared[::-1])
    np.testing.assert_allclose(turned.paid_eur[::-1], share(alone, cleared).paid_eur, atol=1e-9)


def test_a_gain_without_anyone_to_thank_is_shared_equally_and_a_loss_is_not_hidden() -> None:
    assert share(np.zeros(2), np.zeros(2)).gain_eur.tolist() == [0.0, 0.0]
    lost = share(np.array([1.0, 3.0]), np.array([4.0, 4.0]))
    assert lost.gain_eur.tolist() == [-1.0, -3.0]
