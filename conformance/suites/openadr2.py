"""OpenADR 2.0b, the VTN's side: cases that play a polling VEN over HTTP, from bytes made here.

Messages are built and read with plain lxml, not with the codec of our own VTN: a fault in that codec must show.
Clauses name the service of the OpenADR 2.0 B profile (1.1) or one of its numbered conformance rules.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import Any

from lxml import etree

from adapters.errors import TransportFault
from adapters.xml import parse
from conformance.case import Level, Suite
from conformance.tester import Answer, Tester

__all__ = ["SUITE"]

SUITE = Suite("openadr2", "0.1.0", "OpenADR 2.0b, VTN, HTTP pull", claims={"HOSTILE_XML": True})

_PATH = "/OpenADR2/Simple/2.0b/"
_XML = "application/xml"
_NS = {
    "oadr": "http://openadr.org/oadr-2.0b/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
}


def _q(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NS[prefix]}}}{local}"


def message(kind: str, *children: tuple[str, str]) -> bytes:
    """An oadrPayload with one message; children are (prefixed name, text), `pyld:eiRequestEvent/…` one level deeper."""
    root = etree.Element(_q("oadr:oadrPayload"), nsmap=_NS)
    body = etree.SubElement(etree.SubElement(root, _q("oadr:oadrSignedObject")), _q(f"oadr:{kind}"))
    body.set(_q("ei:schemaVersion"), "2.0b")
    for path, text in children:
        parent = body
        *above, name = path.split("/")
        for part in above:
            found = parent.find(_q(part))
            parent = etree.SubElement(parent, _q(part)) if found is None else found
        etree.SubElement(parent, _q(name)).text = text
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def query(request: str) -> bytes:
    return message("oadrQueryRegistration", ("pyld:requestID", request))


def registration(name: str, request: str = "reg-1") -> bytes:
    return message(
        "oadrCreatePartyRegistration",
        ("pyld:requestID", request),
        ("oadr:oadrProfileName", "2.0b"),
        ("oadr:oadrTransportName", "simpleHttp"),
        ("oadr:oadrReportOnly", "false"),
        ("oadr:oadrXmlSignature", "false"),
        ("oadr:oadrVenName", name),
        ("oadr:oadrHttpPullModel", "true"),
    )


def poll(ven: str) -> bytes:
    return message("oadrPoll", ("ei:venID", ven))


def event_request(ven: str, request: str) -> bytes:
    return message(
        "oadrRequestEvent", ("pyld:eiRequestEvent/pyld:requestID", request), ("pyld:eiRequestEvent/ei:venID", ven)
    )


@cache
def _schema() -> etree.XMLSchema:
    """The 2.0b schema as openleadr distributes it."""
    with as_file(files("openleadr") / "schema") as folder:
        return etree.XMLSchema(etree.parse(folder / "oadr_20b.xsd"))


async def _ask(t: Tester, service: str, body: bytes) -> etree._Element:
    """Send a message and require a readable, schema-valid reply; gives the payload in it."""
    answer = await t.post(_PATH + service, body, _XML)
    t.require(answer.status == 200, "HTTP 200", got=answer, hint="the HTTP status tells about transport only")
    try:
        root = parse(answer.body)
    except TransportFault as fault:
        t.require(
            False, "a well-formed reply", got=fault, hint="texts that were sent are to be escaped", clause="XML 1.0"
        )
        raise AssertionError("require returned") from fault
    schema = _schema()
    valid = schema.validate(root)
    errors: Any = schema.error_log  # the stubs do not know that it is a sequence
    first = next((entry.message for entry in errors), "")
    t.check(valid, "a reply that keeps the schema", got=first, clause="2.0b schema")
    payload = root.find(f"{_q('oadr:oadrSignedObject')}/*")
    t.require(payload is not None, "one payload in the reply", got=root.tag)
    assert payload is not None
    return payload


def _kind(payload: etree._Element) -> str:
    return etree.QName(payload).localname


def _text(payload: etree._Element, name: str) -> str | None:
    return payload.findtext(f".//{_q(name)}")


def _expect(t: Tester, payload: etree._Element, kind: str, hint: str = "") -> None:
    t.require(_kind(payload) == kind, kind, got=_kind(payload), hint=hint)


async def _register(t: Tester) -> str:
    """Register a VEN (the one that the settings name, else a new one) and have it leave at the end; gives its venID."""
    name = t.settings.get("ven_name") or t.unique("conform")
    async with t.step("Register", preamble=True):
        payload = await _ask(t, "EiRegisterParty", registration(name))
        _expect(t, payload, "oadrCreatedPartyRegistration")
        ven, given = _text(payload, "ei:venID"), _text(payload, "ei:registrationID")
        t.require(bool(ven and given), "a venID and a registrationID", got=(ven, given), hint="may this VEN register?")
    assert ven is not None
    _leave_later(t, payload)
    return ven


def _leave_later(t: Tester, registered: etree._Element) -> None:
    """Have the VEN of an oadrCreatedPartyRegistration leave at the end."""
    given, ven = _text(registered, "ei:registrationID"), _text(registered, "ei:venID")
    if not given or not ven:
        return
    ids = (("pyld:requestID", "bye"), ("ei:registrationID", given), ("ei:venID", ven))

    async def leave() -> None:
        await t.post(f"{_PATH}EiRegisterParty", message("oadrCancelPartyRegistration", *ids), _XML)

    t.cleanup(leave)


@SUITE.case(
    "OADR2-REG-001",
    "A query for registration is answered with what the VTN offers",
    clause="EiRegisterParty",
    role="vtn",
)
async def query_registration(t: Tester) -> None:
    async with t.step("Send oadrQueryRegistration"):
        payload = await _ask(t, "EiRegisterParty", query("q-1"))
        _expect(t, payload, "oadrCreatedPartyRegistration")
        t.check(_text(payload, "pyld:requestID") == "q-1", "requestID q-1", got=_text(payload, "pyld:requestID"))
        names = [e.text for e in payload.iter(_q("oadr:oadrProfileName"))]
        t.check("2.0b" in names, "profile 2.0b among those offered", got=names)
        t.check(bool(_text(payload, "ei:vtnID")), "a vtnID", got=_text(payload, "ei:vtnID"))


@SUITE.case("OADR2-REG-002", "A VEN that registers gets its ids", clause="EiRegisterParty, rule 404", role="vtn")
async def create_registration(t: Tester) -> None:
    applicant = t.settings.get("ven_name") or t.unique("conform")
    async with t.step("Send oadrCreatePartyRegistration"):
        payload = await _ask(t, "EiRegisterParty", registration(applicant))
        _expect(t, payload, "oadrCreatedPartyRegistration")
        _leave_later(t, payload)
        code = _text(payload, "ei:responseCode")
        t.require(code == "200", "response code 200", got=code, hint="may this VEN register?")
        for name in ("ei:venID", "ei:registrationID"):
            t.check(bool(_text(payload, name)), f"a {name.partition(':')[2]}", got=_text(payload, name))
        frequency = payload.find(f"{_q('oadr:oadrRequestedOadrPollFreq')}")
        t.check(frequency is not None, "a poll frequency for a VEN that polls", level=Level.SHOULD)


@SUITE.case("OADR2-POLL-001", "A poll when nothing waits gets oadrResponse", clause="OadrPoll", role="vtn")
async def poll_empty(t: Tester) -> None:
    ven = await _register(t)
    async with t.step("Poll until nothing is left"):
        for _ in range(5):
            payload = await _ask(t, "OadrPoll", poll(ven))
            if _kind(payload) == "oadrResponse":
                break
        _expect(t, payload, "oadrResponse", "what a VTN asks of a new VEN comes first; five polls must empty it")
        t.check(_text(payload, "ei:responseCode") == "200", "response code 200", got=_text(payload, "ei:responseCode"))


@SUITE.case("OADR2-POLL-002", "A poll under an unknown venID is refused", clause="OadrPoll", role="vtn")
async def poll_unknown(t: Tester) -> None:
    async with t.step("Poll under a venID that nobody was given"):
        answer = await t.post(f"{_PATH}OadrPoll", poll(t.unique("stranger")), _XML)
        refused = answer.status in (401, 403) or (answer.status == 200 and _code(answer) not in ("", "200"))
        t.check(
            refused,
            "an error in the response code, or HTTP 401 or 403",
            got=f"{answer}, code {_code(answer) or 'none'}",
        )


@SUITE.case(
    "OADR2-EVT-001",
    "A request for events gets oadrDistributeEvent, also when there are none",
    clause="EiEvent",
    role="vtn",
)
async def request_event(t: Tester) -> None:
    ven = await _register(t)
    async with t.step("Send oadrRequestEvent"):
        payload = await _ask(t, "EiEvent", event_request(ven, "ev-1"))
        _expect(t, payload, "oadrDistributeEvent", "no events are an empty list of events")
        code = _text(payload, "ei:responseCode")
        t.check(code in (None, "200"), "response code 200, where one is given", got=code)


@SUITE.case("OADR2-TRN-001", "Another content type is refused", clause="simple HTTP", role="vtn")
async def content_type(t: Tester) -> None:
    async with t.step("Send a good message as application/json"):
        answer = await t.post(f"{_PATH}EiRegisterParty", query("q-1"), "application/json")
        t.check(400 <= answer.status < 500, "an HTTP status 4xx", got=answer, hint="500 says that the VTN is at fault")
        t.check(answer.status == 415, "HTTP 415", got=answer, level=Level.SHOULD)


@SUITE.case(
    "OADR2-TRN-002", "A document type declaration is refused", clause="XML hardening", role="vtn", needs="HOSTILE_XML"
)
async def doctype(t: Tester) -> None:
    async with t.step("Send a good message with a bare DOCTYPE"):
        declaration, _, rest = query("q-1").partition(b"?>")
        answer = await t.post(f"{_PATH}EiRegisterParty", declaration + b"?><!DOCTYPE oadrPayload>" + rest, _XML)
        t.check(400 <= answer.status < 500, "an HTTP status 4xx", got=answer, hint="no OpenADR message has a DOCTYPE")


@SUITE.case("OADR2-TRN-003", "What is not XML is refused", clause="simple HTTP", role="vtn")
async def not_xml(t: Tester) -> None:
    async with t.step("Send text"):
        answer = await t.post(f"{_PATH}EiRegisterParty", b"good morning", _XML)
        t.check(400 <= answer.status < 500, "an HTTP status 4xx", got=answer, hint="500 says that the VTN is at fault")


@SUITE.case("OADR2-TXT-001", "Ids that look like numbers are text", clause="schema, xs:string", role="vtn")
async def numeric_ids(t: Tester) -> None:
    for request in ("0123", "1.50", "true", "1e5"):
        async with t.step(f"Query with requestID {request}"):
            payload = await _ask(t, "EiRegisterParty", query(request))
            got = _text(payload, "pyld:requestID")
            t.check(got == request, f"requestID {request}", got=got, hint="an id is never converted")


@SUITE.case("OADR2-TXT-002", "Markup in an id is escaped", clause="XML 1.0, 2.4", role="vtn")
async def markup_in_ids(t: Tester) -> None:
    async with t.step("Query with requestID a&b<c>"):
        payload = await _ask(t, "EiRegisterParty", query("a&b<c>"))
        got = _text(payload, "pyld:requestID")
        t.check(got == "a&b<c>", "requestID a&b<c>", got=got)


def _code(answer: Answer) -> str:
    """The response code of a reply that can be read, else empty."""
    try:
        return parse(answer.body).findtext(f".//{_q('ei:responseCode')}") or ""
    except TransportFault:
        return ""
