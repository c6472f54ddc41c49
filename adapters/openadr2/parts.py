"""Parts of OpenADR 2.0b wire objects that several services share: responses, targets, units, times, values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from adapters.openadr2.lexical import Duration

__all__ = [
    "EiResponse",
    "EiTarget",
    "GreenButton",
    "Interval",
    "ItemBase",
    "LoadControlState",
    "LoadControlValue",
    "PayloadFloat",
    "PowerAttributes",
    "Properties",
    "PulseCount",
    "ReportPayload",
    "ResourceStatus",
    "SignalPayload",
    "TransportInterface",
    "Unit",
]


@dataclass(frozen=True, slots=True)
class EiResponse:
    response_code: int
    request_id: str
    response_description: str | None = None


@dataclass(frozen=True, slots=True)
class TransportInterface:
    point_of_receipt: str
    point_of_delivery: str


@dataclass(frozen=True, slots=True)
class EiTarget:
    """The 13 kinds of target, in schema order. Areas and locations are opaque GML, kept as canonical XML text."""

    aggregated_pnode: tuple[str, ...] = ()
    end_device_asset: tuple[str, ...] = ()
    meter_asset: tuple[str, ...] = ()
    pnode: tuple[str, ...] = ()
    service_area: tuple[str, ...] = ()
    service_delivery_point: tuple[str, ...] = ()
    service_location: tuple[str, ...] = ()
    transport_interface: tuple[TransportInterface, ...] = ()
    group_id: tuple[str, ...] = ()
    group_name: tuple[str, ...] = ()
    resource_id: tuple[str, ...] = ()
    ven_id: tuple[str, ...] = ()
    party_id: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PowerAttributes:
    hertz: Decimal
    voltage: Decimal
    ac: bool


@dataclass(frozen=True, slots=True)
class ItemBase:
    """A unit: `name` is the element (powerReal, energyReal, currencyPerKWh ...); power units carry `power`."""

    name: str
    description: str
    units: str
    scale: str = "none"
    power: PowerAttributes | None = None


@dataclass(frozen=True, slots=True)
class PulseCount:
    """The unit pulseCount: it has no scale, but kWh per count."""

    factor: float


@dataclass(frozen=True, slots=True)
class GreenButton:
    """A Green Button atom feed, opaque, as canonical XML text."""

    feed: str


Unit: TypeAlias = ItemBase | PulseCount | GreenButton


@dataclass(frozen=True, slots=True)
class Properties:
    """When something holds. `duration` zero means open-ended (rule 47)."""

    dtstart: datetime
    duration: Duration
    start_after: Duration | None = None
    notification: Duration | None = None
    ramp_up: Duration | None = None
    recovery: Duration | None = None


@dataclass(frozen=True, slots=True)
class PayloadFloat:
    value: float


@dataclass(frozen=True, slots=True)
class LoadControlValue:
    current: float
    minimum: float | None = None
    maximum: float | None = None
    normal: float | None = None


@dataclass(frozen=True, slots=True)
class LoadControlState:
    capacity: LoadControlValue | None = None
    level_offset: LoadControlValue | None = None
    percent_offset: LoadControlValue | None = None
    set_point: LoadControlValue | None = None


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """oadrPayloadResourceStatus: what TELEMETRY_STATUS reports carry (rule 510)."""

    online: bool
    manual_override: bool
    load_control_state: LoadControlState | None = None


@dataclass(frozen=True, slots=True)
class SignalPayload:
    payload: PayloadFloat | ResourceStatus


@dataclass(frozen=True, slots=True)
class ReportPayload:
    r_id: str
    payload: PayloadFloat | ResourceStatus
    confidence: int | None = None
    accuracy: float | None = None
    data_quality: str | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    payloads: tuple[SignalPayload | ReportPayload | GreenButton, ...]
    dtstart: datetime | None = None
    duration: Duration | None = None
    uid: str | None = None
