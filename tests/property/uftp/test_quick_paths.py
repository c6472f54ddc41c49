"""What is read in one go is what is read one by one, and a shape that the bytes alone show to be allowed is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import xml
from adapters.errors import TransportFault
from adapters.uftp import codec

_HEAD = (
    '<FlexRequest Version="3.1.0" SenderDomain="dso.nl" RecipientDomain="agr.nl" TimeStamp="2030-01-01T00:00:00Z"'
    ' MessageID="91b64e09-8667-4db3-a3c2-d29acd886521" ConversationID="d12c04c5-7d30-4aec-bdbf-545f0cfcfbc6"'
    ' ISP-Duration="PT15M" TimeZone="Europe/Amsterdam" Period="2030-01-02" CongestionPoint="ean.123456789012"'
    ' Revision="1" ExpirationDateTime="2030-01-01T12:00:00Z">'
)
_NUMBER = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.sampled_from(["1", "+7", " 12 ", "007", "-0", "1_0", "1.0", "", " ", "٣", "1 2", "9" * 19, "\t5"]),
)
_START = st.one_of(st.integers(-1, 100).map(str), _NUMBER)
_DISPOSITION = st.sampled_from(["Available", "Requested", " Requested ", "requested", ""])
_ODD = st.sampled_from([("Colour", "red"), ("Duration", "2"), ("xmlns:a", "urn:a"), None])
_BETWEEN = st.sampled_from(["", "", "", "\n", "x", "<!-- -->", "<Else/>"])


@st.composite
def _isps(draw: st.DrawFn) -> list[str]:
    regular = draw(st.booleans())
    rows = []
    for _ in range(draw(st.integers(0, 12))):
        attributes = [
            ("Disposition", "Available" if regular else draw(_DISPOSITION)),
            ("MinPower", "0" if regular else draw(_NUMBER)),
            ("MaxPower", str(draw(st.integers(-5, 10**6))) if regular else draw(_NUMBER)),
            ("Start", draw(_START) if not regular else "3"),
        ]
        if not regular:
            odd = draw(_ODD)
            attributes = draw(st.permutations([*attributes, *([odd] if odd else [])]))
            attributes = attributes[draw(st.integers(0, 1)) :]
        rows.append("<ISP " + " ".join(f'{name}="{value}"' for name, value in attributes) + "/>")
    return rows


@given(_isps(), _BETWEEN, st.integers(0, 12))
def test_columns_and_single_elements_agree(rows: list[str], between: str, place: int) -> None:
    rows.insert(min(place, len(rows)), between)
    root = xml.parse((_HEAD + "".join(rows) + "</FlexRequest>").encode())
    together = codec.validate(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "MANY", 10**9)
        assert codec.validate(root) == together


_NAME = st.sampled_from(["a", "b:c", "ISP"])
_TREES = st.recursive(
    st.builds(
        lambda attributes: "<a " + " ".join(f'{n}="="' for n in attributes) + "/>",
        st.sets(st.sampled_from("bcdefgh"), max_size=7),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda x: "<a>" + "".join(x) + "</a>"),
        inner.map(lambda x: f'<a xmlns:q="urn:q" xmlns:r="urn:r">{x}</a>'),
        inner.map(lambda x: f"<a><?go on?>{x}</a>"),
        inner.map(lambda x: f"<a><![CDATA[<<]]>{x}</a>"),
    ),
    max_leaves=12,
)
_LIMITS = st.builds(xml.Limits, elements=st.integers(1, 12), attributes=st.integers(1, 6), depth=st.integers(1, 6))


@given(_TREES, st.sampled_from(["", '<?xml version="1.0"?>', "\ufeff", "<?xml version='1.0'\n?>"]), _LIMITS)
def test_what_the_bytes_show_to_be_allowed_is_allowed(tree: str, before: str, limits: xml.Limits) -> None:
    data = (before + tree).encode()
    root = xml.etree.fromstring(data)
    allowed = True
    try:
        xml._check_shape(root, limits)
    except TransportFault:
        allowed = False
    assert allowed or not xml._surely_within(data, limits)
