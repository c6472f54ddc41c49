"""OPT-01: the synthetic neighbourhood is the one that the reference optima were made with."""

import json
from pathlib import Path

import numpy as np
import pytest

from optimiser.instance import read_instance
from optimiser.portfolio import ARRAY_FIELDS
from optimiser.synthetic import neighbourhood


@pytest.mark.parametrize("homes", [50, 100])
def test_arrays_equal_the_reference_instance(vectors: Path, homes: int) -> None:
    wanted, wanted_limits, wanted_tariffs = read_instance(vectors / f"synthetic_n{homes}_s1.npz")
    portfolio, limits, tariffs = neighbourhood(homes, 1)
    for name in ARRAY_FIELDS:
        np.testing.assert_allclose(
            getattr(portfolio, name), getattr(wanted, name), rtol=1e-13, atol=1e-14, err_msg=name
        )
    np.testing.assert_array_equal(limits.hi_kw, wanted_limits.hi_kw)
    np.testing.assert_array_equal(limits.lo_kw, wanted_limits.lo_kw)
    np.testing.assert_allclose(tariffs.buy_eur_per_kwh, wanted_tariffs.buy_eur_per_kwh, rtol=1e-13)
    np.testing.assert_allclose(tariffs.sell_eur_per_kwh, wanted_tariffs.sell_eur_per_kwh, rtol=1e-13)


@pytest.mark.parametrize("case", ["50/1", "300/1", "1000/1", "1000/7"])
def test_sums_equal_the_reference(vectors: Path, case: str) -> None:
    reference = json.loads((vectors / "reference.json").read_text())[case]
    portfolio, _, tariffs = neighbourhood(reference["n"], reference["seed"])
    check = reference["check"]
    assert portfolio.load_kw.sum() == pytest.approx(check["sum_load_kw"], rel=1e-12)
    assert portfolio.pv_kw.sum() == pytest.approx(check["sum_pv_kw"], rel=1e-12)
    assert tariffs.buy_eur_per_kwh.sum() == pytest.approx(check["sum_buy"], rel=1e-12)
    homes = {
        "pv": int((portfolio.pv_kw > 0).any(axis=1).sum()),
        "battery": int(portfolio.has_battery.sum()),
        "ev": int(portfolio.has_ev.sum()),
        "heat_pump": int(portfolio.has_heat_pump.sum()),
    }
    assert homes == reference["homes"]


def test_the_same_seed_gives_the_same_homes() -> None:
    one, other = neighbourhood(7, 4)[0], neighbourhood(7, 4)[0]
    for name in ARRAY_FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
