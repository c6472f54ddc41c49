"""Scenario `market`: the net and the day of `rural1`, with two aggregators, a contract and a common reference operator.

East represents eight homes with most of the batteries, West five with most of the PV and one small battery. West asks
less, but cannot do alone what the grid needs: the grid operator has to combine. Who belongs to whom, prices and the
contract are invented.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from datamodels import Contract, Run
from interop.scenarios.rural1 import load as load_rural1
from interop.scenarios.scenario import Aggregator, Scenario

__all__ = ["load"]

_EAST, _WEST, _DSO = "agr-east.example.org", "agr-west.example.org", "dso.example.org"
_OF_EAST = frozenset({"home-01", "home-02", "home-08", "home-09", "home-10", "home-12", "home-13", "home-14"})
_CONTRACT = Contract(
    id="FLEX-2016-EAST",
    dso=_DSO,
    agr=_EAST,
    service_types=("congestion",),
    penalty_eur_per_kwh=Decimal("0.5"),
    reserved=(Run(41, 20, 30_000),),
)


def load() -> Scenario:
    """`rural1` with its homes shared by two aggregators."""
    base = load_rural1()
    east = tuple(home.id for home in base.homes if home.id in _OF_EAST)
    west = tuple(home.id for home in base.homes if home.id not in _OF_EAST)
    return replace(
        base,
        name="market",
        title=f"{base.title}; two aggregators, a grid operator, a common reference operator",
        aggregators=(
            Aggregator("agr-east", _EAST, east),
            Aggregator("agr-west", _WEST, west, Decimal("0.1"), Decimal("0.03")),
        ),
        dso=_DSO,
        cro="cro.example.org",
        contracts=(_CONTRACT,),
        added=(*base.added, "two aggregators share the homes; their prices and the contract of one are invented"),
    )
