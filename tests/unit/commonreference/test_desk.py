"""What the common reference operator takes, refuses and shows; every check through the desk, as the hub calls it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from support.market import (
    AGR,
    AGR2,
    CRO,
    DSO,
    DSO2,
    FIRST,
    NOW,
    P1,
    P2,
    TODAY,
    answer,
    context,
    ean,
    head,
    point,
    stay,
)

from adapters.ports import Interpretation, Received
from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    AgrPortfolioUpdate,
    AgrView,
    ConnectedAt,
    ConnectionPeriod,
    DsoPortfolioQuery,
    DsoPortfolioUpdate,
    DsoView,
    PointPeriod,
    PointView,
    RedispatchBy,
    dumps,
    loads,
)
from interop.commonreference.desk import CommonReferenceDesk, build
from interop.commonreference.register import view
from interop.effects import Alarm, Effect, Log, Put

ZONE = "Europe/Amsterdam"
JUNE10, JULY = date(2030, 6, 10), date(2030, 7, 1)
PEERS = [AGR, AGR2, DSO, DSO2]


class Operator:
    """The desk, and what it made durable."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options
        self.documents: dict[tuple[str, str], Any] = {}
        self.count = 0
        self.desk = self._begin()

    def _begin(self) -> CommonReferenceDesk:
        desk = build(self.options, context(CRO, PEERS))
        desk.load({place: loads(dumps(value)) for place, value in self.documents.items()})
        return desk

    def restart(self) -> None:
        self.desk = self._begin()

    def hear(self, message: Any, now: datetime = NOW) -> list[Effect]:
        peer = message.head.sender
        received = Received("uftp", peer, type(message).__name__, b"", message.head.message_id, "c")
        effects = self.desk.on_message(peer, "uftp", Interpretation(message), received, now)
        self.documents |= {(e.kind, e.key): e.value for e in effects if isinstance(e, Put)}
        return effects

    def ask(self, message: Any, now: datetime = NOW) -> Acknowledgement:
        return answer(self.hear(message, now))

    def _head(self, sender: str, at: datetime) -> Any:
        self.count += 1
        return head(sender, CRO, f"m{self.count}", at)

    def publish(self, *points: PointPeriod, dso: str = DSO, at: datetime | None = None) -> Acknowledgement:
        at = at or NOW + timedelta(seconds=self.count)
        return self.ask(DsoPortfolioUpdate(self._head(dso, at), ZONE, points), at)

    def represent(self, *stays: ConnectionPeriod, agr: str = AGR, at: datetime | None = None) -> Acknowledgement:
        at = at or NOW + timedelta(seconds=self.count)
        return self.ask(AgrPortfolioUpdate(self._head(agr, at), ZONE, stays), at)

    def agr_view(self, day: date = TODAY, agr: str = AGR) -> Acknowledgement:
        return self.ask(AgrPortfolioQuery(self._head(agr, NOW), ZONE, day))

    def dso_view(self, day: date = TODAY, at: str = P1, dso: str = DSO) -> Acknowledgement:
        return self.ask(DsoPortfolioQuery(self._head(dso, NOW), ZONE, day, at))

    def behind(self, day: date = TODAY, at: str = P1) -> dict[str, str | None]:
        """Aggregator by connection, as the DSO sees it; nothing where it sees none."""
        shown = self.dso_view(day, at).view
        assert isinstance(shown, DsoView)
        return {c.address: c.agr for c in shown.connections}


@pytest.fixture
def operator() -> Operator:
    return Operator({"mode": "open"})


def reasons(acknowledgement: Acknowledgement) -> tuple[str, ...]:
    assert not acknowledgement.accepted
    return acknowledgement.reasons


def test_what_is_published_is_found_by_both_sides(operator: Operator) -> None:
    assert operator.publish(point(P1, stay(1), stay(2), mutex=False), point(P2, stay(3))).accepted
    assert operator.represent(stay(1), stay(3), stay(9)).accepted
    assert operator.agr_view().view == AgrView(
        ZONE,
        TODAY,
        (
            PointView(P1, DSO, False, RedispatchBy.AGR, (ean(1),)),
            PointView(P2, DSO, True, RedispatchBy.AGR, (ean(3),)),
        ),
        (ean(9),),
    )
    assert operator.dso_view().view == DsoView(ZONE, TODAY, P1, (ConnectedAt(ean(1), AGR), ConnectedAt(ean(2))))


def test_a_restart_changes_nothing(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2)))
    operator.represent(stay(1))
    operator.represent(stay(1, JUNE10), agr=AGR2)
    before = [operator.behind(day) for day in (FIRST, TODAY, JUNE10)]
    operator.restart()
    assert [operator.behind(day) for day in (FIRST, TODAY, JUNE10)] == before
    assert before == [{ean(1): AGR, ean(2): None}] * 2 + [{ean(1): AGR2, ean(2): None}]
    assert reasons(operator.publish(point(P2, stay(1)))) == (f"Connection conflict: [{ean(1)}] at [{P1}]",)


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "welcome"),
    [([], False), ([(AGR, "AGR"), (DSO, "DSO")], True), ([(AGR, "DSO"), (DSO, "AGR")], False)],
)
def test_closed_mode_takes_members_in_their_role_only(members: list[tuple[str, str]], welcome: bool) -> None:
    operator = Operator({"mode": "closed", "members": [{"domain": d, "role": r} for d, r in members]})
    answers = [
        operator.publish(point(P1, stay(1))),
        operator.represent(stay(1)),
        operator.agr_view(),
        operator.dso_view(),
    ]
    assert [a.accepted for a in answers] == [welcome] * 4
    if not welcome:
        assert all(
            reasons(a) == (f"Unauthorized: {a.head.recipient} is not registered here as {role}",)
            for a, role in zip(answers, ("DSO", "AGR", "AGR", "DSO"), strict=True)
        )
        assert not any(kind == "message" for kind, _ in operator.documents)


def test_a_dso_may_not_touch_anothers_congestion_point(operator: Operator) -> None:
    operator.publish(point(P1, stay(1)))
    refused = operator.publish(point(P1, stay(2)), point(P2, stay(3)), dso=DSO2)
    assert reasons(refused) == (f"Unauthorized: [{P1}] is another DSO's congestion point",)
    assert operator.behind() == {ean(1): None}
    assert operator.publish(point(P2, stay(3)), dso=DSO2).accepted


# --- conflicts ----------------------------------------------------------------------------------------------------


def test_all_conflicts_are_named_and_nothing_is_taken(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2), stay(3, end=TODAY)))
    refused = operator.publish(point(P2, stay(1), stay(2, JULY), stay(3, TODAY + timedelta(days=1)), stay(4)), dso=DSO2)
    assert reasons(refused) == tuple(f"Connection conflict: [{ean(n)}] at [{P1}]" for n in (1, 2))
    assert operator.behind(JULY) == {ean(1): None, ean(2): None}
    assert "Invalid congestion point" in reasons(operator.dso_view(at=P2, dso=DSO2))[0]


def test_one_update_may_not_put_a_connection_at_two_points(operator: Operator) -> None:
    refused = operator.publish(point(P1, stay(1)), point(P2, stay(1)))
    assert set(reasons(refused)) == {f"Connection conflict: [{ean(1)}] at [{p}]" for p in (P1, P2)}


def test_a_connection_moves_in_one_update(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2)))
    moved = operator.publish(point(P1, stay(1, end=JUNE10)), point(P2, stay(1, JUNE10 + timedelta(days=1))))
    assert moved.accepted
    assert operator.behind(JUNE10) == {ean(1): None, ean(2): None}
    assert operator.behind(JULY) == {ean(2): None}
    assert operator.behind(JULY, P2) == {ean(1): None}


def test_a_stay_given_up_makes_room(operator: Operator) -> None:
    operator.publish(point(P1, stay(1)))
    assert operator.publish(point(P1, stay(1, end=JUNE10))).accepted
    assert not operator.publish(point(P2, stay(1, JUNE10)), dso=DSO2).accepted
    assert operator.publish(point(P2, stay(1, JULY)), dso=DSO2).accepted


# --- history ------------------------------------------------------------------------------------------------------


def test_a_past_day_stays_as_it_was(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2)))
    operator.represent(stay(1))
    later = NOW + timedelta(days=10)
    operator.publish(point(P1, stay(1, JULY), stay(3), mutex=False), at=later)
    operator.represent(stay(1), stay(2), agr=AGR2, at=later)
    past, then = TODAY + timedelta(days=9), TODAY + timedelta(days=10)
    assert operator.behind(past) == {ean(1): AGR, ean(2): AGR2, ean(3): None}
    assert operator.behind(then) == {ean(2): AGR2, ean(3): None}
    assert operator.behind(JULY) == {ean(1): AGR2, ean(2): AGR2, ean(3): None}
    shown = [operator.agr_view(day, agr).view for day, agr in ((past, AGR), (JULY, AGR2))]
    assert [v.points[0].mutex_offers for v in shown if isinstance(v, AgrView)] == [True, False]


def test_an_end_period_ends_and_a_point_takes_its_connections_with_it(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2, end=JUNE10)))
    operator.represent(stay(1), stay(2))
    assert operator.behind(JUNE10) == {ean(1): AGR, ean(2): AGR}
    assert operator.behind(JUNE10 + timedelta(days=1)) == {ean(1): AGR}
    operator.publish(point(P1, stay(2, end=JUNE10), end=JUNE10))
    assert reasons(operator.dso_view(JULY)) == (f"No connections available: none on {JULY}",)
    assert operator.agr_view(JULY).view == AgrView(ZONE, JULY, (), (ean(1), ean(2)))


def test_the_newer_representation_counts_on_the_days_it_names(operator: Operator) -> None:
    operator.publish(point(P1, stay(1)))
    operator.represent(stay(1))
    effects = operator.hear(AgrPortfolioUpdate(head(AGR2, CRO, "take", NOW), ZONE, (stay(1, JUNE10, JULY),)))
    assert Log("register.taken_over", {"by": AGR2, "from": AGR, "connections": 1}) in effects
    days = (TODAY, JUNE10, JULY, JULY + timedelta(days=1))
    assert [operator.behind(day)[ean(1)] for day in days] == [AGR, AGR2, AGR2, AGR]
    assert reasons(operator.agr_view(JUNE10))[0].startswith("No connections available")


def test_mass_takeover_raises_an_alarm() -> None:
    operator = Operator({"mode": "open", "alarm_takeovers": 3})
    operator.represent(*map(stay, range(3)))
    few = operator.hear(AgrPortfolioUpdate(head(AGR2, CRO, "few", NOW), ZONE, (stay(0), stay(1))))
    operator.represent(*map(stay, range(3)))
    many = operator.hear(
        AgrPortfolioUpdate(head(AGR2, CRO, "many", NOW + timedelta(hours=1)), ZONE, (stay(0), stay(1), stay(2)))
    )
    assert not [e for e in few if isinstance(e, Alarm)]
    (alarm,) = [e for e in many if isinstance(e, Alarm)]
    assert (alarm.rule, alarm.peer) == ("register.taken_over", AGR2)
    assert "ean." not in alarm.message


# --- privacy ------------------------------------------------------------------------------------------------------


def test_nobody_sees_what_is_not_theirs(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2)))
    operator.publish(point(P2, stay(3), stay(4)), dso=DSO2)
    operator.represent(stay(1), stay(5))
    operator.represent(stay(2), stay(3), agr=AGR2)
    for agr, own in ((AGR, (1, 5)), (AGR2, (2, 3))):
        text = dumps(operator.agr_view(agr=agr))
        assert [n for n in range(1, 6) if ean(n) in text] == list(own)
    assert P2 not in dumps(operator.agr_view())
    foreign, nowhere = operator.dso_view(at=P2), operator.dso_view(at="ea1.2030-01.org.example:none")
    assert reasons(foreign) == reasons(nowhere) == ("Invalid congestion point: is no congestion point of this DSO",)
    assert AGR2 not in dumps(foreign)
    assert reasons(operator.agr_view(FIRST - timedelta(days=1)))[0].startswith("No connections available")


def test_a_refusal_names_only_connections_that_the_sender_named(operator: Operator) -> None:
    operator.publish(point(P1, *map(stay, range(1, 6))))
    refused = operator.publish(point(P2, stay(2), stay(7)), dso=DSO2)
    assert [n for n in range(1, 8) if ean(n) in dumps(refused)] == [2]


def test_the_view_for_people_counts_and_names_no_connection(operator: Operator) -> None:
    operator.publish(point(P1, stay(1), stay(2), stay(3)))
    operator.represent(stay(1), stay(2), stay(9))
    shown = view(operator.desk.book, TODAY)
    (row,) = shown["points"]
    assert (row["connections"], row["unrepresented"]) == (3, 1)
    assert row["aggregators"] == [{"domain": AGR, "connections": 2}]
    assert shown["aggregators"] == [{"domain": AGR, "published": 2, "unpublished": 1}]
    assert "ean." not in dumps(shown)


# --- size and options ---------------------------------------------------------------------------------------------


def seconds(work: Any) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def test_ten_thousand_connections(operator: Operator) -> None:
    stays = [stay(n) for n in range(10_000)]
    spent = [
        seconds(lambda: operator.publish(point(P1, *stays))),
        seconds(lambda: operator.represent(*stays)),
        seconds(lambda: operator.represent(*stays, agr=AGR2)),
        seconds(operator.dso_view),
        seconds(lambda: operator.agr_view(agr=AGR2)),
    ]
    assert len(operator.behind()) == 10_000
    assert max(spent) < 1.0, spent


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "ajar"},
        {"mode": "open", "members": [{"domain": AGR, "role": "AGR"}]},
        {"members": [{"domain": AGR}]},
        {"alarm_takeovers": 0},
        {"colour": "blue"},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"mode|members|role|alarm_takeovers|colour"):
        build(options, context(CRO, PEERS))
