"""Reference data on the wire: portfolios, queries and views, both ways and in both versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lxml import etree

from adapters.ports import Direction
from adapters.uftp import check_payload
from adapters.uftp.codec import decode, encode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.reference import is_placeholder
from adapters.uftp.schema import VERSIONS
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
    Head,
    MarketCalendar,
    PointPeriod,
    PointView,
    RedispatchBy,
    Role,
)
from datamodels import (
    decode as from_json,
)
from datamodels import (
    encode as to_json,
)

DATA = Path(__file__).resolve().parents[2] / "data" / "uftp"
CALENDAR = MarketCalendar()
DAY = date(2030, 6, 12)
CRO = "cro.example.org"
HEAD = Head(
    CRO,
    "agr.example.org",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000900",
    datetime(2030, 6, 11, 10, 0, tzinfo=UTC),
)
NONE = "ea1.2030-06.org.example.cro:none"
QUERY = "00000000-0000-4000-8000-000000000062"

MESSAGES = (
    "DSOPortfolioUpdate",
    "AGRPortfolioUpdate",
    "AGRPortfolioQuery",
    "DSOPortfolioQuery",
    "DSOPortfolioUpdateResponse",
    "AGRPortfolioUpdateResponse",
    "AGRPortfolioQueryResponse",
    "DSOPortfolioQueryResponse",
)


def canonical(name: str) -> Any:
    return to_canonical(decode((DATA / f"{name}.xml").read_bytes()), CALENDAR)[0]


def wire(message: Any, world: ModuleType, version: str = "3.1.0") -> Element:
    element, losses = to_wire(message, version, world.TERMS)
    assert losses == ()
    return decode(encode(element))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_read_is_written_again(world: ModuleType, name: str, version: str) -> None:
    message = canonical(name)
    message = replace(message, head=replace(message.head, version=version))
    assert to_canonical(wire(message, world, version), CALENDAR) == (message, ())
    assert from_json(to_json(message)) == message


def test_every_field_has_its_place() -> None:
    head = canonical("DSOPortfolioUpdate").head
    connection = ConnectionPeriod("ean.871685900012636543", date(2030, 6, 1), date(2030, 12, 31))
    point = PointPeriod(
        "ea1.2030-01.org.example:cp-1", date(2030, 6, 1), date(2030, 12, 31), True, RedispatchBy.AGR, (connection,)
    )
    assert canonical("DSOPortfolioUpdate") == DsoPortfolioUpdate(head, "Europe/Amsterdam", (point,))
    update = canonical("AGRPortfolioUpdate")
    assert isinstance(update, AgrPortfolioUpdate)
    assert update.connections == (replace(connection, end=None),)
    assert isinstance(canonical("AGRPortfolioQuery"), AgrPortfolioQuery)
    question = canonical("DSOPortfolioQuery")
    assert isinstance(question, DsoPortfolioQuery)
    assert (question.period, question.congestion_point) == (DAY, point.address)
    assert canonical("AGRPortfolioQueryResponse").view == AgrView(
        "Europe/Amsterdam",
        DAY,
        (PointView(point.address, "dso.example.org", True, RedispatchBy.AGR, (connection.address,), RedispatchBy.DSO),),
        ("ean.871685900012636567",),
    )
    assert canonical("DSOPortfolioQueryResponse").view == DsoView(
        "Europe/Amsterdam",
        DAY,
        point.address,
        (ConnectedAt(connection.address, "agr.example.org"), ConnectedAt("ean.871685900012636550")),
    )


def test_the_answer_to_a_dso_update_refers_by_its_odd_name(world: ModuleType) -> None:
    """D9: DSOPortfolioUpdateResponse/@DSOPortfolioUpdateResponseMessageID holds the id of the update."""
    answer = canonical("DSOPortfolioUpdateResponse")
    assert (answer.refers_kind, answer.refers_to) == (
        "DsoPortfolioUpdate",
        canonical("DSOPortfolioUpdate").head.message_id,
    )
    assert wire(answer, world)["DSOPortfolioUpdateResponseMessageID"] == answer.refers_to


def test_points_of_several_dsos_are_grouped(world: ModuleType) -> None:
    points = tuple(
        PointView(f"ea1.2030-01.org.example:{n}", f"{dso}.example.org", False, RedispatchBy.DSO, (f"ean.{n:018d}",))
        for n, dso in enumerate(("a", "b", "a"), 1)
    )
    view = AgrView("Europe/Amsterdam", DAY, points)
    element = wire(Acknowledgement(HEAD, QUERY, "AgrPortfolioQuery", True, view=view), world)
    (seen,) = element.children
    assert [(p["DSO-Domain"], len(p.children)) for p in seen.children] == [("a.example.org", 2), ("b.example.org", 1)]
    back = to_canonical(element, CALENDAR)[0]
    assert isinstance(back, Acknowledgement)
    assert isinstance(back.view, AgrView)
    assert set(back.view.points) == set(points)


@pytest.mark.parametrize("unpublished", [(), ("ean.871685900012636567",)])
def test_none_is_said_by_a_placeholder_and_not_heard(world: ModuleType, unpublished: tuple[str, ...]) -> None:
    """D15: the schema demands a congestion point where there is none to show."""
    view = AgrView("Europe/Amsterdam", DAY, (), unpublished)
    element = wire(Acknowledgement(HEAD, QUERY, "AgrPortfolioQuery", True, view=view), world)
    (portfolio,) = element.children[0].all("DSO-Portfolio")
    (point,) = portfolio.children
    assert (portfolio["DSO-Domain"], point["EntityAddress"], point.children[0]["EntityAddress"]) == (CRO, NONE, NONE)
    assert to_canonical(element, CALENDAR)[0].view == view  # type: ignore[union-attr]


def test_a_placeholder_is_the_operators_own() -> None:
    assert is_placeholder(NONE, CRO)
    assert is_placeholder("ea1.1999-12.org.example.cro:none", CRO)
    assert not is_placeholder(NONE, "other.example.org")
    assert not is_placeholder(NONE.replace("org.example", "org-example"), CRO)


def test_a_rejected_query_shows_nothing_of_the_day_it_asked_for(world: ModuleType) -> None:
    """D15: Result, zone and day of the query, placeholder; views of rejected answers are ignored."""
    for name, blank in (
        ("AGRPortfolioQuery", AgrView("Europe/Amsterdam", DAY, ())),
        ("DSOPortfolioQuery", DsoView("Europe/Amsterdam", DAY, "ea1.2030-01.org.example:cp-1", ())),
    ):
        question = canonical(name)
        assert question.blank == blank
        kind = type(question).__name__
        told = canonical(f"{name}Response").view  # even of what must not be shown
        for view in (blank, told):
            answer = Acknowledgement(HEAD, QUERY, kind, False, ("Unauthorized",), view=view)
            element = wire(answer, world)
            assert (element["Period"], element["TimeZone"]) == (DAY, "Europe/Amsterdam")
            assert "ean." not in encode(element).decode()
            assert to_canonical(element, CALENDAR)[0] == replace(answer, view=None)
    no_view = Acknowledgement(HEAD, QUERY, "AgrPortfolioQuery", False, ("Unauthorized",))
    element, losses = to_wire(no_view, "3.1.0", world.TERMS)
    assert [loss.field for loss in losses] == ["Period"]
    assert decode(encode(element))["Period"] == date(2030, 6, 11)
    with pytest.raises(ValueError, match="without a view"):
        to_wire(replace(no_view, accepted=True), "3.1.0", world.TERMS)


def test_a_view_of_nobody_is_about_the_place_that_was_asked_for(world: ModuleType) -> None:
    question = canonical("DSOPortfolioQuery")
    history = world.MemoryHistory()
    history.add(Direction.OUT, question, accepted=None)
    head = replace(HEAD, recipient=world.DSO, conversation_id=question.head.conversation_id)
    answer = Acknowledgement(head, question.head.message_id, "DsoPortfolioQuery", True, view=question.blank)
    payload = encode(to_wire(answer, "3.1.0", world.TERMS)[0])
    assert not etree.fromstring(payload).findall("CongestionPoint")
    verdict = check_payload(
        payload, CRO, Role.CRO, history, world.TERMS, world.participants(), world.NOW, world.DSO, Role.DSO
    )
    assert verdict.problems == ()
    assert verdict.message == answer
