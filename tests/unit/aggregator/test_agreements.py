"""What follows from a day's prognoses, requests and orders: bounds, what is reckoned with, when to prognose anew."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from adapters.ports import Direction
from datamodels import (
    Disposition,
    FlexOrder,
    FlexRequest,
    Head,
    IspSeries,
    MarketCalendar,
    MarketMessage,
    Prognosis,
    RequestIsp,
)
from interop.aggregator.agreements import Agreements, bounds, revised
from interop.effects import Put
from interop.market.book import MESSAGE, Book, Record

CALENDAR = MarketCalendar(isp=timedelta(hours=6))
DAY = date(2026, 5, 20)
BEGIN = datetime(2026, 5, 19, 8, tzinfo=UTC)
FREE = (float("-inf"), float("inf"))


def series(*power_w: int | None) -> IspSeries:
    return IspSeries(CALENDAR, DAY, power_w)


class Said:
    """A book that is filled line by line, a minute apart."""

    def __init__(self) -> None:
        self.book = Book()
        self.count = 0

    def _head(self) -> Head:
        self.count += 1
        return Head("a", "b", f"m{self.count}", "c", BEGIN + timedelta(minutes=self.count))

    def _put(self, direction: Direction, message: MarketMessage, accepted: bool | None) -> None:
        self.book.apply([Put(MESSAGE, message.head.message_id, Record(direction, "b", message, accepted))])

    def prognosis(self, *power_w: int, accepted: bool | None = True, point: str = "p") -> Prognosis:
        revision = 1 + len(self.book.messages(Prognosis))
        message = Prognosis(self._head(), point, revision, series(*power_w))
        self._put(Direction.OUT, message, accepted)
        return message

    def request(self, *room: tuple[int, int] | None) -> FlexRequest:
        isps = tuple(RequestIsp(k, 1, Disposition.AVAILABLE, *r) for k, r in enumerate(room, 1) if r)
        message = FlexRequest(self._head(), "p", CALENDAR, DAY, 1, BEGIN + timedelta(days=1), isps)
        self._put(Direction.IN, message, True)
        return message

    def order(self, on: Prognosis | None, *power_w: int | None) -> FlexOrder:
        about = self._head()
        named = on.head.message_id if on else None
        message = FlexOrder(about, "p", about.message_id, Decimal(1), "EUR", series(*power_w), prognosis=named)
        self._put(Direction.IN, message, True)
        return message

    @property
    def agreed(self) -> Agreements:
        return Agreements.of(self.book, "p", DAY)


def test_without_a_word_the_standing_limit_holds() -> None:
    assert bounds(Said().agreed, 4, (-5.0, 7.0)) == ([-5.0] * 4, [7.0] * 4)


def test_room_is_counted_from_the_prognosis_that_was_newest_when_the_request_came() -> None:
    said = Said()
    said.prognosis(-100, -100, -100, -100)
    said.request((-10, 20), (30, 60), None, (-50, -40))
    said.prognosis(-70, -70, -70, -70)
    low, high = bounds(said.agreed, 4, (-200.0, 200.0))
    assert low == [-110, -100, -200, -150], "in a requested ISP the prognosis itself is the far bound"
    assert high == [-80, -40, 200, -100]


def test_a_later_request_replaces_the_room_of_the_isps_it_speaks_of() -> None:
    said = Said()
    said.prognosis(0, 0, 0, 0)
    said.request((-10, 10), (-10, 10), (-10, 10), (-10, 10))
    said.prognosis(5, 5, 5, 5)
    said.request(None, None, (-1, 1), (-2, 2))
    assert bounds(said.agreed, 4, FREE) == ([-10, -10, 4, 3], [10, 10, 6, 7])


def test_orders_on_one_prognosis_add_up_and_go_before_room() -> None:
    said = Said()
    one = said.prognosis(-100, -100, -100, -100)
    said.request((-10, 10), (0, 20), (0, 20), (-9, 9))
    said.order(one, None, 15, None, None)
    said.order(one, None, 10, 5, -7)
    low, high = bounds(said.agreed, 4, FREE)
    assert low == [-110, -75, -95, -109]
    assert high == [-90, -75, -80, -107], "what was ordered may leave the room, and then is exact"


def test_an_order_binds_against_its_own_prognosis_whatever_was_prognosed_since() -> None:
    said = Said()
    one = said.prognosis(-100, -100, -100, -100)
    said.order(one, 20, None, None, None)
    two = said.prognosis(-80, -100, -100, -100)
    said.order(two, 5, None, None, None)
    assert bounds(said.agreed, 4, FREE)[0][0] == -75, "the later order asks for more"
    said.prognosis(-60, -100, -100, -100)
    assert bounds(said.agreed, 4, FREE)[0][0] == -75, "a better prognosis takes nothing back and adds nothing"


def test_where_orders_contradict_each_other_the_later_prognosis_order_stands() -> None:
    said = Said()
    one = said.prognosis(-100, 0, 0, 0)
    said.order(one, 20, None, None, None)
    two = said.prognosis(-75, 0, 0, 0)
    said.order(two, -10, None, None, None)
    low, high = bounds(said.agreed, 4, FREE)
    assert (low[0], high[0]) == (-85, -85)


def test_an_order_without_a_prognosis_counts_from_the_newest_one_before_it() -> None:
    said = Said()
    said.prognosis(-100, 0, 0, 0)
    said.order(None, 20, None, None, None)
    said.prognosis(-50, 0, 0, 0)
    assert bounds(said.agreed, 4, FREE)[0][0] == -80


def test_a_refused_prognosis_and_other_points_do_not_count() -> None:
    said = Said()
    said.prognosis(-1, -1, -1, -1)
    said.prognosis(-2, -2, -2, -2, accepted=False)
    said.prognosis(-3, -3, -3, -3, point="elsewhere")
    assert [p.power.power_w[0] for p in said.agreed.prognoses] == [-1]
    assert said.agreed.said == 2, "but its revision is used up"


@given(
    base=st.lists(st.integers(-100, 100), min_size=4, max_size=4),
    orders=st.lists(st.lists(st.none() | st.integers(-50, 50), min_size=4, max_size=4), max_size=4),
    moves=st.lists(st.lists(st.integers(-20, 20), min_size=4, max_size=4), max_size=3),
)
def test_bounds_are_bounds_and_the_last_order_is_always_kept(
    base: list[int], orders: list[list[int | None]], moves: list[list[int]]
) -> None:
    said = Said()
    newest = said.prognosis(*base)
    for k, order in enumerate(orders):
        said.order(newest, *order)
        if k < len(moves):
            newest = said.prognosis(*(p + m for p, m in zip(newest.power.power_w, moves[k], strict=True)))
    low, high = bounds(said.agreed, 4, (-300.0, 300.0))
    assert all(a <= b for a, b in zip(low, high, strict=True))
    for isp, ordered in said.agreed.ordered_on(newest):
        due = (newest.power.at(isp) or 0) + ordered
        assert low[isp - 1] >= due if ordered > 0 else ordered == 0 or high[isp - 1] <= due


def test_a_request_before_any_prognosis_speaks_of_the_first_one() -> None:
    said = Said()
    said.request((-10, 10), None, None, None)
    assert said.agreed.asked_of == (None,)
    first = said.prognosis(100, 0, 0, 0)
    said.prognosis(500, 0, 0, 0)
    assert said.agreed.asked_of == (first,)
    assert bounds(said.agreed, 4, FREE)[1][0] == 110


# --- prognosing anew ----------------------------------------------------------------------------


def test_what_was_ordered_is_no_reason_for_a_revision() -> None:
    said = Said()
    one = said.prognosis(-100, -100, -100, -100)
    said.order(one, None, None, 30, None)
    assert revised(said.agreed, [-100, -100, -68, -100], 0, 1, 5) is None
    assert revised(said.agreed, [-100, -100, -100, -100], 0, 1, 5) == series(-100, -100, -100, -100)


def test_only_isps_that_can_be_traded_are_a_reason_and_begun_ones_stay() -> None:
    said = Said()
    said.prognosis(1, 2, 3, 4)
    assert revised(said.agreed, [50, 50, 50, 4], 1, 4, 5) is None
    assert revised(said.agreed, [50, 50, 50, 40], 1, 4, 5) == series(1, 50, 50, 40)
    assert revised(said.agreed, [50, 50, 50, 50], 1, 10**6, 5) is None, "nothing is left to trade"


def test_before_a_prognosis_there_is_nothing_to_revise() -> None:
    assert revised(Said().agreed, [0, 0, 0, 0], 0, 1, 5) is None
