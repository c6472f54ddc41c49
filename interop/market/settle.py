"""Settlement of orders: the grid operator draws it up, the aggregator checks it against its own books."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from datamodels import (
    FlexOrder,
    Head,
    IspSeries,
    MarketTerms,
    Metering,
    Prognosis,
    Settlement,
    SettlementRow,
    settle_order,
)

__all__ = ["dispositions", "metered", "rows", "settle"]

_TOLERANCE_W = 1


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


def settle(
    head: Head,
    day: date,
    orders: Sequence[FlexOrder],
    prognoses: Mapping[str, Prognosis],
    actual: IspSeries,
    terms: MarketTerms,
) -> Settlement:
    """Settle the orders of one aggregator for one day at one congestion point (ValueError as in `rows`)."""
    everywhere = {(order.congestion_point, day): actual for order in orders}
    return Settlement(head, day, day, terms.calendar.currency, rows(orders, prognoses, everywhere, terms))


def dispositions(settlement: Settlement, own: Settlement) -> tuple[tuple[str, str], ...]:
    """The aggregator's verdict on each row: Accepted, or Disputed with what its own books say (UFTP 3.10)."""
    mine = {row.order_reference: row for row in own.rows}
    out: list[tuple[str, str]] = []
    for row in settlement.rows:
        ours = mine.get(row.order_reference)
        if ours is None:
            out.append((row.order_reference, "Disputed: we have no such order"))
            continue
        theirs_w = {i.isp: (i.baseline_w, i.ordered_w, i.actual_w) for i in row.isps}
        wrong = [
            i.isp
            for i in ours.isps
            if any(
                abs(a - b) > _TOLERANCE_W
                for a, b in zip(theirs_w.get(i.isp, (0, 0, 0)), (i.baseline_w, i.ordered_w, i.actual_w), strict=True)
            )
        ]
        if wrong:
            out.append((row.order_reference, f"Disputed: powers of ISP {', '.join(map(str, wrong[:5]))} differ"))
        elif (row.price, row.penalty, row.net) != (ours.price, ours.penalty, ours.net):
            out.append((row.order_reference, f"Disputed: we count {ours.price} - {ours.penalty} = {ours.net}"))
        else:
            out.append((row.order_reference, "Accepted"))
    return tuple(out)


def _penalty(terms: MarketTerms, order: FlexOrder) -> Decimal:
    contract = terms.contract(order.contract) if order.contract else None
    return contract.penalty_eur_per_kwh if contract else terms.penalty_eur_per_kwh
