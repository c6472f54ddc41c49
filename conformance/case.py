"""Cases and suites. A case is declared once, with a stable id, the clause it judges, and its code beside it.

An id is stable for ever: a changed meaning gets a new id. A case knows its tester and the device under test, nothing
else; no state passes from one case to another.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from conformance.tester import Tester

__all__ = ["SUITES", "Case", "Level", "Suite", "load_suite", "needs_met"]

SUITES = ("openadr2", "uftp")
"""Names of the suites; each is a module of `conformance.suites` with a `SUITE`."""

Body: TypeAlias = "Callable[[Tester], Awaitable[None]]"
Claim: TypeAlias = bool | int | str
_ID = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*-[0-9]{3}")


class Level(StrEnum):
    """How binding a clause is; RFC 2119's words."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


@dataclass(frozen=True, slots=True)
class Case:
    """One test. `needs` is an expression over the claims of the device (its PICS): `HTTP and MAX_CONN >= 4`."""

    id: str
    title: str
    clause: str
    level: Level
    role: str
    needs: str
    timeout: float
    run: Body


@dataclass(slots=True)
class Suite:
    """Cases for one specification. `claims` is what a device is taken to claim unless it says otherwise."""

    id: str
    version: str
    specification: str
    claims: Mapping[str, Claim] = field(default_factory=dict)
    cases: dict[str, Case] = field(default_factory=dict)

    def case(
        self,
        id: str,
        title: str,
        *,
        clause: str,
        role: str,
        level: Level = Level.MUST,
        needs: str = "",
        timeout: float = 10.0,
    ) -> Callable[[Body], Body]:
        """Declare a case.

        Raises:
            ValueError: the id is malformed or taken, or `needs` is no expression over claims.
        """

        def register(run: Body) -> Body:
            if not _ID.fullmatch(id):
                raise ValueError(f"{id!r} is no case id: capitals and digits in groups, a number of three digits last")
            if id in self.cases:
                raise ValueError(f"two cases are called {id}")
            needs_met(needs, {})
            self.cases[id] = Case(id, title, clause, level, role, needs, timeout, run)
            return run

        return register


def load_suite(name: str) -> Suite:
    """The suite of that name (KeyError for one that is not in `SUITES`)."""
    if name not in SUITES:
        raise KeyError(name)
    suite = importlib.import_module(f"conformance.suites.{name}").SUITE
    assert isinstance(suite, Suite)
    return suite


def needs_met(expression: str, claims: Mapping[str, Claim]) -> bool:
    """Whether claims satisfy an expression of names, `and`, `or`, `not`, comparisons and constants.

    A name that is not claimed counts as false.

    Raises:
        ValueError: the expression holds anything else.
    """
    if not expression:
        return True
    try:
        return bool(_evaluate(ast.parse(expression, mode="eval").body, claims))
    except SyntaxError as error:
        raise ValueError(f"needs {expression!r}: {error.msg}") from error


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda a, b: bool(a == b),
    ast.NotEq: lambda a, b: bool(a != b),
    ast.GtE: lambda a, b: bool(a >= b),
    ast.LtE: lambda a, b: bool(a <= b),
    ast.Gt: lambda a, b: bool(a > b),
    ast.Lt: lambda a, b: bool(a < b),
}


def _evaluate(node: ast.expr, claims: Mapping[str, Claim]) -> Claim:
    match node:
        case ast.Name(id=name):
            return claims.get(name, False)
        case ast.Constant(value=bool() | int() | str() as value):
            return value
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, claims)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_evaluate(v, claims) for v in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_evaluate(v, claims) for v in values)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _COMPARE[type(op)](_evaluate(left, claims), _evaluate(right, claims))
    raise ValueError(f"needs: {ast.unparse(node)!r} is no claim and no comparison of claims")
