"""Settlement: complete, within its period, and equal to our own record.

A number that we disagree with is no reason to reject: its row is disputed. Disputes are warnings whose `where` is the
OrderReference and whose `reason` is the text for `Acknowledgement.details`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from adapters.ports import Direction
from adapters.uftp.rules.registry import Context, Finding, known, rule
from datamodels import FlexOrder, IspSeries, Settlement, SettlementRow, Severity, settle_order

_SETTLEMENT = ("FlexSettlement",)


@rule("R15.settlement", _SETTLEMENT, "Period out of bounds", "3.5 generic reasons")
def period_order(context: Context) -> Iterator[Finding]:
    if context.element["PeriodEnd"] < context.element["PeriodStart"]:
        yield Finding("PeriodEnd", "lies before PeriodStart")


@rule("R13.settlement", _SETTLEMENT, "Period out of bounds", "3.5 generic reasons")
def rows_inside(context: Context) -> Iterator[Finding]:
    first, last = context.element["PeriodStart"], context.element["PeriodEnd"]
    days = [row["Period"] for row in context.element.all("FlexOrderSettlement")]
    # ContractSettlement rows without ContractID only fill a hole of the schema.
    contracts = (c for c in context.element.all("ContractSettlement") if c.get("ContractID"))
    days.extend(period["Period"] for contract in contracts for period in contract.children)
    for day in days:
        if not first <= day <= last:
            yield Finding("Period", f"{day} is not in {first}..{last}")


@rule("R48.start", _SETTLEMENT, "PeriodStart rejected", "3.10")
def start_plausible(context: Context) -> Iterator[Finding]:
    today = context.now.astimezone(context.terms.calendar.zone).date()
    if context.element["PeriodStart"] > today:
        yield Finding("PeriodStart", f"{context.element['PeriodStart']} is still to come")


@rule("R48.end", _SETTLEMENT, "PeriodEnd rejected", "3.10")
def end_plausible(context: Context) -> Iterator[Finding]:
    today = context.now.astimezone(context.terms.calendar.zone).date()
    if context.element["PeriodEnd"] > today:
        yield Finding("PeriodEnd", f"{context.element['PeriodEnd']} is still to come")


def _own_orders(context: Context) -> list[FlexOrder]:
    """Accepted orders of this DSO in the settled days, in the order of their placement."""
    first, last = context.element["PeriodStart"].isoformat(), context.element["PeriodEnd"].isoformat()
    orders = [
        order
        for point in context.terms.congestion_points
        for order in context.history.orders_between(point.address, first, last)
        if order.head.sender == context.sender
    ]
    return sorted(orders, key=lambda order: (order.head.created, order.head.message_id))


@rule("R48.complete", _SETTLEMENT, "Missing Settlement Items", "3.10")
def complete(context: Context) -> Iterator[Finding]:
    listed = {row.get("OrderReference") for row in context.element.all("FlexOrderSettlement")}
    for order in _own_orders(context):
        if order.order_reference not in listed:
            yield Finding(order.order_reference, f"order {order.order_reference} is missing")


@rule("R48", _SETTLEMENT, "Disputed", "2.6.2, 3.10")
def rows_agree(context: Context) -> Iterator[Finding]:
    if not isinstance(context.canonical, Settlement):
        return
    orders = _own_orders(context)
    by_reference = {order.order_reference: order for order in orders}
    for row in context.canonical.rows:
        order = by_reference.get(row.order_reference)
        for why in _disagreements(row, order, orders, context):
            yield Finding(row.order_reference, why, why, severity=Severity.WARNING)
            break


def _disagreements(
    row: SettlementRow, order: FlexOrder | None, orders: list[FlexOrder], context: Context
) -> Iterator[str]:
    if row.net != row.price - row.penalty:
        yield f"NetSettlement {row.net} is not {row.price} - {row.penalty}"
    if order is None:
        yield "no accepted order has this reference"
        return
    if row.congestion_point != order.congestion_point or row.period != order.power.period:
        yield "congestion point or period differ from the order's"
        return
    ordered = {isp.isp: isp.ordered_w for isp in row.isps}
    if ordered != dict(order.power) or len(ordered) != len(row.isps):
        yield "OrderedFlexPower differs from the order's"
        return
    expected = _expected(row, order, orders, context)
    for stated, due in zip(row.isps, expected.isps, strict=True):
        if stated != due:
            yield (f"ISP {due.isp}: delivered {due.delivered_w} W, deficiency {due.deficiency_w} W by our arithmetic")
            return
    if (row.price, row.penalty) != (expected.price, expected.penalty):
        yield f"price {expected.price}, penalty {expected.penalty} by our arithmetic"


def _expected(row: SettlementRow, order: FlexOrder, orders: list[FlexOrder], context: Context) -> SettlementRow:
    """The row as it should be, given the baseline and the measurement that it states."""
    contract = context.terms.contract(order.contract or "")
    penalty = contract.penalty_eur_per_kwh if contract else context.terms.penalty_eur_per_kwh
    series = order.power
    baseline: list[int | None] = [None] * len(series)
    actual: list[int | None] = [None] * len(series)
    for isp in row.isps:
        baseline[isp.isp - 1], actual[isp.isp - 1] = isp.baseline_w, isp.actual_w
    earlier = [
        other.power
        for other in orders[: orders.index(order)]
        if other.congestion_point == order.congestion_point
        and other.power.period == series.period
        and (other.prognosis, other.baseline_reference) == (order.prognosis, order.baseline_reference)
    ]
    expected = settle_order(
        order.order_reference,
        order.congestion_point,
        series,
        IspSeries(series.calendar, series.period, tuple(baseline)),
        IspSeries(series.calendar, series.period, tuple(actual)),
        order.price,
        penalty_eur_per_kwh=Decimal(penalty),
        basis=context.terms.settlement_basis,
        already=earlier,
    )
    by_number = {isp.isp: isp for isp in expected.isps}
    isps = tuple(by_number[isp.isp] for isp in row.isps)
    return SettlementRow(
        row.order_reference, row.congestion_point, row.period, expected.price, expected.penalty, expected.net, isps
    )


@rule("R25", ("FlexSettlementResponse",), "Unknown reference OrderReference", "3.10")
def settled_orders_known(context: Context) -> Iterator[Finding]:
    found = known(context, context.element["FlexSettlementMessageID"], Settlement, Direction.OUT)
    if found is None:
        return
    settled = {row.order_reference for row in found[1].rows}
    for status in context.element.children:
        reference = status.get("OrderReference")
        if reference is not None and reference not in settled:
            yield Finding("OrderReference", f"{reference!r} was not settled")


@rule("R21", ("D-PrognosisResponse",), "Unknown reference FlexOrderMessageID", "3.5 generic reasons")
def validated_orders_known(context: Context) -> Iterator[Finding]:
    for status in context.element.children:
        if known(context, status["FlexOrderMessageID"], FlexOrder, Direction.IN) is None:
            yield Finding("FlexOrderMessageID", f"no order {status['FlexOrderMessageID']} was received")
