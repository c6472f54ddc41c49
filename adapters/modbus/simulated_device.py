"""A simulated SunSpec device: the register map in front of a plant (`device_physics`).

Two generations: "1547" has models 1, 701-704 and, with storage, 713 and 802; "legacy" has 1, 103, 120, 121, 123, 160
and, with storage, 124. Registers are brought up to date when they are read; controls act when they are written, and
revert by their timers in market time. Knows no Modbus library: `simulator` puts it on a socket.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.modbus.device_physics import Battery, Control, PhotovoltaicArray, Plant, Step
from adapters.modbus.sunspec.layout import Layout, layout

__all__ = ["Description", "SimulatedDevice"]

BASE = 40000
ILLEGAL_ADDRESS, ILLEGAL_VALUE = 0x02, 0x03
_VOLTS, _HERTZ = 230, 50
_PERCENT_SF = -2
_KINDS = {"pv": False, "battery": True}
_VARIANTS = {
    ("1547", False): (1, 701, 702, 703, 704),
    ("1547", True): (1, 701, 702, 703, 704, 713, 802),
    ("legacy", False): (1, 103, 120, 121, 123, 160),
    ("legacy", True): (1, 103, 120, 121, 123, 124, 160),
}
_FAULTS = ("", "silent", "lie", "refuse")


@dataclass(frozen=True, slots=True)
class Description:
    """A device as a JSON object describes it. W and Wh >= 0; `start` is ISO 8601 with an offset.

    `fault` holds from `fault_from` to `fault_until` (market time; "": always): silent never answers, lie acknowledges
    control writes and ignores them, refuse answers them with exception 04.
    """

    kind: str
    start: str
    step_s: float = 900.0
    resource: str = "device"
    variant: str = "1547"
    listen: str = "127.0.0.1:0"
    unit: int = 1
    w_max: float = 0.0
    available_w: tuple[float, ...] = ()
    capacity_wh: float = 0.0
    content_wh: float = 0.0
    charge_max_w: float = 0.0
    discharge_max_w: float = 0.0
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    fault: str = ""
    fault_from: str = ""
    fault_until: str = ""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Description:
        """Raises ValueError, naming what is wrong."""
        known = {f.name: f for f in fields(cls)}
        if unknown := data.keys() - known.keys():
            raise ValueError(f"a device has no {', '.join(sorted(unknown))}; known are {', '.join(known)}")
        if missing := [n for n, f in known.items() if f.default is MISSING and n not in data]:
            raise ValueError(f"a device needs {', '.join(missing)}")
        device = cls(**{**data, "available_w": tuple(data.get("available_w", ()))})
        if device.kind not in _KINDS or (device.variant, True) not in _VARIANTS or device.fault not in _FAULTS:
            raise ValueError(
                f"kind {device.kind!r} is one of pv, battery; variant {device.variant!r} one of 1547, legacy; "
                f"fault {device.fault!r} one of silent, lie, refuse"
            )
        if datetime.fromisoformat(device.start).tzinfo is None:
            raise ValueError(f"start {device.start!r} needs an offset from UTC, e.g. +00:00")
        if device.storage and not 0 <= device.content_wh <= device.capacity_wh:
            raise ValueError(f"{device.content_wh} Wh do not fit into {device.capacity_wh} Wh")
        if device.rating_w <= 0 or device.step_s <= 0 or (device.storage and device.capacity_wh <= 0):
            raise ValueError("w_max (or available_w), step_s and a battery's capacity_wh must be above 0")
        return device

    @property
    def storage(self) -> bool:
        return _KINDS[self.kind]

    @property
    def rating_w(self) -> float:
        """WMax: as given, else what the device can do at most."""
        return self.w_max or max((*self.available_w, self.charge_max_w, self.discharge_max_w))

    def plant(self) -> Plant:
        if not self.storage:
            return PhotovoltaicArray(self.step_s, self.available_w)
        return Battery(
            self.step_s,
            capacity_wh=self.capacity_wh,
            content_wh=self.content_wh,
            charge_max_w=self.charge_max_w or self.rating_w,
            discharge_max_w=self.discharge_max_w or self.rating_w,
            charge_efficiency=self.charge_efficiency,
            discharge_efficiency=self.discharge_efficiency,
        )


@dataclass(frozen=True, slots=True)
class _Controls:
    """The points of one verb in one model. `revert`: point -> point whose value it takes when the timer ends."""

    setpoint: bool
    model: int
    points: tuple[str, ...]
    enable: str
    enable_max: int
    timer: str
    remaining: str = ""
    revert: Mapping[str, str] = field(default_factory=dict)


_CONTROLS = (
    _Controls(
        False,
        704,
        ("WMaxLimPctEna", "WMaxLimPct", "WMaxLimPctRvrt", "WMaxLimPctEnaRvrt", "WMaxLimPctRvrtTms"),
        "WMaxLimPctEna",
        1,
        "WMaxLimPctRvrtTms",
        "WMaxLimPctRvrtRem",
        {"WMaxLimPctEna": "WMaxLimPctEnaRvrt", "WMaxLimPct": "WMaxLimPctRvrt"},
    ),
    _Controls(
        True,
        704,
        ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetPct", "WSetPctRvrt", "WSetEnaRvrt", "WSetRvrtTms"),
        "WSetEna",
        1,
        "WSetRvrtTms",
        "WSetRvrtRem",
        {"WSetEna": "WSetEnaRvrt", "WSet": "WSetRvrt", "WSetPct": "WSetPctRvrt"},
    ),
    _Controls(
        False,
        123,
        ("WMaxLimPct", "WMaxLimPct_WinTms", "WMaxLimPct_RvrtTms", "WMaxLimPct_RmpTms", "WMaxLim_Ena"),
        "WMaxLim_Ena",
        1,
        "WMaxLimPct_RvrtTms",
    ),
    _Controls(
        True,
        124,
        ("StorCtl_Mod", "OutWRte", "InWRte", "InOutWRte_WinTms", "InOutWRte_RvrtTms", "InOutWRte_RmpTms", "ChaGriSet"),
        "StorCtl_Mod",
        3,
        "InOutWRte_RvrtTms",
    ),
)
_PERCENTAGES = ("WMaxLimPct", "WMaxLimPctRvrt", "WSetPct", "WSetPctRvrt", "OutWRte", "InWRte")


class SimulatedDevice:
    """Register map and plant of one description. Times are market time."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.start = datetime.fromisoformat(description.start).astimezone(UTC)
        self.plant = description.plant()
        self._layouts: dict[int, tuple[int, Layout]] = {}
        image = bytearray(b"SunS")
        raw = _static(description)
        for model in _VARIANTS[description.variant, description.storage]:
            plan = layout(model)
            self._layouts[model] = (len(image) // 2, plan)
            image += plan.encode(raw[model])
        image += b"\xff\xff\0\0"
        self._image = image
        self._controls = [c for c in _CONTROLS if c.model in self._layouts]
        self._expiry: dict[str, datetime] = {}
        self._owner: dict[int, tuple[_Controls, str]] = {}
        for group in self._controls:
            at, plan = self._layouts[group.model]
            for name in group.points:
                point = plan.points[name]
                self._owner.update({at + point.offset + k: (group, name) for k in range(point.registers)})

    @property
    def registers(self) -> tuple[int, ...]:
        """The whole map from `BASE` on."""
        return struct.unpack(f">{len(self._image) // 2}H", self._image)

    def step_start(self, number: int) -> datetime:
        return self.start + timedelta(seconds=number * self.plant.step_s)

    def advance(self, now: datetime) -> list[Step]:
        """Let time pass; returns the profile steps that ended since the last call, and refreshes the registers."""
        ended = self.plant.advance((now - self.start).total_seconds())
        for group in self._controls:
            until = self._expiry.get(group.enable)
            if until is not None and now >= until:
                del self._expiry[group.enable]
                for name in group.points:
                    if name == group.enable or name in group.revert:
                        self._set(group.model, name, self._reverted(group, name))
        self._measure(now)
        return ended

    def write(self, address: int, words: Sequence[int], now: datetime) -> int:
        """Write registers at `now`; returns 0, or the exception code by which the device refuses (nothing changed).

        `advance` to `now` comes first.
        """
        first = address - BASE
        touched = [self._owner.get(first + k) for k in range(len(words))]
        if not all(touched):
            return ILLEGAL_ADDRESS
        before = bytes(self._image)
        self._image[2 * first : 2 * (first + len(words))] = struct.pack(f">{len(words)}H", *words)
        groups = {group.enable: group for group, _ in filter(None, touched)}
        if self._torn(first, len(words)) or not all(self._legal(group) for group in groups.values()):
            self._image[:] = before
            return ILLEGAL_VALUE
        for group in groups.values():
            self._obey(group, now)
        return 0

    def _reverted(self, group: _Controls, name: str) -> int:
        source = group.revert.get(name)
        if source is None:
            return 0
        value = self._get(group.model, source)
        return 0 if value == self._layouts[group.model][1].points[source].absent else value

    # --- controls -------------------------------------------------------------------------------------------------

    def _torn(self, first: int, count: int) -> bool:
        """Whether a write covers only a part of a point of several registers."""
        for at in (first, first + count - 1):
            owner = self._owner[at]
            base, plan = self._layouts[owner[0].model]
            point = plan.points[owner[1]]
            if base + point.offset < first or base + point.offset + point.registers > first + count:
                return True
        return False

    def _legal(self, group: _Controls) -> bool:
        values = {name: self._get(group.model, name) for name in group.points}
        absent = {name: self._layouts[group.model][1].points[name].absent for name in group.points}
        if not 0 <= values[group.enable] <= group.enable_max:
            return False
        if any(n in values and values[n] != absent[n] and abs(values[n]) > 10_000 for n in _PERCENTAGES):
            return False
        return values.get("WSetMod", 0) in (0, 1, absent.get("WSetMod"))

    def _obey(self, group: _Controls, now: datetime) -> None:
        values = {name: self._get(group.model, name) for name in group.points}
        timer = values[group.timer]
        timed = values[group.enable] and 0 < timer != self._layouts[group.model][1].points[group.timer].absent
        until = math.inf
        if timed:
            self._expiry[group.enable] = now + timedelta(seconds=timer)
            until = (self._expiry[group.enable] - self.start).total_seconds()
        else:
            self._expiry.pop(group.enable, None)
        after = None
        if group.revert and values[group.revert[group.enable]] == 1:
            after = self._watts(group, {n: values[group.revert.get(n, n)] for n in group.points})
        control = Control(self._watts(group, values), until, after)
        if group.setpoint:
            self.plant.setpoint = control
        else:
            self.plant.limit = control

    def _watts(self, group: _Controls, values: Mapping[str, int]) -> float | None:
        """What the points ask for, W generation positive; None where they are not enabled."""
        if not values[group.enable]:
            return None
        device, percent = self.description, 10.0**_PERCENT_SF / 100.0
        if group.model == 124:
            mode = values["StorCtl_Mod"]
            give = values["OutWRte"] * percent * (device.discharge_max_w or device.rating_w) if mode & 2 else 0.0
            take = values["InWRte"] * percent * (device.charge_max_w or device.rating_w) if mode & 1 else 0.0
            return give - take
        if group.setpoint:
            return values["WSet"] if values["WSetMod"] == 1 else values["WSetPct"] * percent * device.rating_w
        return values["WMaxLimPct"] * percent * device.rating_w

    # --- measurements ---------------------------------------------------------------------------------------------

    def _measure(self, now: datetime) -> None:
        plant = self.plant
        generation = -plant.power_w
        power_sf = _exponent(self.description.rating_w, 32767, 0)
        watts, volts = round(generation / 10**power_sf), _VOLTS * 10
        stored, capacity = plant.stored_wh, self.description.capacity_wh
        if 701 in self._layouts:
            amperes = round(abs(generation) / _VOLTS / 3 * 100)
            self._put(701, W=watts, VA=abs(watts), Var=0, A=min(amperes, 32767), LNV=volts, Hz=_HERTZ * 100)
            self._put(701, TotWhInj=int(plant.exported_wh * 1000), TotWhAbs=int(plant.imported_wh * 1000))
            self._put(701, InvSt=3 if watts else 1)
            for group in self._controls:
                until = self._expiry.get(group.enable)
                left = math.ceil((until - now).total_seconds()) if until is not None else 0
                self._set(704, group.remaining, left)
        else:
            amperes = min(round(abs(generation) / _VOLTS * 10), 65534)
            self._put(103, W=watts, A=amperes, AphA=amperes // 3, AphB=amperes // 3, AphC=amperes // 3)
            self._put(103, WH=int(plant.exported_wh * 10) & 0xFFFF_FFFF, St=4 if watts else 2)
        if stored is None:
            return
        soc = round(stored / capacity * 10_000)
        if 713 in self._layouts:
            self._put(713, WHAvail=round(stored / 10 ** _exponent(capacity, 65534, -2)), SoC=soc)
            self._put(802, SoC=soc, W=watts)
        else:
            self._put(124, ChaState=soc)

    def _put(self, model: int, **values: int) -> None:
        for name, value in values.items():
            self._set(model, name, value)

    def _set(self, model: int, name: str, value: int) -> None:
        at, plan = self._layouts[model]
        point = plan.points[name]
        struct.pack_into(f">{point.code}", self._image, 2 * (at + point.offset), value)

    def _get(self, model: int, name: str) -> int:
        at, plan = self._layouts[model]
        point = plan.points[name]
        value: int = point.unpack(self._image, 2 * (at + point.offset))
        return value


def _exponent(largest: float, most: int, least: int) -> int:
    """The smallest exponent from `least` on with which `largest` fits into `most`."""
    exponent = least
    while largest / 10.0**exponent > most:
        exponent += 1
    return exponent


def _static(device: Description) -> dict[int, dict[str, int | str]]:
    """Raw values of what does not change, by model."""
    rating = device.rating_w
    sf = _exponent(rating, 32767, 0)
    watts = round(rating / 10**sf)
    charge = round((device.charge_max_w or rating) / 10**sf)
    discharge = round((device.discharge_max_w or rating) / 10**sf)
    energy_sf = _exponent(device.capacity_wh, 65534, -2)
    energy = round(device.capacity_wh / 10.0**energy_sf)
    identity: dict[str, int | str] = {
        "Mn": "gridparley",
        "Md": f"simulated {device.kind} {device.variant}",
        "Vr": "1",
        "SN": device.resource,
        "DA": device.unit,
    }
    storage_rates = {"WChaRteMaxRtg": charge, "WDisChaRteMaxRtg": discharge}
    storage_rates |= {"WChaRteMax": charge, "WDisChaRteMax": discharge}
    percent = {"WMaxLimPct": 10_000, "WMaxLimPct_SF": _PERCENT_SF}
    return {
        1: identity,
        701: {
            "ACType": 2,
            "St": 1,
            "ConnSt": 1,
            "Alrm": 0,
            "W_SF": sf,
            "VA_SF": sf,
            "Var_SF": sf,
            "A_SF": -2,
            "V_SF": -1,
            "Hz_SF": -2,
            "TotWh_SF": -3,
        },
        702: {
            "WMaxRtg": watts,
            "VAMaxRtg": watts,
            "VNomRtg": _VOLTS * 10,
            "CtrlModes": 0b11,
            "WMax": watts,
            "VAMax": watts,
            "W_SF": sf,
            "VA_SF": sf,
            "V_SF": -1,
            **(storage_rates if device.storage else {}),
        },
        703: {"ES": 1},
        704: {
            "WMaxLimPctEna": 0,
            "WMaxLimPctRvrt": 10_000,
            "WMaxLimPctEnaRvrt": 0,
            "WMaxLimPctRvrtTms": 0,
            "WMaxLimPctRvrtRem": 0,
            "WSetEna": 0,
            "WSetMod": 1,
            "WSet": 0,
            "WSetRvrt": 0,
            "WSetPct": 0,
            "WSetPctRvrt": 0,
            "WSetEnaRvrt": 0,
            "WSetRvrtTms": 0,
            "WSetRvrtRem": 0,
            "WSet_SF": 0,
            "WSetPct_SF": _PERCENT_SF,
            **percent,
        },
        713: {"WHRtg": energy, "SoH": 10_000, "Sta": 0, "WH_SF": energy_sf, "Pct_SF": _PERCENT_SF},
        802: {
            "WHRtg": energy,
            "WHRtg_SF": energy_sf,
            "WChaRteMax": charge,
            "WDisChaRteMax": discharge,
            "WChaDisChaMax_SF": sf,
            "LocRemCtl": 0,
            "State": 3,
            "Typ": 4,
            "SoC_SF": _PERCENT_SF,
            "W_SF": sf,
        },
        103: {
            "A_SF": -1,
            "V_SF": -1,
            "PhVphA": _VOLTS * 10,
            "PhVphB": _VOLTS * 10,
            "PhVphC": _VOLTS * 10,
            "W_SF": sf,
            "Hz": _HERTZ * 100,
            "Hz_SF": -2,
            "WH_SF": -1,
        },
        120: {
            "DERTyp": 82 if device.storage else 4,
            "WRtg": watts,
            "WRtg_SF": sf,
            "WHRtg": energy if device.storage else 0xFFFF,
            "WHRtg_SF": energy_sf,
            "MaxChaRte": charge if device.storage else 0xFFFF,
            "MaxChaRte_SF": sf,
            "MaxDisChaRte": discharge if device.storage else 0xFFFF,
            "MaxDisChaRte_SF": sf,
        },
        121: {"WMax": watts, "WMax_SF": sf, "VRef": _VOLTS, "VRef_SF": 0},
        123: {"Conn": 1, "WMaxLim_Ena": 0, "OutPFSet_Ena": 0, "VArPct_Ena": 0, "WMaxLimPct_RvrtTms": 0, **percent},
        124: {
            "WChaMax": charge,
            "WChaMax_SF": sf,
            "StorCtl_Mod": 0,
            "OutWRte": 0,
            "InWRte": 0,
            "InOutWRte_RvrtTms": 0,
            "InOutWRte_SF": _PERCENT_SF,
            "ChaState_SF": _PERCENT_SF,
        },
        160: {"N": 0},
    }
