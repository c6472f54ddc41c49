"""The value of a data attribute, wherever the file states it: at the instance, or as its type's default."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from adapters.iec61850.scl.model import IED, LDevice, LogicalNode, Scl
from datamodels import Problem, Severity

__all__ = ["NodeValues", "UnitError"]

# MultiplierKind (7-3): the ordinal is the power of ten.
_MULTIPLIERS = {
    literal: power
    for power, literal in zip(
        (-24, -21, -18, -15, -12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24),
        ("y", "z", "a", "f", "p", "n", "µ", "m", "c", "d", "", "da", "h", "k", "M", "G", "T", "P", "E", "Z", "Y"),
        strict=True,
    )
}
_LARGEST = 10**12


class UnitError(ValueError):
    """A quantity whose unit is missing or another than expected; `hint` says how to mend the file."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(slots=True)
class NodeValues:
    """Reads one logical node; collects problems, and remembers which data objects were read."""

    scl: Scl
    ied: IED
    device: LDevice
    node: LogicalNode
    problems: list[Problem] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    @property
    def reference(self) -> str:
        """Where it stands, as IED/LD/LN."""
        return f"{self.ied.name}/{self.device.inst}/{self.node.name}"

    @property
    def objects(self) -> list[str]:
        """Names of the node's data objects: those of its type, else those that the instance mentions."""
        declared = self.scl.templates.nodes.get(self.node.ln_type, {})
        return list(declared or dict.fromkeys(path.partition(".")[0] for path in self.node.values))

    def text(self, path: str) -> str | None:
        """What stands at a path such as `WMax.setMag.f`, in the active setting group; None where nothing does."""
        self.read.add(path.partition(".")[0])
        values = self.node.values.get(path)
        if not values:
            attribute = self.scl.templates.attribute(self.node.ln_type, path)
            values = attribute.values if attribute else ()
        wanted = (self.device.active_group, 0)
        return next((v.text for group in wanted for v in values if v.group == group), None)

    def ordinal(self, path: str) -> int | None:
        """An enumerated value as its number, whether the file wrote number or literal."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            return next((n for n, literal in self._literals(path).items() if literal == text), None)

    def literal(self, path: str) -> str | None:
        """An enumerated value as its literal, by the file's own EnumType."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return self._literals(path).get(int(text), text)
        except ValueError:
            return text

    def quantity(self, data_object: str, unit: str) -> int | None:
        """A setting (CDC ASG) in whole base units, never negative; None where it is not stated or not usable.

        What is stated but unusable becomes an ERROR among `problems`: a value without its unit is not guessed at.
        """
        try:
            value = self._magnitude(data_object)
            if value is None:
                return None
            scaled = value.scaleb(self._power_of_ten(data_object, unit))
            if not 0 <= scaled < _LARGEST:
                raise UnitError(f"{scaled:f} {unit} is not a rating", "state it as a number of at least 0")
        except UnitError as error:
            self.problem("der.value", data_object, str(error), error.hint)
            return None
        return int(scaled.to_integral_value())

    def problem(
        self, rule: str, data_object: str, message: str, hint: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        lines = [v[0].line for path, v in self.node.values.items() if path.partition(".")[0] == data_object]
        where = f"{self.reference}.{data_object}" if data_object else self.reference
        where = f"{where} (line {min(lines, default=self.node.line)})"
        self.problems.append(Problem(rule, where, message, hint=hint, clause="61850-7-420", severity=severity))

    def _literals(self, path: str) -> dict[int, str]:
        attribute = self.scl.templates.attribute(self.node.ln_type, path)
        return dict(self.scl.templates.enums.get(attribute.type, {})) if attribute else {}

    def _magnitude(self, data_object: str) -> Decimal | None:
        text = self.text(f"{data_object}.setMag.f")
        factor, offset = Decimal(1), Decimal(0)
        if text is None:
            text = self.text(f"{data_object}.setMag.i")
            if text is None:
                return None
            factor = _decimal(self.text(f"{data_object}.sVC.scaleFactor") or "1")
            offset = _decimal(self.text(f"{data_object}.sVC.offset") or "0")
        return _decimal(text) * factor + offset

    def _power_of_ten(self, data_object: str, unit: str) -> int:
        stated = self.literal(f"{data_object}.units.SIUnit")
        if not stated:
            raise UnitError("the value has no unit", f"set units.SIUnit to {unit}")
        if stated != unit:
            raise UnitError(f"the unit is {stated[:20]!r}, not {unit}", f"set units.SIUnit to {unit}")
        multiplier = self.literal(f"{data_object}.units.multiplier") or ""
        for literal, power in _MULTIPLIERS.items():
            if multiplier in (literal, str(power)):
                return power
        raise UnitError(f"{multiplier[:20]!r} is no multiplier", "use a MultiplierKind such as k or M")


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value.adjusted()) > 30:
        raise UnitError(f"{text[:20]!r} is not a usable number", "state it as a number")
    return value
