"""Peer profiles: messages composed for what a counterpart's software takes, each bending a loss."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.errors import Rejection
from adapters.ports import Direction
from adapters.uftp.codec import decode, encode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.profiles import obey
from datamodels import (
    PROFILES,
    Disposition,
    FlexOffer,
    FlexOrder,
    FlexRequest,
    IspSeries,
    MarketCalendar,
    OfferOption,
    ProfileLimits,
    RequestIsp,
    Run,
    limits_of,
)

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
CALENDAR = MarketCalendar()
DAY = date(2030, 6, 12)
JAVA = "java-3.x"


def canonical(name: str) -> Any:
    return to_canonical(decode((DATA / f"{name}.xml").read_bytes()), CALENDAR)[0]


def obeyed(world: ModuleType, message: Any, profile: str, *said: Any) -> tuple[Element, list[str]]:
    """The element as the peer reads it, and the names of what was bent."""
    history = world.MemoryHistory()
    for earlier in said:
        history.add(Direction.OUT if isinstance(earlier, FlexRequest) else Direction.IN, earlier)
    element, losses = to_wire(message, "3.1.0", world.TERMS)
    assert losses == ()
    element, bent = obey(element, profile, history)
    return decode(encode(element)), [loss.field for loss in bent]


def stretches(parent: Element) -> list[tuple[int, int]]:
    return [(isp["Start"], isp["Duration"]) for isp in parent.children]


def test_profiles_are_joined_and_known() -> None:
    assert limits_of("strict") == ProfileLimits()
    both = limits_of("gopacs+java-3.x")
    assert (both.foreign_activation, both.most_options, both.reads_loosely) == (True, 1, False)
    assert all(limits_of(name) for name in PROFILES)
    with pytest.raises(ValueError, match=r"no peer profile 'java'; there are strict, java-3\.x"):
        limits_of("strict+java")


def test_strict_bends_nothing(world: ModuleType) -> None:
    for name in ("FlexOffer", "FlexOrder-partial", "Metering", "FlexRequest"):
        element = to_wire(canonical(name), "3.1.0", world.TERMS)[0]
        assert obey(element, "strict", world.MemoryHistory()) == (element, ())


def test_java_gets_one_whole_option(world: ModuleType) -> None:
    """U-25: one option, the first and so the fullest; activation factor 1.00; prices in whole cents."""
    element, bent = obeyed(world, canonical("FlexOffer"), JAVA)
    (option,) = element.children
    assert (option["OptionReference"], option["MinActivationFactor"]) == ("A", 1)
    assert bent == ["OfferOption", "MinActivationFactor"]
    assert b'Price="12.50"' in encode(element)


@pytest.mark.parametrize(
    ("currency", "price", "text"), [("EUR", "12.5", "12.50"), ("ISK", "12.00", "12"), ("TND", "12.5", "12.500")]
)
def test_java_gets_prices_with_the_digits_of_the_currency(
    world: ModuleType, currency: str, price: str, text: str
) -> None:
    order = replace(canonical("FlexOrder"), currency=currency, price=Decimal(price))
    element, bent = obeyed(world, order, JAVA)
    assert f'Price="{text}"'.encode() in encode(element)
    assert bent == []
    odd, bent = obeyed(world, replace(order, price=Decimal("12.5055")), JAVA)
    assert (odd["Price"], bent) == (Decimal("12.5055"), ["Price"])


def test_java_is_not_sent_what_it_surely_refuses(world: ModuleType) -> None:
    order = canonical("FlexOrder-partial")
    with pytest.raises(Rejection, match="whole options") as refusal:
        obeyed(world, order, JAVA)
    assert [p.where for p in refusal.value.problems] == ["ActivationFactor"]
    direct = replace(order, offer=None, option=None, unsolicited=True)
    with pytest.raises(Rejection) as refusal:
        obeyed(world, direct, JAVA)
    assert [p.where for p in refusal.value.problems] == ["ActivationFactor", "Unsolicited"]
    assert all(p.rule == "uftp.profile" and p.hint for p in refusal.value.problems)
    assert obeyed(world, direct, "gopacs")[1] == []


def _asked(*stretches: tuple[int, int], disposition: Disposition = Disposition.REQUESTED) -> FlexRequest:
    isps = tuple(RequestIsp(start, length, disposition, -90_000, 0) for start, length in stretches)
    return replace(canonical("FlexRequest"), isps=isps)


def _series(*runs: tuple[int, int, int]) -> IspSeries:
    return IspSeries.from_runs(CALENDAR, DAY, [Run(*run) for run in runs])


def test_java_gets_the_partition_of_the_request(world: ModuleType) -> None:
    request = _asked((70, 2), (72, 2), (74, 1))
    offer = canonical("FlexOffer")
    flat = OfferOption("A", Decimal("12.50"), _series((69, 7, -5000)))
    one: FlexOffer = replace(offer, options=(flat,))
    element, bent = obeyed(world, one, JAVA, request)
    assert stretches(element.children[0]) == [(69, 1), (70, 2), (72, 2), (74, 1), (75, 1)]
    assert bent == []
    assert to_canonical(element, CALENDAR)[0] == one
    uneven = replace(one, options=(replace(flat, power=_series((70, 1, -5000), (71, 3, -4000))),))
    element, bent = obeyed(world, uneven, JAVA, request)
    assert stretches(element.children[0]) == [(70, 1), (71, 1), (72, 2)]
    assert bent == []
    bits = replace(one, options=(replace(flat, power=_series((70, 1, -5000), (73, 1, -4000))),))
    assert obeyed(world, bits, JAVA, request)[1] == ["ISP"]
    assert obeyed(world, bits, JAVA)[1] == []  # unsolicited, or of a request that we do not know


def test_an_order_is_cut_like_the_offer_that_answered_the_request(world: ModuleType) -> None:
    request = _asked((70, 3), (73, 4))
    option = OfferOption("A", Decimal("12.50"), _series((70, 7, -50001)))
    offer = replace(canonical("FlexOffer"), options=(option,))
    order: FlexOrder = replace(canonical("FlexOrder"), power=option.power)
    element, bent = obeyed(world, order, JAVA, request, offer)
    assert stretches(element) == [(70, 3), (73, 4)]
    assert bent == []


@pytest.mark.parametrize(
    ("profile", "ean", "sent", "bent"),
    [
        ("strict", "E871685900012636543", "E871685900012636543", []),
        ("strict", "E8716859000126365", "E8716859000126365", []),
        ("ean16", "E8716859000126365", "E8716859000126365", []),
        ("ean16", "E871685900012636543", "E8716859000126365", ["EAN"]),
        ("java-3.x+ean16", "e871685900012636543", "e8716859000126365", ["EAN"]),
    ],
)
def test_an_ean_has_the_digits_that_the_peer_reads(
    world: ModuleType, profile: str, ean: str, sent: str, bent: list[str]
) -> None:
    """U-28: both lengths in (the codec), out per profile; by default all digits there are."""
    element, losses = obeyed(world, replace(canonical("Metering"), ean=ean), profile)
    assert (element["EAN"], losses) == (sent, bent)
