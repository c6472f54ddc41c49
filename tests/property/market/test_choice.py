"""The choice among offers against brute force over every combination, in exact decimals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from datamodels import FlexOffer, IspSeries, MarketCalendar, OfferOption
from interop.market.choice import Choice, choose
from interop.market.ids import head

NOW = datetime(2030, 6, 1, 8, tzinfo=UTC)
CALENDAR, DAY = MarketCalendar(), date(2030, 6, 2)
SLACK = 1
ISPS = (40, 41, 42)


def option(reference: str, price: str, powers: tuple[int, ...], least: str = "1.00") -> OfferOption:
    values: list[int | None] = [None] * 96
    for isp, power in zip(ISPS, powers, strict=False):
        values[isp - 1] = power
    return OfferOption(reference, Decimal(price), IspSeries(CALENDAR, DAY, tuple(values)), Decimal(least))


def offer(number: int, *options: OfferOption) -> FlexOffer:
    about = head(f"agr-{number}.example.org", "dso.example.org", NOW, "offer", number)
    return FlexOffer(about, "ea1.2030-01.org.example:cp", NOW + timedelta(hours=2), "EUR", options, request="r")


powers = st.tuples(*(st.integers(-3, 12).map(lambda k: k * 1000) for _ in ISPS))
prices = st.integers(0, 4000).map(lambda n: str(Decimal(n) / 100))
options = st.tuples(prices, powers, st.sampled_from(["0.96", "0.98", "0.99", "1.00"]))
offers = st.lists(st.lists(options, min_size=1, max_size=2), min_size=1, max_size=3).map(
    lambda several: [offer(n, *(option("AB"[k], *one) for k, one in enumerate(some))) for n, some in enumerate(several)]
)
rooms = st.fixed_dictionaries(
    {
        40: st.integers(1, 15).map(lambda k: (k * 1000, 30_000)),
        41: st.one_of(st.just((-4000, 9000)), st.just((2000, 20_000))),
        42: st.just((-2000, 6000)),
    }
)
Part = tuple[OfferOption, Decimal] | None


def combinations(several: list[FlexOffer], parts: bool) -> Iterator[tuple[Part, ...]]:
    def ways(one: FlexOffer) -> list[Part]:
        found: list[Part] = [None]
        for choice in one.options:
            least = int(choice.min_activation * 100) if parts else 100
            found += [(choice, Decimal(n) / 100) for n in range(least, 101)]
        return found

    yield from product(*(ways(one) for one in several))


def value(room: Mapping[int, tuple[int, int]], some: tuple[Part, ...], slack: int) -> tuple[Decimal, Decimal] | None:
    """(shortfall W, price), None where a limit is broken."""
    shortfall = Decimal(0)
    for isp, (low, high) in room.items():
        total = sum(((part[0].power.at(isp) or 0) * part[1] for part in some if part), Decimal(0))
        if total > high + slack or total < (min(low, 0) if low <= 0 else 0) - slack:
            return None
        shortfall += max(Decimal(0), low - slack - total) if low > 0 else 0
    return shortfall, sum((part[0].price * part[1] for part in some if part), Decimal(0))


def exact(choice: Choice, several: list[FlexOffer]) -> tuple[Part, ...]:
    by_offer = {pick.offer.head.message_id: (pick.option, pick.factor) for pick in choice.picks}
    return tuple(by_offer.get(one.head.message_id) for one in several)


@settings(max_examples=60, deadline=None)
@given(rooms, offers, st.booleans())
def test_no_combination_has_less_shortfall_or_the_same_for_less(
    room: dict[int, tuple[int, int]], several: list[FlexOffer], parts: bool
) -> None:
    slack = SLACK * len(several)
    chosen = choose(room, several, lambda _: parts)
    assert len({pick.offer.head.message_id for pick in chosen.picks}) == len(chosen.picks), "one option an offer"
    for pick in chosen.picks:
        assert pick.factor == pick.factor.quantize(Decimal("0.01"))
        assert pick.factor == 1 or (parts and pick.option.min_activation <= pick.factor < 1)
    got = value(room, exact(chosen, several), slack)
    assert got is not None, "no limit is broken"
    best = min(found for some in combinations(several, parts) if (found := value(room, some, slack)) is not None)
    assert abs(got[0] - best[0]) < Decimal("0.1"), (got, best)
    assert got[1] <= best[1] + Decimal("0.0001"), (got, best)


ROOM = {40: (10_000, 50_000), 41: (10_000, 50_000), 42: (-5000, 5000)}


def names(choice: Choice) -> list[tuple[str, str, Decimal]]:
    return [(pick.offer.head.sender[:5], pick.option.reference, pick.factor) for pick in choice.picks]


def test_two_cheap_halves_beat_one_dear_whole() -> None:
    one, two = offer(1, option("A", "3", (6000, 6000))), offer(2, option("A", "4", (4000, 4000)))
    whole = offer(3, option("A", "8", (10_000, 10_000)))
    chosen = choose(ROOM, [one, whole, two], lambda _: True)
    assert [name for name, _, _ in names(chosen)] == ["agr-1", "agr-2"]
    assert chosen.price == 7
    assert chosen.shortfall_w == {}


def test_no_more_than_needed_is_activated_rounded_up_to_a_hundredth() -> None:
    big = offer(1, option("A", "30.0001", (30_001, 40_000), "0.10"))
    chosen = choose(ROOM, [big], lambda _: True)
    (pick,) = chosen.picks
    assert pick.factor == Decimal("0.34"), "10000 / 30001 is 0.3333"
    assert (pick.price, pick.power.at(40)) == (Decimal("10.2000"), 10_200)
    assert choose(ROOM, [big], lambda _: False).picks[0].factor == 1
    barely = offer(1, option("A", "30", (30_001, 40_000), "0.80"))
    assert choose(ROOM, [barely], lambda _: True).picks[0].factor == Decimal("0.80")


def test_options_of_one_offer_exclude_each_other() -> None:
    both = offer(1, option("A", "1", (5000, 5000)), option("B", "1", (6000, 6000)))
    chosen = choose(ROOM, [both], lambda _: True)
    assert [reference for _, reference, _ in names(chosen)] == ["B"]
    assert chosen.shortfall_w == {40: 4000, 41: 4000}


def test_what_would_break_another_isp_is_not_ordered() -> None:
    rebound = offer(1, option("A", "1", (10_000, 10_000, -8000)))
    gentle = offer(2, option("A", "9", (10_000, 10_000, -5000)))
    assert names(choose(ROOM, [rebound, gentle], lambda _: True)) == [("agr-2", "A", Decimal("1.00"))]
    balanced = offer(3, option("A", "1", (0, 0, 4000)))
    assert len(choose(ROOM, [rebound, balanced], lambda _: True).picks) == 2, "together they keep the limits"


def test_ties_go_to_the_earlier_offer() -> None:
    same = [offer(n, option("A", "5", (10_000, 10_000))) for n in (3, 1, 2)]
    assert names(choose(ROOM, same, lambda _: True)) == [("agr-3", "A", Decimal("1.00"))]


def test_less_consumption_is_the_mirror_image() -> None:
    room = {40: (-50_000, -10_000), 41: (-50_000, -10_000), 42: (-5000, 5000)}
    less = [offer(1, option("A", "5", (-20_000, -20_000), "0.20")), offer(2, option("A", "2", (9000, 9000)))]
    assert names(choose(room, less, lambda _: True)) == [("agr-1", "A", Decimal("0.50"))]


def test_without_offers_everything_is_missing() -> None:
    assert choose(ROOM, [], lambda _: True) == Choice((), {40: 10_000, 41: 10_000})
