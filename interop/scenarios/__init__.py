"""Scenarios: real grids and real profiles, cut so that a day can be played through."""

from interop.scenarios.market import load as load_market
from interop.scenarios.rural1 import load as load_rural1
from interop.scenarios.scenario import Aggregator, Scenario, Series

__all__ = ["SCENARIOS", "Aggregator", "Scenario", "Series"]

SCENARIOS = {"market": load_market, "rural1": load_rural1}
