"""Formulas compute what they say, assumptions are replaced one by one, and figures are traceable."""

from pathlib import Path

import pytest

from interop.usecases.assumptions import Assumption, AssumptionError, Assumptions
from interop.usecases.business import COMMUNITY, HOME, LVGRID
from interop.usecases.sheet import Flow, Model, Row, balances, business_case, evaluate, sensitivities, work_out

ASSUMED = {"price": Assumption(2.0, "EUR", "a guess"), "rate": Assumption(0.05, "1/a", "a guess")}
ROWS = (
    Row("sum", "EUR", "price * amount", "what it comes to"),
    Row("annuity", "EUR/a", "sum * rate / (1 - (1 + rate) ** -10)", "a year"),
)


def test_formulas_are_arithmetic_over_names() -> None:
    assert evaluate("2 * (a - 1) ** 2 / -b", {"a": 4.0, "b": 3.0}) == -6.0


@pytest.mark.parametrize("formula", ["__import__('os')", "a.b", "c + 1", "[1]", "a if 1 else 2", "'x'", "a // 2"])
def test_anything_else_is_refused(formula: str) -> None:
    with pytest.raises(ValueError, match="is not known here"):
        evaluate(formula, {"a": 1.0})


def test_figures_build_on_those_above() -> None:
    total, annuity = work_out(ROWS, ASSUMED, {"amount": 500.0})
    assert total.value == 1000.0
    assert annuity.value == pytest.approx(129.504575)


def test_sensitivities_halve_and_double_one_assumption() -> None:
    (entry,) = sensitivities(ROWS, ASSUMED, {"amount": 500.0}, ["price"], "sum")
    assert entry.inputs == (1.0, 2.0, 4.0)
    assert entry.results == (500.0, 1000.0, 2000.0)


def test_what_parties_get_and_pay_adds_up_to_nothing() -> None:
    flows = (Flow("a", "b", "x", ""), Flow("b", "c", "y", ""), Flow("c", "a", "x", ""))
    assert balances(flows, {"x": 3.0, "y": -1.0}) == {"a": 0.0, "b": 4.0, "c": -4.0}


def test_a_case_ends_with_its_result_and_tries_it_on_other_assumptions() -> None:
    flow = Flow("a", "b", "amount", "")
    case = business_case(Model("", ROWS[:1], (flow,), ("price",)), ASSUMED, {"amount": (500.0, "", "pieces")})
    assert case.figures[-1].value == 1000.0
    assert case.balances == {"a": -500.0, "b": 500.0}
    assert case.sensitivities[0].figure == "sum"


@pytest.mark.parametrize("model", [HOME, COMMUNITY, LVGRID])
def test_whoever_pays_and_is_paid_is_named_once_and_figures_have_names_of_their_own(model: Model) -> None:
    names = [row.name for row in model.rows]
    assert len(set(names)) == len(names)
    known = {*names, *(name for part in Assumptions.read().sections.values() for name in part), "local_fees"}
    assert {flow.figure for flow in model.flows} <= known
    assert all(flow.payer != flow.payee for flow in model.flows)


def test_single_assumptions_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[home]\npv_kwp = 12\n[common]\ninterest_rate = { value = 0.03, why = "our bank" }\n')
    mine, shipped = Assumptions.read(file).of("home"), Assumptions.read().of("home")
    assert (mine["pv_kwp"].value, mine["pv_kwp"].unit, mine["pv_kwp"].why) == (12.0, "kWp", "given in mine.toml")
    assert (mine["interest_rate"].value, mine["interest_rate"].why) == (0.03, "our bank")
    assert {n: a for n, a in mine.items() if n not in ("pv_kwp", "interest_rate")} == {
        n: a for n, a in shipped.items() if n not in ("pv_kwp", "interest_rate")
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[home]\npv_kw = 1", "home.pv_kw is assumed nowhere"),
        ("pv_kwp = 1", "pv_kwp is assumed nowhere"),
        ("[home]\npv_kwp = 'big'", "home.pv_kwp is 'big', not a number"),
        ("[home]\npv_kwp = true", "not a number"),
        ("[home]\npv_kwp = -1", "home.pv_kwp is -1, which is not within 0 to 1e+09"),
        ("[common]\ninterest_rate = 0", "is 0, which is not within 0.001 to 1e+09"),
        ("[lvgrid]\noutage_isp = nan", "is nan, which is not within 0 to 95"),
        ("[home", "mine.toml: "),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(AssumptionError) as caught:
        Assumptions.read(file)
    assert says in str(caught.value)
