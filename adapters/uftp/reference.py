"""Reference data, both ways: portfolios published to a common reference operator, questions, and views in answers.

The schema of an AGRPortfolioQueryResponse cannot say "none": it demands a view even of a rejection. What stands there
instead is a placeholder of the operator's own, which nobody reads (`is_placeholder`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from adapters.uftp.elements import Element
from datamodels import (
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    ConnectedAt,
    ConnectionPeriod,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    Head,
    PointPeriod,
    PointView,
    PortfolioView,
    RedispatchBy,
    ReferenceMessage,
)

__all__ = ["REFERENCE", "is_placeholder", "read_reference", "read_view", "write_reference", "write_view"]

Content: TypeAlias = tuple[Mapping[str, Any], tuple[Element, ...]]
"""What stands on a wire element beyond its metadata: attributes and children. None stands for an absent attribute."""


def read_reference(element: Element, head: Head) -> ReferenceMessage:
    """One of the four messages to a common reference operator."""
    return _READERS[element.name](element, head)


def read_view(element: Element) -> PortfolioView | None:
    """What an accepted answer to a portfolio query shows; None for any other answer, and for a rejected one.

    A DSO's answer without a congestion point shows nothing, and does not say of which: `congestion_point` is empty.
    """
    if element.get("Result") != "Accepted":
        return None
    if element.name == "AGRPortfolioQueryResponse":
        return _read_agr_view(element)
    return _read_dso_view(element) if element.name == "DSOPortfolioQueryResponse" else None


def write_reference(message: ReferenceMessage) -> Content:
    return _WRITERS[type(message)](message)


def write_view(view: PortfolioView, operator: Head) -> Content:
    """A view as content of the answer with that head; an empty one becomes the placeholder that the schema demands."""
    attributes = {"TimeZone": view.timezone, "Period": view.period}
    if isinstance(view, DsoView):
        connections = tuple(_part("Connection", _connected(c)) for c in view.connections)
        point = Element("CongestionPoint", {"EntityAddress": view.congestion_point}, connections)
        return attributes, (point,) if connections else ()
    by_dso: dict[str, list[PointView]] = {}
    for seen in view.points:
        by_dso.setdefault(seen.dso, []).append(seen)
    portfolios = [_portfolio(dso, points) for dso, points in by_dso.items()] or [_nowhere(operator)]
    unpublished = [Element("Connection", {"EntityAddress": address}) for address in view.unpublished]
    return attributes, (Element("DSO-View", {}, (*portfolios, *unpublished)),)


def is_placeholder(address: str, operator: str) -> bool:
    """Whether an address is the one by which the operator of that domain says "none"."""
    return re.fullmatch(rf"ea1\.[0-9]{{4}}-[0-9]{{2}}\.{re.escape(_reversed(operator))}:none", address) is not None


# --- in -----------------------------------------------------------------------------------------------------------


def _periods(elements: Iterable[Element]) -> tuple[ConnectionPeriod, ...]:
    return tuple(ConnectionPeriod(e["EntityAddress"], e["StartPeriod"], e.get("EndPeriod")) for e in elements)


def _intraday(element: Element) -> RedispatchBy | None:
    stated = element.get("IntradayRedispatchBy")
    return RedispatchBy(stated) if stated else None


def _read_dso_update(element: Element, head: Head) -> DsoPortfolioUpdate:
    points = tuple(
        PointPeriod(
            point["EntityAddress"],
            point["StartPeriod"],
            point.get("EndPeriod"),
            point["MutexOffersSupported"],
            RedispatchBy(point["DayAheadRedispatchBy"]),
            _periods(point.children),
            _intraday(point),
        )
        for point in element.children
    )
    return DsoPortfolioUpdate(head, element["TimeZone"], points)


def _read_agr_update(element: Element, head: Head) -> AgrPortfolioUpdate:
    return AgrPortfolioUpdate(head, element["TimeZone"], _periods(element.children))


def _read_agr_query(element: Element, head: Head) -> AgrPortfolioQuery:
    return AgrPortfolioQuery(head, element["TimeZone"], element["Period"])


def _read_dso_query(element: Element, head: Head) -> DsoPortfolioQuery:
    return DsoPortfolioQuery(head, element["TimeZone"], element["Period"], element["EntityAddress"])


def _read_agr_view(element: Element) -> AgrView:
    points: list[PointView] = []
    unpublished: list[str] = []
    for view in element.children:
        unpublished.extend(c["EntityAddress"] for c in view.all("Connection"))
        for portfolio in view.all("DSO-Portfolio"):
            points.extend(
                PointView(
                    point["EntityAddress"],
                    portfolio["DSO-Domain"],
                    point["MutexOffersSupported"],
                    RedispatchBy(point["DayAheadRedispatchBy"]),
                    tuple(c["EntityAddress"] for c in point.children),
                    _intraday(point),
                )
                for point in portfolio.children
                if not is_placeholder(point["EntityAddress"], element["SenderDomain"])
            )
    return AgrView(element["TimeZone"], element["Period"], tuple(points), tuple(unpublished))


def _read_dso_view(element: Element) -> DsoView:
    point = element.children[0] if element.children else None
    connections = tuple(ConnectedAt(c["EntityAddress"], c.get("AGR-Domain")) for c in (point.children if point else ()))
    return DsoView(element["TimeZone"], element["Period"], point["EntityAddress"] if point else "", connections)


# --- out ----------------------------------------------------------------------------------------------------------


def _part(name: str, attributes: Mapping[str, Any], children: tuple[Element, ...] = ()) -> Element:
    return Element(name, {k: v for k, v in attributes.items() if v is not None}, children)


def _valid(entry: PointPeriod | ConnectionPeriod) -> dict[str, Any]:
    return {"EntityAddress": entry.address, "StartPeriod": entry.start, "EndPeriod": entry.end}


def _redispatch(point: PointPeriod | PointView) -> dict[str, Any]:
    return {
        "MutexOffersSupported": point.mutex_offers,
        "DayAheadRedispatchBy": point.day_ahead_redispatch_by.value,
        "IntradayRedispatchBy": point.intraday_redispatch_by.value if point.intraday_redispatch_by else None,
    }


def _write_dso_update(message: DsoPortfolioUpdate) -> Content:
    return {"TimeZone": message.timezone}, tuple(
        _part(
            "CongestionPoint",
            {**_valid(point), **_redispatch(point)},
            tuple(_part("Connection", _valid(c)) for c in point.connections),
        )
        for point in message.points
    )


def _write_agr_update(message: AgrPortfolioUpdate) -> Content:
    return {"TimeZone": message.timezone}, tuple(_part("Connection", _valid(c)) for c in message.connections)


def _write_agr_query(message: AgrPortfolioQuery) -> Content:
    return {"TimeZone": message.timezone, "Period": message.period}, ()


def _write_dso_query(message: DsoPortfolioQuery) -> Content:
    attributes = {"TimeZone": message.timezone, "Period": message.period, "EntityAddress": message.congestion_point}
    return attributes, ()


def _connected(connection: ConnectedAt) -> dict[str, Any]:
    return {"EntityAddress": connection.address, "AGR-Domain": connection.agr}


def _portfolio(dso: str, points: Iterable[PointView]) -> Element:
    places = tuple(
        _part(
            "CongestionPoint",
            {"EntityAddress": point.address, **_redispatch(point)},
            tuple(Element("Connection", {"EntityAddress": address}) for address in point.connections),
        )
        for point in points
    )
    return Element("DSO-Portfolio", {"DSO-Domain": dso}, places)


def _reversed(domain: str) -> str:
    return ".".join(reversed(domain.split(".")))


def _nowhere(operator: Head) -> Element:
    address = f"ea1.{operator.created:%Y-%m}.{_reversed(operator.sender)}:none"
    nowhere = PointView(address, operator.sender, False, RedispatchBy.DSO, (address,))
    return _portfolio(operator.sender, (nowhere,))


_READERS: dict[str, Callable[[Element, Head], ReferenceMessage]] = {
    "DSOPortfolioUpdate": _read_dso_update,
    "AGRPortfolioUpdate": _read_agr_update,
    "AGRPortfolioQuery": _read_agr_query,
    "DSOPortfolioQuery": _read_dso_query,
}
REFERENCE = frozenset(_READERS)
"""Roots of the messages to a common reference operator."""

_WRITERS: dict[type, Callable[[Any], Content]] = {
    DsoPortfolioUpdate: _write_dso_update,
    AgrPortfolioUpdate: _write_agr_update,
    AgrPortfolioQuery: _write_agr_query,
    DsoPortfolioQuery: _write_dso_query,
}
