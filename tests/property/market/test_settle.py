"""Settlement of an aggregator's orders (UFTP 2.6.2): what holds whatever is ordered, prognosed and measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from datamodels import FlexOrder, IspSeries, MarketCalendar, MarketTerms, Prognosis, SettlementBasis, SettlementRow
from interop.market.ids import head
from interop.market.settle import rows

CALENDAR, DAY = MarketCalendar(), date(2030, 6, 4)
NOW = datetime(2030, 6, 3, 8, tzinfo=UTC)
DSO, AGR, POINT = "dso.example.org", "agr.example.org", "ea1.2030-01.org.example:cp"
ISPS = (40, 41)
PENALTY = Decimal("0.25")

watts = st.integers(-50_000, 50_000)
pairs = st.tuples(watts, watts)
prices = st.decimals(0, 500, places=4)
orders = st.lists(st.tuples(st.integers(0, 1), pairs, prices), min_size=1, max_size=4)


def at(powers: tuple[int, int], whole: bool = False) -> IspSeries:
    values: list[int | None] = [0 if whole else None] * 96
    for isp, power in zip(ISPS, powers, strict=True):
        values[isp - 1] = power
    return IspSeries(CALENDAR, DAY, tuple(values))


def settled(
    several: list[tuple[int, tuple[int, int], Decimal]],
    baselines: tuple[tuple[int, int], tuple[int, int]],
    actual: tuple[int, int],
    sign: int = 1,
    basis: SettlementBasis = SettlementBasis.PAY_DELIVERED,
) -> tuple[SettlementRow, ...]:
    """Orders (prognosis 0 or 1, power, price), placed one after the other."""

    def turned(powers: tuple[int, int]) -> tuple[int, int]:
        return sign * powers[0], sign * powers[1]

    prognoses = {
        f"p{n}": Prognosis(head(AGR, DSO, NOW, n), POINT, n + 1, at(turned(base), whole=True))
        for n, base in enumerate(baselines)
    }
    prognoses = {p.head.message_id: p for p in prognoses.values()}
    ids = list(prognoses)
    placed = [
        FlexOrder(head(DSO, AGR, NOW + timedelta(minutes=n), "order", n), POINT, f"r{n}", price, "EUR",
                  at(turned(power)), prognosis=ids[on])
        for n, (on, power, price) in enumerate(several)
    ]  # fmt: skip
    terms = MarketTerms(CALENDAR, penalty_eur_per_kwh=PENALTY, settlement_basis=basis)
    return rows(reversed(placed), prognoses, {(POINT, DAY): at(turned(actual), whole=True)}, terms)


@given(orders, st.tuples(pairs, pairs), pairs)
def test_no_more_is_paid_than_what_was_ordered_costs(
    several: list[tuple[int, tuple[int, int], Decimal]],
    baselines: tuple[tuple[int, int], tuple[int, int]],
    actual: tuple[int, int],
) -> None:
    found = settled(several, baselines, actual)
    assert [row.order_reference for row in found] == [f"r{n}" for n in range(len(several))], "in order of placement"
    for row, (_, power, price) in zip(found, several, strict=True):
        assert 0 <= row.price <= price
        assert row.penalty >= 0
        assert row.net == row.price - row.penalty
        assert all(abs(i.delivered_w) <= abs(i.ordered_w) and i.deficiency_w >= 0 for i in row.isps)
        acquired, delivered = (sum(abs(v) for v in values) for values in (power, [i.delivered_w for i in row.isps]))
        if acquired:
            assert abs(row.price - price * delivered / acquired) <= Decimal("0.00005")
        missing = Decimal(sum(i.deficiency_w for i in row.isps)) / 4000
        assert abs(row.penalty - missing * PENALTY) <= Decimal("0.00005")


@given(orders, st.tuples(pairs, pairs), pairs)
def test_mirrored_signs_give_the_same_money(
    several: list[tuple[int, tuple[int, int], Decimal]],
    baselines: tuple[tuple[int, int], tuple[int, int]],
    actual: tuple[int, int],
) -> None:
    one, other = settled(several, baselines, actual), settled(several, baselines, actual, sign=-1)
    assert [(r.price, r.penalty) for r in one] == [(r.price, r.penalty) for r in other]


@given(orders, st.tuples(pairs, pairs), pairs)
def test_an_order_on_a_later_prognosis_changes_nothing_for_one_on_an_earlier(
    several: list[tuple[int, tuple[int, int], Decimal]],
    baselines: tuple[tuple[int, int], tuple[int, int]],
    actual: tuple[int, int],
) -> None:
    together = settled(several, baselines, actual)
    for on in (0, 1):
        alone = settled([one for one in several if one[0] == on], baselines, actual)
        with_others = [row for row, one in zip(together, several, strict=True) if one[0] == on]
        assert [r.isps for r in alone] == [r.isps for r in with_others]


@given(st.lists(st.tuples(st.just(0), st.tuples(*[st.integers(1, 9000)] * 2), prices), min_size=1, max_size=4), pairs)
def test_meeting_the_adjusted_baseline_leaves_nothing_missing_and_everything_paid(
    several: list[tuple[int, tuple[int, int], Decimal]], baseline: tuple[int, int]
) -> None:
    met = tuple(base + sum(power[k] for _, power, _ in several) for k, base in enumerate(baseline))
    found = settled(several, (baseline, (0, 0)), (met[0], met[1]))
    assert all(i.deficiency_w == 0 and i.delivered_w == i.ordered_w for row in found for i in row.isps)
    assert [row.net for row in found] == [price for _, _, price in several]


@given(orders, st.tuples(pairs, pairs), pairs)
def test_where_what_is_ordered_is_paid_only_penalties_differ(
    several: list[tuple[int, tuple[int, int], Decimal]],
    baselines: tuple[tuple[int, int], tuple[int, int]],
    actual: tuple[int, int],
) -> None:
    found = settled(several, baselines, actual, basis=SettlementBasis.PAY_ORDERED)
    assert [row.price for row in found] == [price for _, _, price in several]
    assert [r.penalty for r in found] == [r.penalty for r in settled(several, baselines, actual)]
