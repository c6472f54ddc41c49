"""What was measured: telemetry as it arrives, and metering as it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from datamodels.calendar import MarketCalendar
from datamodels.messages import Head
from datamodels.series import IspSeries

__all__ = [
    "MeterProfile",
    "Metering",
    "MeteringKind",
    "Quality",
    "Quantity",
    "Telemetry",
]


class Quality(StrEnum):
    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Quantity(StrEnum):
    """What a telemetry value is; the unit is in the name. Signs: consumption positive."""

    POWER_W = "power_w"
    """Instantaneous active power."""
    MEAN_POWER_W = "mean_power_w"
    """Mean power over the interval that begins at `at` and lasts `duration_s`."""
    IMPORT_ENERGY_WH = "import_energy_wh"
    """Register: energy consumed since the meter began."""
    EXPORT_ENERGY_WH = "export_energy_wh"
    """Register: energy produced since the meter began."""
    STORED_ENERGY_WH = "stored_energy_wh"
    STATE_OF_CHARGE = "state_of_charge"
    """Fraction 0..1."""
    VOLTAGE_V = "voltage_v"
    FREQUENCY_HZ = "frequency_hz"
    ONLINE = "online"
    """1 reachable, 0 not."""
    MANUAL_OVERRIDE = "manual_override"
    """1 the user refuses control, 0 not."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One value of one resource at one instant (UTC)."""

    resource: str
    quantity: Quantity
    at: datetime
    value: float
    duration_s: float = 0.0
    quality: Quality = Quality.GOOD


class MeteringKind(StrEnum):
    """UFTP ProfileType."""

    POWER = "Power"
    IMPORT_ENERGY = "ImportEnergy"
    EXPORT_ENERGY = "ExportEnergy"
    IMPORT_METER_READING = "ImportMeterReading"
    EXPORT_METER_READING = "ExportMeterReading"


@dataclass(frozen=True, slots=True)
class MeterProfile:
    """One profile of a meter: a decimal per ISP of the day, in `unit` ("kW" iff kind is Power, else "kWh")."""

    kind: MeteringKind
    unit: str
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Metering:
    """A day of metering of one connection (UFTP Metering). `ean` as the sender wrote it."""

    head: Head
    ean: str
    calendar: MarketCalendar
    period: date
    revision: int
    profiles: tuple[MeterProfile, ...]
    quality: Quality = Quality.GOOD

    def power(self) -> IspSeries | None:
        """Net power per ISP: the Power profile, else (import - export) energy over the ISP length."""
        by_kind = {p.kind: p.values for p in self.profiles}
        if MeteringKind.POWER in by_kind:
            kw = [float(v) for v in by_kind[MeteringKind.POWER]]
        elif MeteringKind.IMPORT_ENERGY in by_kind or MeteringKind.EXPORT_ENERGY in by_kind:
            zero = (Decimal(0),) * self.calendar.isps(self.period)
            imported = by_kind.get(MeteringKind.IMPORT_ENERGY, zero)
            exported = by_kind.get(MeteringKind.EXPORT_ENERGY, zero)
            kw = [float(i - e) / self.calendar.isp_hours for i, e in zip(imported, exported, strict=True)]
        else:
            return None
        return IspSeries.of(self.calendar, self.period, (v * 1000 for v in kw))
