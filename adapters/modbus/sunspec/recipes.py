"""How a limit or a set point is written to a SunSpec device: which points, in which order, what reverts them.

A recipe's points form one contiguous writable run, so that one FC 16 changes all or nothing. Points of the run that we
do not want to change are written back as just read, not-implemented codes included. The enabling point goes last when
it is switched on, first when it is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from adapters.modbus.sunspec.layout import Point
from adapters.modbus.sunspec.scan import ModelAt

__all__ = ["RECIPES", "Control", "Raw", "Recipe", "Verb", "Write"]

Raw = dict[str, int]
"""Raw register values by point name."""


class Verb(StrEnum):
    """LIMIT caps generation, SETPOINT fixes the active power."""

    LIMIT = "limit"
    SETPOINT = "setpoint"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One verb of one model. `run`: contiguous points. `values`: what the order decides. `fixed`: always the same."""

    verb: Verb
    model: int
    run: tuple[str, ...]
    values: tuple[str, ...]
    enable: str
    timer: str
    fixed: Mapping[str, int] = field(default_factory=dict)


RECIPES = (
    Recipe(
        Verb.LIMIT,
        704,
        (
            "WMaxLimPctEna",
            "WMaxLimPct",
            "WMaxLimPctRvrt",
            "WMaxLimPctEnaRvrt",
            "WMaxLimPctRvrtTms",
        ),
        ("WMaxLimPct",),
        "WMaxLimPctEna",
        "WMaxLimPctRvrtTms",
        {"WMaxLimPctEnaRvrt": 0},
    ),
    Recipe(
        Verb.LIMIT,
        123,
        ("WMaxLimPct", "WMaxLimPct_WinTms", "WMaxLimPct_RvrtTms", "WMaxLimPct_RmpTms", "WMaxLim_Ena"),
        ("WMaxLimPct",),
        "WMaxLim_Ena",
        "WMaxLimPct_RvrtTms",
    ),
    Recipe(
        Verb.SETPOINT,
        704,
        ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetPct", "WSetPctRvrt", "WSetEnaRvrt", "WSetRvrtTms"),
        ("WSet",),
        "WSetEna",
        "WSetRvrtTms",
        {"WSetMod": 1, "WSetEnaRvrt": 0},  # 1: WATTS
    ),
    Recipe(
        Verb.SETPOINT,
        124,
        ("OutWRte", "InWRte", "InOutWRte_WinTms", "InOutWRte_RvrtTms", "InOutWRte_RmpTms", "ChaGriSet"),
        ("OutWRte", "InWRte"),
        "StorCtl_Mod",
        "InOutWRte_RvrtTms",
    ),
)
"""In order of preference per verb."""


@dataclass(frozen=True, slots=True)
class Write:
    """Registers to write at an address."""

    address: int
    words: tuple[int, ...]


class Control:
    """A recipe on a device: reads, composes and compares the registers of one verb."""

    def __init__(self, recipe: Recipe, model: ModelAt) -> None:
        assert model.layout is not None
        self.recipe = recipe
        points = model.layout.points
        scales = {s for name in recipe.values if isinstance(s := points[name].scale, str)}
        self._points: dict[str, Point] = {name: points[name] for name in {*recipe.run, recipe.enable, *scales}}
        self._base = model.address
        self._first = min(p.offset for p in self._points.values())
        self._scales = {name: points[name].scale for name in recipe.values}
        self.address = model.address + self._first
        """Where the read begins that shows everything a write depends on, scale factors included."""
        self.count = max(p.offset + p.registers for p in self._points.values()) - self._first

    @classmethod
    def of(cls, recipe: Recipe, model: ModelAt | None) -> Control | None:
        """The control, or None where the device's model is missing or ends before a point of the recipe."""
        if model is None or model.layout is None:
            return None
        if not {*recipe.run, recipe.enable} <= model.layout.points.keys():
            return None
        return cls(recipe, model)

    def read(self, data: bytes) -> Raw:
        """Raw values from the registers `address`, `count`."""
        return {name: p.unpack(data, 2 * (p.offset - self._first)) for name, p in self._points.items()}

    def implemented(self, raw: Raw) -> bool:
        """Whether the enabling point and the values exist in this device, scale factors included."""
        names = {self.recipe.enable, *self.recipe.values, *(s for s in self._scales.values() if isinstance(s, str))}
        return all(raw[name] != self._points[name].absent for name in names)

    def has_timer(self, raw: Raw) -> bool:
        return raw[self.recipe.timer] != self._points[self.recipe.timer].absent

    def timer_max(self) -> int:
        """The longest reversion time the device can hold, s."""
        return (1 << 16 * self._points[self.recipe.timer].registers) - 2

    def exponent(self, name: str, raw: Raw) -> int:
        scale = self._scales[name]
        return raw[scale] if isinstance(scale, str) else scale or 0

    def enabled(self, raw: Raw) -> bool:
        value = raw[self.recipe.enable]
        return value not in (0, self._points[self.recipe.enable].absent)

    def differences(self, raw: Raw, wanted: Raw) -> str:
        """What `raw` has other than `wanted`, as text; empty where nothing differs."""
        return ", ".join(f"{name} is {raw[name]}, not {value}" for name, value in wanted.items() if raw[name] != value)

    def block(self, raw: Raw, wanted: Raw) -> list[Write]:
        """The run as one write; an enabling point outside of it follows, or goes ahead when it is switched off."""
        run = self.recipe.run
        words = tuple(w for name in run for w in self._points[name].words({**raw, **wanted}[name]))
        writes = [Write(self._base + self._points[run[0]].offset, words)]
        if self.recipe.enable not in run and self.recipe.enable in wanted:
            enable = self._single(self.recipe.enable, wanted)
            writes = [*writes, enable] if wanted[self.recipe.enable] else [enable, *writes]
        return writes

    def singles(self, raw: Raw, wanted: Raw) -> list[Write]:
        """The changes point by point, the enabling point last (first when it is switched off)."""
        enable = self.recipe.enable
        writes = [self._single(name, wanted) for name in self.recipe.run if name in wanted and name != enable]
        if enable in wanted:
            last = self._single(enable, wanted)
            writes = [*writes, last] if wanted[enable] else [last, *writes]
        return writes

    def off(self) -> Raw:
        return {self.recipe.enable: 0}

    def off_writes(self) -> list[Write]:
        """Switching off needs the enabling point only."""
        return [self._single(self.recipe.enable, self.off())]

    def _single(self, name: str, wanted: Raw) -> Write:
        point = self._points[name]
        return Write(self._base + point.offset, point.words(wanted[name]))
