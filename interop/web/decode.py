"""Market messages in people's words: a gist for the diagram, fields, and tables of ISPs. Pure.

Connections are personal data: they are counted, or told by the end of their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    Metering,
    OfferRevocation,
    Prognosis,
    Reservation,
    Settlement,
    decode,
)
from interop.web.render import number
from interop.web.views import Row

__all__ = ["Decoded", "Table", "decoded"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a page folds away; numbers are written already."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """`gist` is one short line, `fields` are (label, value); values that are datetimes are instants."""

    gist: str = ""
    fields: tuple[tuple[str, Any], ...] = ()
    tables: tuple[Table, ...] = ()


def decoded(row: Row) -> Decoded:
    """What a message of `Views.messages` says; nothing where it is none of the market's."""
    content = row.get("message")
    if not isinstance(content, Mapping):
        return Decoded()
    try:
        message = decode(content)
    except ValueError:  # stored by another version, or by an adapter that keeps something else
        return Decoded()
    tell = _TELL.get(type(message))
    told = tell(message) if tell else Decoded()
    return Decoded(told.gist, tuple((k, v) for k, v in told.fields if v not in (None, "", ())), told.tables)


# --- one function per kind ----------------------------------------------------------------------------------------


def _prognosis(m: Prognosis) -> Decoded:
    powers = [p for _, p in m.power]
    span = f"{_kw(min(powers))} to {_kw(max(powers))} kW" if powers else ""
    fields = (
        ("Congestion point", m.congestion_point),
        ("Day", str(m.power.period)),
        ("Revision", m.revision),
        ("Net energy", _kwh(m.power)),
        ("Power", span),
    )
    return Decoded(f"{m.power.period}, {span}", fields, (_runs("Power per ISP", m.power),))


def _request(m: FlexRequest) -> Decoded:
    fields = (
        ("Congestion point", m.congestion_point),
        ("Day", str(m.period)),
        ("Requested ISPs", _isps(m.requested)),
        ("Expires", m.expires),
        ("Revision", m.revision),
        ("Contract", m.contract),
        ("Service", m.service_type),
    )
    rows = [(_stretch(i.start, i.duration), str(i.disposition), _kw(i.min_power_w), _kw(i.max_power_w)) for i in m.isps]
    table = Table("Allowed deviation per ISP", ("ISPs", "Disposition", "Least, kW", "Most, kW"), tuple(rows))
    return Decoded(f"{m.period}, ISPs {_isps(m.requested)}", fields, (table,))


def _offer(m: FlexOffer) -> Decoded:
    fields = (
        ("Congestion point", m.congestion_point),
        ("Answers request", m.request),
        ("Unsolicited", "yes" if m.unsolicited else None),
        ("Expires", m.expires),
        ("Baseline", m.prognosis or m.baseline_reference),
        ("Contract", m.contract),
    )
    tables = tuple(
        _runs(
            f"Option {o.reference}: {_kwh(o.power)} for {o.price} {m.currency}, at least {o.min_activation} of it",
            o.power,
        )
        for o in m.options
    )
    first = m.options[0] if m.options else None
    more = f" and {len(m.options) - 1} more" if len(m.options) > 1 else ""
    return Decoded(f"{_kwh(first.power)} for {first.price} {m.currency}{more}" if first else "", fields, tables)


def _order(m: FlexOrder) -> Decoded:
    fields = (
        ("Order", m.order_reference),
        ("Congestion point", m.congestion_point),
        ("Day", str(m.power.period)),
        ("Of offer", m.offer),
        ("Option", m.option),
        ("Activation factor", str(m.activation_factor)),
        ("Without offer", "yes" if m.unsolicited else None),
        ("Price", f"{m.price} {m.currency}"),
        ("Energy", _kwh(m.power)),
        ("Baseline", m.prognosis or m.baseline_reference),
        ("Contract", m.contract),
        ("Service", m.service_type),
    )
    part = "" if m.activation_factor == 1 else f", {m.activation_factor} of the option"
    return Decoded(f"{_kwh(m.power)} for {m.price} {m.currency}{part}", fields, (_runs("Ordered per ISP", m.power),))


def _revocation(m: OfferRevocation) -> Decoded:
    return Decoded("", (("Takes back offer", m.offer),))


def _reservation(m: Reservation) -> Decoded:
    fields = (
        ("Contract", m.contract),
        ("Reference", m.reference),
        ("Congestion point", m.congestion_point),
        ("Day", str(m.power.period)),
    )
    return Decoded(f"contract {m.contract}, {m.power.period}", fields, (_runs("Reserved per ISP", m.power),))


def _metering(m: Metering) -> Decoded:
    power = m.power()
    fields = (
        ("Connection", f"… {m.ean[-4:]}"),
        ("Day", str(m.period)),
        ("Revision", m.revision),
        ("Profiles", ", ".join(f"{p.kind} ({p.unit})" for p in m.profiles)),
        ("Net energy", _kwh(power) if power else None),
    )
    tables = (_runs("Power per ISP", power),) if power else ()
    return Decoded(f"{m.period}, {_kwh(power)}" if power else str(m.period), fields, tables)


def _settlement(m: Settlement) -> Decoded:
    net = sum(row.net for row in m.rows)
    fields = (
        ("Days", f"{m.period_start} to {m.period_end}" if m.period_end != m.period_start else str(m.period_start)),
        ("Orders", len(m.rows)),
        ("Net", f"{net} {m.currency}"),
    )
    tables = tuple(
        Table(
            f"{row.order_reference}: {row.price} - {row.penalty} = {row.net} {m.currency}",
            ("ISP", "Baseline, kW", "Ordered, kW", "Actual, kW", "Delivered, kW", "Missing, kW"),
            tuple(
                (str(i.isp), *map(_kw, (i.baseline_w, i.ordered_w, i.actual_w, i.delivered_w, i.deficiency_w)))
                for i in row.isps
            ),
        )
        for row in m.rows
    )
    return Decoded(f"{len(m.rows)} orders, net {net} {m.currency}", fields, tables)


def _dso_update(m: DsoPortfolioUpdate) -> Decoded:
    rows = tuple(
        (p.address, str(p.start), str(p.end or "open"), str(len(p.connections)), "yes" if p.mutex_offers else "no")
        for p in m.points
    )
    table = Table("Congestion points", ("Address", "From", "Until", "Connections", "Several options"), rows)
    return Decoded(f"{len(m.points)} congestion points", (), (table,))


def _agr_update(m: AgrPortfolioUpdate) -> Decoded:
    ending = sum(c.end is not None for c in m.connections)
    fields = (("Connections", len(m.connections)), ("Of which end", ending or None))
    return Decoded(f"{len(m.connections)} connections", fields)


def _query(m: AgrPortfolioQuery | DsoPortfolioQuery) -> Decoded:
    point = getattr(m, "congestion_point", None)
    return Decoded(str(m.period), (("Day", str(m.period)), ("Congestion point", point)))


def _answer(m: Acknowledgement) -> Decoded:
    fields: list[tuple[str, Any]] = [(key, value) for key, value in m.details]
    match m.view:
        case AgrView(points=points, unpublished=loose):
            fields += [(p.address, f"{len(p.connections)} own connections") for p in points]
            fields.append(("At no congestion point", len(loose) or None))
        case DsoView(connections=connections):
            by_agr: dict[str, int] = {}
            for c in connections:
                by_agr[c.agr or "nobody"] = by_agr.get(c.agr or "nobody", 0) + 1
            fields += [(f"Represented by {agr}", f"{n} connections") for agr, n in sorted(by_agr.items())]
    return Decoded("", tuple(fields))


_TELL: Mapping[type, Callable[[Any], Decoded]] = {
    Prognosis: _prognosis,
    FlexRequest: _request,
    FlexOffer: _offer,
    FlexOrder: _order,
    OfferRevocation: _revocation,
    Reservation: _reservation,
    Metering: _metering,
    Settlement: _settlement,
    DsoPortfolioUpdate: _dso_update,
    AgrPortfolioUpdate: _agr_update,
    AgrPortfolioQuery: _query,
    DsoPortfolioQuery: _query,
    Acknowledgement: _answer,
}


# --- words --------------------------------------------------------------------------------------------------------


def _runs(title: str, power: IspSeries) -> Table:
    rows = tuple((_stretch(run.start, run.duration), _kw(run.power_w)) for run in power.runs())
    return Table(title, ("ISPs", "kW"), rows)


def _kw(power_w: int) -> str:
    return number(power_w / 1000, 3)


def _kwh(power: IspSeries) -> str:
    return f"{number(power.energy_wh() / 1000, 2)} kWh"


def _stretch(start: int, duration: int) -> str:
    return str(start) if duration == 1 else f"{start} to {start + duration - 1}"


def _isps(numbers: Iterable[int]) -> str:
    """Numbers as stretches: 41 to 44, 60."""
    parts: list[list[int]] = []
    for k in sorted(numbers):
        if parts and parts[-1][1] == k - 1:
            parts[-1][1] = k
        else:
            parts.append([k, k])
    shown: Sequence[str] = [str(a) if a == b else f"{a}\u2013{b}" for a, b in parts]
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")
