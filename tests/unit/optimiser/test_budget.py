"""OPT-17: a time budget is kept, and what comes back is a plan with an honest gap."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from optimiser import Limits, Portfolio, Status, Tariffs, plan
from optimiser.synthetic import neighbourhood

Case = tuple[Portfolio, Limits, Tariffs]


def test_out_of_time_a_feasible_plan_with_a_true_bound_returns(judge: Callable[..., None]) -> None:
    case = neighbourhood(60, 1)
    began = time.monotonic()
    result = plan(*case, budget_s=0.01)
    assert time.monotonic() - began < 1.0
    assert result.status is Status.TIME_LIMIT
    assert result.gap > 1e-3
    judge(case, result)
    assert result.bound_eur < plan(*case).cost_eur < result.cost_eur


def test_enough_time_changes_nothing(small: Case) -> None:
    assert plan(*small, budget_s=30.0).net_kw.tobytes() == plan(*small).net_kw.tobytes()


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_no_time_at_all_is_the_same_as_too_little(small: Case, budget: float) -> None:
    result = plan(*small, budget_s=budget)
    assert result.status is Status.TIME_LIMIT
    assert np.isfinite(result.bound_eur)
