"""Settings of the adapter and addresses of devices, checked: unknown keys and bad values are refused with a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from adapters.errors import Rejection
from datamodels import Problem, Resource

__all__ = ["Address", "Settings"]

_OPTIONS = ("unit", "min_limit_pct", "max_in_flight")


@dataclass(frozen=True, slots=True)
class Settings:
    """How devices are read and written. Times ending in `_s` are wall seconds, except `reversion_s`.

    Args:
        poll_s: time between two reads of what changes.
        timeout_s: patience with one request.
        reversion_s: market seconds after which a device takes back an order that is not refreshed (it is at half).
        verify_s: a write must show within this time (SunSpec: 1000 ms).
        reconnect_min_s, reconnect_max_s: back-off between tries to reach a device, doubled each time.
        lock_check_s: time between two looks at whether somebody took the device into local control.
        max_writes_per_day: order values written per device and market day; reverting is always allowed.
    """

    poll_s: float = 1.0
    timeout_s: float = 1.0
    reversion_s: float = 600.0
    verify_s: float = 1.0
    reconnect_min_s: float = 0.2
    reconnect_max_s: float = 30.0
    lock_check_s: float = 10.0
    max_writes_per_day: int = 10_000

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Settings from a table of the configuration.

        Raises:
            Rejection: a key is unknown, or a value is not a positive number.
        """
        known = {f.name: f.default for f in fields(cls)}
        problems = list(_unknown(config, known, "modbus"))
        values: dict[str, Any] = {}
        for name in config.keys() & known.keys():
            value, whole = config[name], isinstance(known[name], int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value <= 0:
                text = f"{value!r} is not a positive {'whole number' if whole else 'number'}"
                problems.append(Problem("config.value", f"modbus.{name}", text, hint=f"the default is {known[name]}"))
            else:
                values[name] = value if whole else float(value)
        settings = cls(**values)
        if settings.reconnect_max_s < settings.reconnect_min_s:
            text = f"{settings.reconnect_max_s} s is less than reconnect_min_s"
            problems.append(Problem("config.value", "modbus.reconnect_max_s", text))
        if settings.reversion_s < 2 or settings.reversion_s != int(settings.reversion_s):
            text = "devices count whole seconds, at least 2 so that a refresh at half comes in time"
            problems.append(Problem("config.value", "modbus.reversion_s", text))
        if problems:
            raise Rejection(problems)
        return settings


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device answers. `min_limit_pct`: it is never limited below this, 0 for no such quirk."""

    host: str
    port: int
    unit: int = 1
    min_limit_pct: float = 0.0
    max_in_flight: int = 1

    @classmethod
    def of(cls, resource: Resource) -> Address:
        """From a binding: address "host:port" or "host:port/unit", and options.

        Raises:
            Rejection: there is no Modbus binding, or it does not hold what it should.
        """
        binding = resource.binding
        where = f"resources.{resource.id}.binding"
        if binding is None or binding.adapter != "modbus":
            raise Rejection([Problem("modbus.binding", where, "the resource is not bound to the Modbus adapter")])
        problems = list(_unknown(binding.options, _OPTIONS, f"{where}.options"))
        place, _, unit = binding.address.partition("/")
        host, colon, port = place.rpartition(":")
        numbers: dict[str, float] = {}
        for name, text, low, high in (
            ("port", port, 1, 65535),
            ("unit", unit or binding.options.get("unit", "1"), 0, 255),
            ("min_limit_pct", binding.options.get("min_limit_pct", "0"), 0, 100),
            ("max_in_flight", binding.options.get("max_in_flight", "1"), 1, 16),
        ):
            try:
                numbers[name] = float(text) if name == "min_limit_pct" else int(text)
            except ValueError:
                numbers[name] = -1
            if not low <= numbers[name] <= high:
                problems.append(Problem("modbus.binding", where, f"{name} {text!r} is not in {low}..{high}"))
        if not colon or not host.strip("[]"):
            hint = 'write "127.0.0.1:502" or "127.0.0.1:502/3" for unit 3'
            problems.append(Problem("modbus.binding", where, f"{binding.address!r} is not host:port", hint=hint))
        if problems:
            raise Rejection(problems)
        return cls(
            host.strip("[]"),
            int(numbers["port"]),
            int(numbers["unit"]),
            numbers["min_limit_pct"],
            int(numbers["max_in_flight"]),
        )


def _unknown(given: Mapping[str, Any], known: Iterable[str], where: str) -> Iterable[Problem]:
    for name in given.keys() - set(known):
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
        yield Problem("config.unknown", f"{where}.{name}", "there is no such key", hint=hint)
