"""Settlement of orders: the grid operator draws it up, the aggregator checks it against its own books."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from datamodels import (
    FlexOrder,
    IspSeries,
    MarketTerms,
    Metering,
    Prognosis,
    SettlementRow,
    settle_order,
)

__all__ = ["metered", "rows"]


def metered(meterings: Iterable[Metering]) -> IspSeries | None:
    """Sum of the net power of several connections; None where there is none, or one of them has no power."""
    total: IspSeries | None = None
    for metering in meterings:
        power = metering.power()
        if power is None:
            return None
        total = power if total is None else total + power
    return total


def rows(
    orders: Iterable[FlexOrder],
    prognoses: Mapping[str, Prognosis],
    actual: Mapping[tuple[str, date], IspSeries],
    terms: MarketTerms,
) -> tuple[SettlementRow, ...]:
    """Settle orders of one aggregator in the order in which they were placed (UFTP 2.6.2).

    Each is measured from the prognosis it refers to; what was ordered before it on the same prognosis is served first.

    Args:
        prognoses: by message id.
        actual: what the aggregator's connections used, by congestion point and day.

    Raises:
        ValueError: an order's prognosis, or the metering of its day, is not among them.
    """
    found: list[SettlementRow] = []
    earlier: dict[str, list[IspSeries]] = {}
    for order in sorted(orders, key=lambda o: (o.head.created, o.head.message_id)):
        prognosis = prognoses.get(order.prognosis or "")
        measured = actual.get((order.congestion_point, order.power.period))
        if prognosis is None or measured is None:
            what = "prognosis" if prognosis is None else "metering"
            raise ValueError(f"order {order.order_reference} refers to no known {what}")
        already = earlier.setdefault(prognosis.head.message_id, [])
        found.append(
            settle_order(
                order.order_reference,
                order.congestion_point,
                order.power,
                prognosis.power,
                measured,
                order.price,
                penalty_eur_per_kwh=_penalty(terms, order),
                basis=terms.settlement_basis,
                already=tuple(already),
                references={"contract": order.contract, "prognosis": order.prognosis},
            )
        )
        already.append(order.power)
    return tuple(found)


def _penalty(terms: MarketTerms, order: FlexOrder) -> Decimal:
    contract = terms.contract(order.contract) if order.contract else None
    return contract.penalty_eur_per_kwh if contract else terms.penalty_eur_per_kwh
