"""A document of a known shape is read as the full reader reads it, whatever stands in it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters import xml
from adapters.errors import TransportFault
from adapters.uftp import codec
from adapters.uftp.elements import Element, Rows
from adapters.uftp.shapes import Shapes

_META = (
    'Version="3.1.0" SenderDomain="dso.nl" RecipientDomain="agr.nl" TimeStamp="2030-01-01T00:00:00Z"'
    ' MessageID="91b64e09-8667-4db3-a3c2-d29acd886521" ConversationID="d12c04c5-7d30-4aec-bdbf-545f0cfcfbc6"'
)
_DAY = ' ISP-Duration="PT15M" TimeZone="Europe/Amsterdam" Period="2030-01-02" CongestionPoint="ean.123456789012"'
_POWERS = "".join(f'<ISP Power="{k * 100}" Start="{k}"/>' for k in range(1, 7))
DOCUMENTS = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<FlexRequest {_META}{_DAY} Revision="1"'
    ' ExpirationDateTime="2030-01-01T12:00:00Z">\n'
    + "".join(
        f'  <ISP Disposition="Available" MinPower="0" MaxPower="{k}" Start="{k}" Duration="1"/>\n' for k in range(1, 6)
    )
    + "</FlexRequest>",
    f'<FlexOffer {_META}{_DAY} ExpirationDateTime="2030-01-01T12:00:00Z" Currency="EUR">'
    f'<OfferOption OptionReference="a" Price="1.50">{_POWERS}</OfferOption>'
    '<OfferOption OptionReference="b" Price="2" MinActivationFactor="0.5"><ISP Power="1" Start="9"/></OfferOption>'
    "</FlexOffer>",
    '<SignedMessage SenderDomain="dso.nl" SenderRole="DSO" Body="AAAA"></SignedMessage>',
    f'<D-PrognosisResponse {_META} Result="Accepted" D-PrognosisMessageID="91b64e09-8667-4db3-a3c2-d29acd886521">'
    '<FlexOrderStatus FlexOrderMessageID="91b64e09-8667-4db3-a3c2-d29acd886521" IsValidated="true"/>'
    "</D-PrognosisResponse>",
    f"<TestMessage {_META} />",
)
_VALUES = st.one_of(
    st.sampled_from(["0", "-7", "12", "1.50", "Requested", "3.0.0", "9.9.9", "", " 5 ", "true", "007", "+3", "9" * 19]),
    st.sampled_from(["&lt;", "&#10;", "<", "'", "a\nb", "\t1", "\x01", "é", "]]>", "?>", "1_0", "٣", 'x" Extra="y']),
    st.text(max_size=4),
)
_ELSEWHERE = st.sampled_from(["<!-- c -->", "<?go?>", "x", '"', "'", "<ISP/>", "&amp;", "<![CDATA[]]>", " "])


def outcome(data: bytes) -> Element | str:
    try:
        return codec.decode(data)
    except TransportFault as fault:
        return f"{fault.code} {fault.rule} {fault.message}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(DOCUMENTS))
    places = [m.span(1) for m in re.finditer(r'="([^"]*)"', text)]
    for begin, end in sorted(draw(st.lists(st.sampled_from(places), max_size=4, unique=True)), reverse=True):
        text = text[:begin] + draw(_VALUES) + text[end:]
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(_ELSEWHERE) + text[at:]
    return text


def both(text: str) -> tuple[Element | str, Element | str]:
    """What comes of a document before its shape is known, and after."""
    data = text.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_SHAPES", Shapes())
        full = outcome(data)
        for known in DOCUMENTS:
            for _ in range(2):
                codec.decode(known.encode())
        again = outcome(data)
        assert outcome(data) == again  # it may have been learnt itself
        return full, again


@given(documents())
@example(DOCUMENTS[0].replace('"Available"', '"Requested"'))
@example(DOCUMENTS[1].replace('Version="3.1.0"', 'Version="3.0.0"'))
def test_a_known_shape_changes_no_verdict(text: str) -> None:
    full, known = both(text)
    assert known == full


@pytest.mark.parametrize(
    "value", ["<", "a&lt;b", "a\nb", "\t", "\r", "\x01", "\x7f", "é", "'", ">", "]]>", "?>", " x "]
)
def test_free_text_is_read_alike(value: str) -> None:
    full, known = both(DOCUMENTS[1].replace('"a"', f'"{value}"'))
    assert known == full


@pytest.mark.parametrize("text", DOCUMENTS, ids=lambda text: re.findall("<([A-Z][A-Za-z-]+)", text)[0])
def test_a_shape_is_known_from_the_third_document_on(text: str) -> None:
    shapes, data = Shapes(), text.encode()
    root = xml.parse(data)
    element, _ = codec.validate(root)
    for _ in range(2):
        assert shapes.read(data, xml.DEFAULT_LIMITS) is None
        shapes.learn(data, xml.DEFAULT_LIMITS, root)
    assert shapes.read(data, xml.DEFAULT_LIMITS) == element
    assert shapes.read(data, xml.Limits(size=10)) is None
    assert shapes.read(data, xml.Limits(elements=1)) is None  # it was accepted under other limits


def test_few_shapes_are_kept() -> None:
    shapes = Shapes()
    for spaces in range(600):
        data = DOCUMENTS[4].replace(" />", " " * spaces + "/>").encode()
        root = xml.parse(data)
        for _ in range(2):
            shapes.learn(data, xml.DEFAULT_LIMITS, root)
    assert len(shapes._known) == len(shapes._once) == 256


def test_rows_are_elements_to_who_asks() -> None:
    element = codec.decode(re.sub(r">\s+<", "><", DOCUMENTS[0]).encode())
    rows = element.children
    assert isinstance(rows, Rows)
    assert rows[1] == list(rows)[1] == rows[1:3][0]
    assert rows[1].attributes["MaxPower"] == 2
    assert element.column("MaxPower") == [1, 2, 3, 4, 5]
    assert element.column("Colour", "none") == ["none"] * 5
    assert list(element.all("ISP")) == list(rows)
    assert list(element.all("OfferOption")) == []
