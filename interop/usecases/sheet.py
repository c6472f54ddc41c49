"""A business case as a sheet of formulas: every figure says how it comes about, and is computed by what it says."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from interop.usecases.assumptions import Assumption

__all__ = [
    "BusinessCase",
    "Figure",
    "Flow",
    "Model",
    "Row",
    "Sensitivity",
    "annuity",
    "balances",
    "business_case",
    "evaluate",
    "sensitivities",
    "work_out",
]

_OPERATORS: dict[type, Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A figure to work out: `formula` over assumptions, measured values and figures above it."""

    name: str
    unit: str
    formula: str
    says: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure worked out."""

    name: str
    value: float
    unit: str
    formula: str
    says: str


def annuity(years: str) -> str:
    """Formula of what an outlay of 1 costs a year over its life."""
    return f"interest_rate / (1 - (1 + interest_rate) ** -{years})"


@dataclass(frozen=True, slots=True)
class Flow:
    """Who pays whom how much in all a year (a figure's name; below 0: the other way), and what for."""

    payer: str
    payee: str
    figure: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """An assumption at half, as assumed, and doubled, and what that makes of a figure."""

    assumption: str
    unit: str
    inputs: tuple[float, float, float]
    figure: str
    results: tuple[float, float, float]


def evaluate(formula: str, values: Mapping[str, float]) -> float:
    """The value of a formula.

    Raises:
        ValueError: it holds anything but numbers, names that are known, and + - * / ** with brackets.
    """

    def of(node: ast.AST) -> float:
        match node:
            case ast.Expression(body):
                return of(body)
            case ast.Constant(value) if isinstance(value, int | float):
                return float(value)
            case ast.Name(id) if id in values:
                return values[id]
            case ast.BinOp(left, kind, right) if type(kind) in _OPERATORS:
                return _OPERATORS[type(kind)](of(left), of(right))
            case ast.UnaryOp(kind, operand) if type(kind) in _OPERATORS:
                return _OPERATORS[type(kind)](of(operand))
        raise ValueError(f"{formula!r}: {ast.unparse(node)!r} is not known here")

    return of(ast.parse(formula, mode="eval"))


def work_out(
    rows: Sequence[Row], assumed: Mapping[str, Assumption], measured: Mapping[str, float]
) -> tuple[Figure, ...]:
    """Every row in order.

    Raises:
        ValueError: as `evaluate`.
    """
    values = {name: entry.value for name, entry in assumed.items()} | dict(measured)
    figures = []
    for row in rows:
        values[row.name] = evaluate(row.formula, values)
        figures.append(Figure(row.name, values[row.name], row.unit, row.formula, row.says))
    return tuple(figures)


def balances(flows: Sequence[Flow], values: Mapping[str, float]) -> dict[str, float]:
    """What each party gets less what it pays, in the order in which they appear; adds up to zero."""
    out: dict[str, float] = {}
    for flow in flows:
        for party, sign in ((flow.payer, -1), (flow.payee, 1)):
            out[party] = out.get(party, 0.0) + sign * values[flow.figure]
    return out


def sensitivities(
    rows: Sequence[Row],
    assumed: Mapping[str, Assumption],
    measured: Mapping[str, float],
    of: Sequence[str],
    figure: str,
) -> tuple[Sensitivity, ...]:
    """What becomes of `figure` when each assumption named in `of` is halved and doubled, all else equal."""
    out = []
    for name in of:
        base = assumed[name].value
        results = []
        for value in (base / 2, base, base * 2):
            entry = replace(assumed[name], value=value)
            worked = {f.name: f.value for f in work_out(rows, {**assumed, name: entry}, measured)}
            results.append(worked[figure])
        low, middle, high = results
        inputs = (base / 2, base, base * 2)
        out.append(Sensitivity(name, assumed[name].unit, inputs, figure, (low, middle, high)))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Model:
    """How a business case is worked out. The last row is its result; half and double of the assumptions `varied` are
    tried on it."""

    lead: str
    rows: tuple[Row, ...]
    flows: tuple[Flow, ...]
    varied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BusinessCase:
    """`measured` are the run's figures that formulas use; every figure says its formula. `balances`: per party, what it
    gets less what it pays."""

    lead: str
    assumed: Mapping[str, Assumption]
    measured: Mapping[str, tuple[float, str, str]]
    figures: tuple[Figure, ...]
    flows: tuple[Flow, ...]
    balances: Mapping[str, float]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def values(self) -> dict[str, float]:
        """Of everything by name."""
        return _values(self.assumed, self.measured, self.figures)


def business_case(
    model: Model, assumed: Mapping[str, Assumption], measured: Mapping[str, tuple[float, str, str]]
) -> BusinessCase:
    """Work a business case out: `measured` maps names to (value, unit, what it is)."""
    numbers = {name: entry[0] for name, entry in measured.items()}
    figures = work_out(model.rows, assumed, numbers)
    return BusinessCase(
        model.lead,
        assumed,
        measured,
        figures,
        model.flows,
        balances(model.flows, _values(assumed, measured, figures)),
        sensitivities(model.rows, assumed, numbers, model.varied, figures[-1].name),
    )


def _values(
    assumed: Mapping[str, Assumption], measured: Mapping[str, tuple[float, str, str]], figures: Sequence[Figure]
) -> dict[str, float]:
    return {
        **{name: entry.value for name, entry in assumed.items()},
        **{name: entry[0] for name, entry in measured.items()},
        **{figure.name: figure.value for figure in figures},
    }


def _names(name: str, formula: str) -> bool:
    return name in formula.replace("(", " ").replace(")", " ").split()
