"""Whatever a peer sends, what we answer is valid."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.errors import TransportFault
from adapters.ports import Interpretation
from adapters.uftp import check_payload
from adapters.uftp.codec import decode, encode
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.schema import CANONICAL, MESSAGES, VERSIONS
from datamodels import (
    Acknowledgement,
    AgrView,
    ConnectedAt,
    DsoView,
    Head,
    PointView,
    RedispatchBy,
    Role,
)
from interop.effects import Send
from interop.market.book import Book
from interop.market.machine import react

REQUESTS = sorted(name for name, message in MESSAGES.items() if message.response and name in CANONICAL)
ROLES = {"agr": Role.AGR, "dso": Role.DSO, "cro": Role.CRO}
TEXTS = (
    *("", "0", "-1", "1", "97", "999999", "2030-10-27", "0001-01-01", "9999-12-31", "PT30M", "P1D", "America/New_York"),
    *("Europe/Nowhere", "USD", "3.0.0", "9.9.9", "true", "false", "0.01", "1.00", "a;b; c", "  ", "ë€𝄞", "x" * 400),
    *("other.example.org", "00000000-0000-4000-8000-000000000999", "2030-06-11T12:00:00", "9999-12-31T23:59:59-14:00"),
)
INSTANT = datetime(2030, 6, 11, 10, tzinfo=UTC)
HEAD = Head(
    "cro.example.org",
    "agr.example.org",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-000000000900",
    INSTANT,
)


@st.composite
def edited(draw: st.DrawFn, payload: bytes) -> bytes:
    """A sample message with up to four attributes changed or taken away, in some version."""
    root = etree.fromstring(payload)
    root.set("Version", draw(st.sampled_from((*VERSIONS, "9.9.9"))))
    nodes = list(root.iter())
    for _ in range(draw(st.integers(0, 4))):
        node = draw(st.sampled_from(nodes[:12]))
        name = str(draw(st.sampled_from(sorted(node.keys()))))
        text = draw(st.none() | st.sampled_from(TEXTS))
        if text is None:
            node.attrib.pop(name, None)
        else:
            node.set(name, text)
        if not node.keys():
            break
    return etree.tostring(root)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_answer_that_a_message_provokes_is_valid(world: ModuleType, data: st.DataObject) -> None:
    """U-23: from the bytes that came to the bytes that go; a refusal carries all that rules say, peers' texts too."""
    name = data.draw(st.sampled_from(REQUESTS))
    raw = (world.DATA / f"{name}.xml").read_bytes()
    sender, own = (str(decode(raw)[side]) for side in ("SenderDomain", "RecipientDomain"))
    role = ROLES[sender.partition(".")[0]]
    try:
        verdict = check_payload(
            data.draw(edited(raw)),
            sender,
            role,
            world.MemoryHistory(),
            world.TERMS,
            world.participants(),
            world.NOW,
            own,
            ROLES[own.partition(".")[0]],
        )
    except TransportFault:
        return
    element = verdict.element
    understood = Interpretation(
        verdict.message, verdict.problems, verdict.losses, verdict.needs_answer, element["MessageID"], verdict.kind
    )
    asked = Head(sender, own, element["MessageID"], element["ConversationID"], world.NOW)
    answers = [e.message for e in react(Book(), sender, understood, asked, world.NOW) if isinstance(e, Send)]
    if name.endswith("PortfolioQuery"):  # what an accepted query is shown is for the operator's desk to say
        answers = [a for a in answers if isinstance(a, Acknowledgement) and not a.accepted]
        assert bool(answers) == (verdict.result == "Rejected")
    else:
        assert len(answers) == 1
    for answer in answers:
        assert isinstance(answer, Acknowledgement)
        assert answer.accepted == (verdict.result == "Accepted")
        _valid(world, answer, answer.head.version if answer.head.version in VERSIONS else VERSIONS[0], element)


def _valid(world: ModuleType, answer: Acknowledgement, version: str, asked: Any) -> None:
    written, _ = to_wire(answer, version, world.TERMS)
    read = decode(encode(written))
    assert read.name == f"{asked.name}Response"
    assert read["ConversationID"] == asked["ConversationID"]
    assert read[MESSAGES[read.name].refers] == asked["MessageID"]
    assert (read["Result"] == "Accepted") == answer.accepted


# --- any answer, from any desk ------------------------------------------------------------------------------------

_addresses = st.integers(0, 10**17).map(lambda n: f"ean.{n:018d}")
_redispatch = st.sampled_from(RedispatchBy)
_days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
_points = st.builds(
    PointView,
    _addresses,
    st.sampled_from(("dso.example.org", "dso2.example.org")),
    st.booleans(),
    _redispatch,
    st.lists(_addresses, min_size=1, max_size=3).map(tuple),
    st.none() | _redispatch,
)
_agr_views = st.builds(
    AgrView,
    st.just("Europe/Amsterdam"),
    _days,
    st.lists(_points, max_size=3).map(tuple),
    st.lists(_addresses, max_size=2).map(tuple),
)
_dso_views = st.builds(
    DsoView,
    st.just("Europe/Amsterdam"),
    _days,
    _addresses,
    st.lists(st.builds(ConnectedAt, _addresses, st.none() | st.just("agr.example.org")), max_size=3).map(tuple),
)
_any_text = st.text(max_size=30)
_references = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs",), exclude_characters="\ufffe\uffff"))
_details = {
    "Settlement": st.tuples(_references, st.one_of(st.just("Accepted"), _any_text.map("Disputed: {}".format))),
    "Prognosis": st.tuples(st.uuids().map(str), st.sampled_from(("validated", "not validated"))),
}


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(VERSIONS), st.booleans())
def test_every_answer_that_a_desk_gives_is_valid(
    world: ModuleType, data: st.DataObject, version: str, accepted: bool
) -> None:
    """U-23: any reasons, verdicts on orders, and views."""
    kind = data.draw(st.sampled_from(sorted(CANONICAL.values())))
    views: dict[str, Any] = {"AgrPortfolioQuery": _agr_views, "DsoPortfolioQuery": _dso_views}
    answer = Acknowledgement(
        replace(HEAD, version=version),
        str(data.draw(st.uuids())),
        kind,
        accepted,
        tuple(data.draw(st.lists(_any_text, max_size=4))),
        tuple(data.draw(st.lists(_details[kind], max_size=3))) if kind in _details else (),
        data.draw(views[kind]) if kind in views else None,
    )
    element, losses = to_wire(answer, version, world.TERMS)
    assert losses == ()
    read = decode(encode(element))
    back, _ = to_canonical(read, world.TERMS.calendar)
    assert isinstance(back, Acknowledgement)
    assert (back.accepted, back.refers_to, back.refers_kind) == (accepted, answer.refers_to, kind)
    if isinstance(answer.view, AgrView) and accepted:
        assert isinstance(back.view, AgrView)
        assert sorted(back.view.points, key=repr) == sorted(answer.view.points, key=repr)
        assert back.view.unpublished == answer.view.unpublished
