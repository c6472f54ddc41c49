"""Scenarios: real grids and real profiles, cut so that a day can be played through."""

from interop.scenarios.rural1 import load as load_rural1
from interop.scenarios.scenario import Scenario, Series

__all__ = ["SCENARIOS", "Scenario", "Series"]

SCENARIOS = {"rural1": load_rural1}
