from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

from datamodels import Head, Settlement, SettlementIsp, SettlementRow, encode
from interop.web.conversations import exchanges, settlement_in, summaries
from interop.web.sequence import draw


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], "us", str) is None


def test_arrows_run_between_the_right_lanes(sample: ModuleType) -> None:
    diagram = draw(sample.conversation(), sample.OWN, str)
    assert diagram is not None
    peer, own = (lane.x for lane in diagram.lanes)
    drawn = [(a.text, a.x1 < a.x2, a.tone, a.answer) for a in diagram.arrows]
    assert drawn == [
        ("FlexRequest", True, "", False),
        ("accepted", False, "good", True),
        ("FlexOffer", False, "", False),
        ("rejected", True, "bad", True),
        ("FlexOffer", False, "", False),
        ("accepted", True, "good", True),
        ("FlexOrder", True, "", False),
        ("accepted", False, "good", True),
        ("D-Prognosis", False, "", False),
    ]
    assert {a.x1 for a in diagram.arrows} == {peer, own}
    heights = [y for a in diagram.arrows for y in (a.y, *(y for y, _ in a.lines))]
    assert heights == sorted(set(heights)), "nothing is drawn over something else"
    assert max(heights) < diagram.height
    assert "FlexOffer from agr.example.org to dso.example.org, rejected" in diagram.summary


def test_every_peer_has_a_lane_even_one_that_bears_our_name(sample: ModuleType) -> None:
    said = [sample.message(k, "X", "in", peer=peer) for k, peer in enumerate(["a", "us", "b", "a"])]
    diagram = draw(said, "us", str)
    assert diagram is not None
    assert [(lane.name, lane.own) for lane in diagram.lanes] == [
        ("a", False),
        ("us", True),
        ("us", False),
        ("b", False),
    ]
    assert len({lane.x for lane in diagram.lanes}) == 4


def test_long_reasons_are_cut_in_the_drawing(sample: ModuleType) -> None:
    said = [sample.message(1, "FlexOffer", "out", False, reasons=[f"reason {k}" for k in range(30)])]
    diagram = draw(said, "us", str)
    assert diagram is not None
    assert diagram.arrows[1].lines[-1][1] == "…"
    assert len(diagram.arrows[1].lines) == 5


def test_an_answer_belongs_to_its_message_and_an_orphan_stands_alone(sample: ModuleType) -> None:
    asked = sample.message(1, "FlexRequest", "in")
    said = sample.answer(2, asked)
    assert [(e.message, e.answer) for e in exchanges([asked, said])] == [(asked, said)]
    orphan = draw([said], sample.OWN, str)
    assert orphan is not None
    assert [(a.text, a.answer, a.x1 > a.x2) for a in orphan.arrows] == [("FlexRequestResponse", True, True)]


def test_conversations_in_short_newest_first(sample: ModuleType) -> None:
    other = sample.message(2, "FlexRequest", "in", None, conversation_id="other")
    first, second = summaries([other, *sample.conversation()])
    assert (first.id, first.count, first.rejected, first.open) == (sample.CONVERSATION, 5, 1, 1)
    assert (second.id, second.open) == ("other", 1)
    assert summaries([*sample.conversation(), other])[0].id == "other"


def test_the_settlement_is_read_from_the_message_that_carries_it(sample: ModuleType) -> None:
    isps = tuple(SettlementIsp(k, -100_000, 8000, -94_000, 6000, 2000) for k in (44, 45))
    row = SettlementRow("o-1", "ea1.x", sample.PERIOD, Decimal("3.1"), Decimal("0.1"), Decimal("3.0"), isps)
    head = Head("dso", "agr", "m", "c", datetime(2016, 5, 21, tzinfo=UTC))
    content = encode(Settlement(head, sample.PERIOD, sample.PERIOD, "EUR", (row,)))
    found = settlement_in([sample.message(1, "Settlement", "in", message=content), *sample.conversation()], 0.25)
    assert found is not None
    (told,) = found["rows"]
    assert (told["net"], told["currency"], told["isps"]) == ("3.0", "EUR", [44, 45])
    assert (told["ordered_kwh"], told["delivered_kwh"], told["share"]) == (4.0, 3.0, 0.75)
    assert settlement_in(sample.conversation(), 0.25) is None
