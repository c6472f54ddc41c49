"""Modbus/TCP and SunSpec: devices polled and steered through a strict client of our own.

`build(config, ports)` makes the adapter. `python -m adapters.modbus.simulator` is a SunSpec device to try it on.
"""

from adapters.modbus.adapter import ModbusAdapter, build

__all__ = ["ModbusAdapter", "build"]
