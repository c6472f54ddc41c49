"""Settlements, both ways: the rows of orders, and what became of contracts.

The schema makes a FlexSettlement an extension of the response type, so that it states a Result, and demands a
ContractSettlement where there is no contract. Both are said because they must be, and not heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

from adapters.uftp.elements import Element
from datamodels import (
    ContractDay,
    ContractIsp,
    ContractSettlement,
    Head,
    MarketCalendar,
    Settlement,
    SettlementIsp,
    SettlementRow,
)

__all__ = ["read_settlement", "write_settlement"]

T = TypeVar("T", SettlementIsp, ContractIsp)

_ORDER_POWERS = {
    "BaselinePower": "baseline_w",
    "OrderedFlexPower": "ordered_w",
    "ActualPower": "actual_w",
    "DeliveredFlexPower": "delivered_w",
    "PowerDeficiency": "deficiency_w",
}
_CONTRACT_POWERS = {
    "ReservedPower": "reserved_w",
    "RequestedPower": "requested_w",
    "AvailablePower": "available_w",
    "OfferedPower": "offered_w",
    "OrderedPower": "ordered_w",
}


def read_settlement(element: Element, head: Head, calendar: MarketCalendar) -> Settlement:
    """A settlement of days of the market; ContractSettlements without ContractID say nothing.

    Raises:
        ValueError: an ISP is not on its day, or is settled twice in a row.
    """
    rows = tuple(
        SettlementRow(
            row.get("OrderReference") or "",
            row["CongestionPoint"],
            row["Period"],
            row["Price"],
            row["Penalty"],
            row["NetSettlement"],
            _expand(row, SettlementIsp, _ORDER_POWERS, calendar),
            row.get("ContractID"),
            row.get("D-PrognosisMessageID"),
            row.get("BaselineReference"),
        )
        for row in element.all("FlexOrderSettlement")
    )
    contracts = tuple(
        ContractSettlement(
            contract["ContractID"],
            tuple(
                ContractDay(day["Period"], _expand(day, ContractIsp, _CONTRACT_POWERS, calendar))
                for day in contract.children
            ),
        )
        for contract in element.all("ContractSettlement")
        if contract.get("ContractID")
    )
    return Settlement(head, element["PeriodStart"], element["PeriodEnd"], element["Currency"], rows, contracts)


def write_settlement(message: Settlement) -> tuple[dict[str, Any], tuple[Element, ...]]:
    """Attributes and children of a FlexSettlement.

    Raises:
        ValueError: there is no row, or one without ISPs: the schema demands them.
    """
    if not message.rows:
        raise ValueError("a settlement without any order cannot be sent: the schema demands one row")
    attributes = {
        "Result": "Accepted",
        "PeriodStart": message.period_start,
        "PeriodEnd": message.period_end,
        "Currency": message.currency,
    }
    rows = tuple(_row(row) for row in message.rows)
    contracts = tuple(_contract(contract) for contract in message.contracts) or (_no_contract(message.rows[0]),)
    return attributes, (*rows, *contracts)


def _row(row: SettlementRow) -> Element:
    attributes = {
        "OrderReference": row.order_reference or None,
        "Period": row.period,
        "ContractID": row.contract,
        "D-PrognosisMessageID": row.prognosis,
        "BaselineReference": row.baseline_reference,
        "CongestionPoint": row.congestion_point,
        "Price": row.price,
        "Penalty": row.penalty,
        "NetSettlement": row.net,
    }
    return _part("FlexOrderSettlement", attributes, _stretches(row.isps, _ORDER_POWERS, row.order_reference))


def _contract(contract: ContractSettlement) -> Element:
    days = tuple(
        Element("Period", {"Period": day.period}, _stretches(day.isps, _CONTRACT_POWERS, contract.contract))
        for day in contract.days
    )
    return Element("ContractSettlement", {"ContractID": contract.contract}, days)


def _no_contract(row: SettlementRow) -> Element:
    """What the schema demands where no contract is settled: the first row's ISPs, with nothing reserved."""
    nothing = ContractDay(row.period, tuple(ContractIsp(isp.isp, 0) for isp in row.isps))
    return Element("ContractSettlement", {}, _contract(ContractSettlement("", (nothing,))).children)


def _part(name: str, attributes: Mapping[str, Any], children: tuple[Element, ...] = ()) -> Element:
    return Element(name, {k: v for k, v in attributes.items() if v is not None}, children)


def _expand(parent: Element, cls: type[T], powers: Mapping[str, str], calendar: MarketCalendar) -> tuple[T, ...]:
    """One object an ISP from stretches of equal ones, in the order in which they stand."""
    last = calendar.isps(parent["Period"])
    found: dict[int, T] = {}
    for isp in parent.children:
        first, end = isp["Start"], isp["Start"] + isp["Duration"]
        if end > 1 + last:
            raise ValueError(f"ISPs {first}+{isp['Duration']} are not in 1..{last}")
        values = {field: isp.get(name) for name, field in powers.items()}
        for number in range(first, end):
            if number in found:
                raise ValueError(f"ISP {number} of {parent['Period']} is settled twice")
            found[number] = cls(number, **values)
    return tuple(found.values())


def _stretches(isps: Sequence[T], powers: Mapping[str, str], owner: str) -> tuple[Element, ...]:
    """Consecutive ISPs of equal powers as one element each."""
    if not isps:
        raise ValueError(f"settlement of {owner} has no ISP")
    values = attrgetter(*powers.values())
    found = []
    for _, group in groupby(enumerate(isps), key=lambda item: (item[1].isp - item[0], values(item[1]))):
        run = [isp for _, isp in group]
        stretch = {"Start": run[0].isp, "Duration": len(run), **dict(zip(powers, values(run[0]), strict=True))}
        found.append(_part("ISP", stretch))
    return tuple(found)
