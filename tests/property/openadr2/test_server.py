"""Whatever is sent, the answer is a message or a refusal: never an error of ours, and no state changes by accident."""

import asyncio
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import TransportFault
from adapters.openadr2 import build, codec, model
from adapters.openadr2.dsig import Signer
from adapters.openadr2.lexical import parse_datetime
from adapters.openadr2.rules import ENDPOINTS
from adapters.openadr2.server import Exchange

TIME = parse_datetime("2026-03-01T12:00:00Z")
OK = model.EiResponse(200, "q")
SEEDS = [
    codec.encode(payload)
    for payload in (
        model.OadrPoll("ven-1"),
        model.OadrRequestEvent("q", "ven-1", 1),
        model.OadrCreatePartyRegistration("q", "2.0b", "simpleHttp", False, False, ven_name="one", ven_id="ven-1"),
        model.OadrCreatedEvent(OK, "ven-1", (model.EventResponse(200, "q", model.QualifiedEventId("d", 0), "optIn"),)),
        model.OadrUpdateReport(
            "q",
            (
                model.OadrReport(
                    "r",
                    "s",
                    TIME,
                    TIME,
                    intervals=(model.Interval((model.ReportPayload("p", model.PayloadFloat(1)),)),),
                ),
            ),
            "ven-1",
        ),
        model.OadrCreateOpt("o", "optIn", "economic", "ven-1", TIME, "q", model.EiTarget()),
        model.OadrCancelPartyRegistration("q", "no", "ven-1"),
        model.OadrResponse(OK, "ven-1"),
    )
]
_LEAF = trustme.CA().issue_cert("one.example")
SIGNER = Signer(_LEAF.cert_chain_pems[0].bytes(), _LEAF.private_key_pem.bytes())
SEEDS.append(SIGNER.sign(SEEDS[0], datetime.now(UTC)))
HOSTILE = [b"", b"<", b"&", b"\x00", b"\xff", b"]]>", b"9" * 40, b"-", b"NaN", b"P9999Y", b"<!DOCTYPE a>", b"ven-2"]


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.integers(0, 8))
        body = body[:at] + draw(st.sampled_from(HOSTILE) | st.binary(max_size=3)) + body[at + cut :]
    return body


@pytest.fixture(scope="module")
def vtn(around):
    hub = around.Hub()
    config = {
        "insecure": True,
        "vens": [
            {"ven_name": "one", "ven_id": "ven-1", "fingerprint": SIGNER.fingerprint},
            {"ven_name": "two", "ven_id": "ven-2"},
        ],
    }
    adapter = build(config, around.ports(hub, around.HandClock(), around.home("one")))
    adapter._load()
    asyncio.run(adapter._answer(Exchange("EiRegisterParty", SEEDS[2], "")))
    return adapter


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=_mutated(), endpoint=st.sampled_from(ENDPOINTS))
def test_mutated_messages(vtn, body: bytes, endpoint: str) -> None:
    try:
        reply = asyncio.run(vtn._answer(Exchange(endpoint, body, "")))
    except TransportFault:
        return
    root = codec.read_tree(reply)
    codec.check_schema(root)
    codec.decode(codec.payload_element(root))
