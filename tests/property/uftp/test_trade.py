"""Signs, and parts of an option: what a desk composes passes the rules that a peer applies."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ports import Direction
from adapters.uftp import check_payload
from adapters.uftp.codec import decode, encode
from adapters.uftp.mapping import to_canonical, to_wire
from datamodels import FlexOffer, FlexOrder, IspSeries, MarketCalendar, Metering, OfferOption, Prognosis, Role, Run

CALENDAR = MarketCalendar()
DAY = date(2030, 6, 12)


def canonical(world: ModuleType, name: str) -> Any:
    return to_canonical(decode((world.DATA / f"{name}.xml").read_bytes()), CALENDAR)[0]


@settings(max_examples=40, deadline=None)
@given(powers=st.lists(st.integers(-(10**9), 10**9), min_size=96, max_size=96))
def test_consumption_is_positive_on_the_wire_too(world: ModuleType, powers: list[int]) -> None:
    """U-15: a series keeps every sign and number both ways; import is positive."""
    prognosis: Prognosis = replace(canonical(world, "D-Prognosis"), power=IspSeries.of(CALENDAR, DAY, powers))
    element, _ = to_wire(prognosis, "3.1.0", world.TERMS)
    read = decode(encode(element))
    stated = [isp["Power"] for isp in read.children for _ in range(isp["Duration"])]
    assert stated == powers
    assert to_canonical(read, CALENDAR)[0] == prognosis


def test_metered_import_is_positive_power(world: ModuleType) -> None:
    """U-15: import and export energy of an ISP are net power, (import - export) * 60 / ISP minutes."""
    metering: Metering = canonical(world, "Metering")
    kinds = {profile.kind.value: profile for profile in metering.profiles}
    power = replace(metering, profiles=(kinds["Power"],)).power()
    assert power is not None
    assert [p for _, p in power] == [round(v * 1000) for v in kinds["Power"].values]


@pytest.mark.parametrize("percent", range(1, 101))
def test_each_part_of_odd_powers_and_prices_is_taken(world: ModuleType, percent: int) -> None:
    """U-16: half-even, as we compose it; a watt beside it, as peers may round; two watts are refused."""
    factor = Decimal(percent) / 100
    power = IspSeries.from_runs(CALENDAR, DAY, [Run(70, 1, -50001), Run(71, 2, 33333), Run(73, 1, -7), Run(74, 1, 0)])
    option = OfferOption("A", Decimal("12.3457"), power, Decimal("0.01"))
    offer: FlexOffer = replace(canonical(world, "FlexOffer"), options=(option,))
    history = world.MemoryHistory()
    history.add(Direction.IN, canonical(world, "FlexRequest"))
    history.add(Direction.OUT, offer)
    price = (option.price * factor).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    whole: FlexOrder = canonical(world, "FlexOrder")

    def reason(watts_off: int, price: Decimal = price) -> str:
        ordered = power.scaled(factor).map(lambda p: p + watts_off)
        order = replace(whole, power=ordered, price=price, activation_factor=factor)
        payload = encode(to_wire(order, "3.1.0", world.TERMS)[0])
        return check_payload(
            payload,
            world.DSO,
            Role.DSO,
            history,
            world.TERMS,
            world.participants(),
            world.NOW,
            world.AGR,
            Role.AGR,
        ).reason

    assert reason(0) == ""
    assert reason(2) == "Power mismatch"
    assert reason(0, price + Decimal("0.0001")) == "Price mismatch"
    if percent == 100:
        assert reason(1) == "Power mismatch"
