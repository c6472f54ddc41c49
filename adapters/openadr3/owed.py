"""Reports that a VTN is owed: what FLEX events ask for and has not been said yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from adapters.openadr3 import mapping
from adapters.openadr3.config import VtnConfig
from adapters.openadr3.model import Report
from adapters.openadr3.records import Record

__all__ = ["Due", "Measured", "due"]

Measured: TypeAlias = Mapping[str, Sequence[tuple[datetime, timedelta, float]]]
"""Net power of each connection, by EAN18: start, length and mean power (W) of every step."""


@dataclass(frozen=True, slots=True)
class Due:
    """A report to be sent; `record` is what is known once it is there."""

    id: str
    report: Report
    record: Record


def due(config: VtnConfig, records: Mapping[str, Record], measured: Measured) -> list[Due]:
    """Reports that FLEX events are owed: an ACK at once, and what was delivered once all of it is metered.

    What was withdrawn before it was acknowledged is owed nothing.
    """
    out: list[Due] = []
    for id, record in records.items():
        if record.kind != "flex" or record.gone or (record.acked and record.reported):
            continue
        event = record.event
        if not record.acked:
            out.append(Due(id, mapping.acknowledgement(event, config.ven_name), replace(record, acked=True)))
        elif not record.reported and record.connections:
            given = mapping.delivered(event, Decimal(record.baseline_kw), _summed(record.connections, measured))
            if given is not None:
                report = mapping.delivery_report(event, config.ven_name, given)
                out.append(Due(id, report, replace(record, reported=True)))
    return out


def _summed(connections: Sequence[str], measured: Measured) -> mapping.Power:
    def power(begin: datetime, end: datetime) -> float | None:
        known = [mapping.mean_of(measured.get(ean, ()), begin, end) for ean in connections]
        return None if None in known else sum(watts for watts in known if watts is not None)

    return power
