"""Who owes what: settlement rows and the arithmetic that fills them (UFTP 3.1.0 section 2.6.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from datamodels.messages import Head
from datamodels.parties import SettlementBasis
from datamodels.series import IspSeries

__all__ = [
    "ContractDay",
    "ContractIsp",
    "ContractSettlement",
    "Settlement",
    "SettlementIsp",
    "SettlementRow",
    "settle_isp",
    "settle_order",
]

_MONEY = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class SettlementIsp:
    """One ISP of an order, W. `delivered_w` has the sign of `ordered_w`; `deficiency_w` is never negative."""

    isp: int
    baseline_w: int
    ordered_w: int
    actual_w: int
    delivered_w: int
    deficiency_w: int


@dataclass(frozen=True, slots=True)
class SettlementRow:
    """One order settled: NetSettlement = price - penalty."""

    order_reference: str
    congestion_point: str
    period: date
    price: Decimal
    penalty: Decimal
    net: Decimal
    isps: tuple[SettlementIsp, ...]
    contract: str | None = None
    prognosis: str | None = None
    baseline_reference: str | None = None

    @property
    def delivered_share(self) -> float:
        """Delivered over ordered, 0..1, summed over the ISPs; 1 for an order of nothing."""
        ordered = sum(abs(i.ordered_w) for i in self.isps)
        return sum(abs(i.delivered_w) for i in self.isps) / ordered if ordered else 1.0


@dataclass(frozen=True, slots=True)
class ContractIsp:
    """What became of a contract in one ISP, signed W; None where nothing of the kind was said.

    `reserved_w` was reserved, `requested_w` and `available_w` asked by flex requests of that disposition, `offered_w`
    offered and `ordered_w` ordered under the contract.
    """

    isp: int
    reserved_w: int
    requested_w: int | None = None
    available_w: int | None = None
    offered_w: int | None = None
    ordered_w: int | None = None


@dataclass(frozen=True, slots=True)
class ContractDay:
    period: date
    isps: tuple[ContractIsp, ...]


@dataclass(frozen=True, slots=True)
class ContractSettlement:
    """How a contract was used (UFTP 2.6.2 and appendix 3): the days on which it reserved something or was drawn on."""

    contract: str
    days: tuple[ContractDay, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """A DSO's settlement of a range of days (UFTP FlexSettlement)."""

    head: Head
    period_start: date
    period_end: date
    currency: str
    rows: tuple[SettlementRow, ...]
    contracts: tuple[ContractSettlement, ...] = ()


def settle_isp(isp: int, baseline_w: int, ordered_w: int, actual_w: int, already_w: int = 0) -> SettlementIsp:
    """Settle one ISP of one order.

    With s = +1 where less consumption was ordered (a negative deviation) and -1 otherwise:
    realised = s (baseline - actual), delivered = clip(realised, 0, |ordered|) and
    deficiency = max(0, s (actual - baseline - ordered)). More than ordered is not paid; an order of 0 W owes nothing.

    `already_w` is the signed power of orders placed earlier for the same ISP. They are served first, and what is
    missing of them, or was moved the wrong way, is their deficiency alone.
    """
    s = 1 if ordered_w < 0 else -1
    acquired = abs(ordered_w)
    realised = s * (baseline_w + already_w - actual_w)
    if already_w:
        realised = max(realised, 0)
    delivered = min(max(realised, 0), acquired)
    deficiency = max(0, acquired - realised) if acquired else 0
    return SettlementIsp(isp, baseline_w, ordered_w, actual_w, -s * delivered, deficiency)


def settle_order(
    order_reference: str,
    congestion_point: str,
    ordered: IspSeries,
    baseline: IspSeries,
    actual: IspSeries,
    price: Decimal,
    *,
    penalty_eur_per_kwh: Decimal = Decimal(0),
    basis: SettlementBasis = SettlementBasis.PAY_DELIVERED,
    already: Sequence[IspSeries] = (),
    references: Mapping[str, str | None] | None = None,
) -> SettlementRow:
    """Settle one order against what was measured.

    Under PAY_DELIVERED the price shrinks with the delivered share of the ordered energy; under PAY_ORDERED it stays,
    and non-delivery shows in the penalty only. Money is quantised once, to 4 digits, half to even.

    Raises:
        ValueError: baseline or actual do not cover every ordered ISP.
    """
    rows: list[SettlementIsp] = []
    for isp, power in ordered:
        base, real = baseline.at(isp), actual.at(isp)
        if base is None or real is None:
            raise ValueError(f"ISP {isp} was ordered, but has no {'baseline' if base is None else 'metering'}")
        before = sum(s.at(isp) or 0 for s in already)
        rows.append(settle_isp(isp, base, power, real, before))
    hours = Decimal(str(ordered.calendar.isp_hours))
    acquired = sum(abs(r.ordered_w) for r in rows)
    delivered = sum(abs(r.delivered_w) for r in rows)
    paid = price
    if basis is SettlementBasis.PAY_DELIVERED and acquired:
        paid = price * delivered / acquired
    deficiency_kwh = sum(r.deficiency_w for r in rows) * hours / 1000
    paid = paid.quantize(_MONEY, ROUND_HALF_EVEN)
    penalty = (deficiency_kwh * penalty_eur_per_kwh).quantize(_MONEY, ROUND_HALF_EVEN)
    return SettlementRow(
        order_reference,
        congestion_point,
        ordered.period,
        paid,
        penalty,
        paid - penalty,
        tuple(rows),
        **dict(references or {}),
    )
