"""Each case of the suite fails for a VTN that breaks the clause it judges, and for no other."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from lxml import etree

from conformance.case import load_suite
from conformance.dut import Dut
from conformance.run import Verdict, run_suite
from conformance.suites import openadr2

Serve = Callable[[Any], Awaitable[str]]

KILLS: dict[str, dict[str, str]] = {
    "": {},
    "query": {"OADR2-REG-001": "fail", "OADR2-TXT-001": "pass", "OADR2-TXT-002": "pass"},
    "ids": {
        "OADR2-REG-002": "fail",
        "OADR2-POLL-001": "inconclusive",
        "OADR2-EVT-001": "inconclusive",
    },
    "poll": {"OADR2-POLL-001": "fail", "OADR2-POLL-002": "fail"},
    "any_ven": {"OADR2-POLL-002": "fail"},
    "event": {"OADR2-EVT-001": "fail"},
    "any_type": {"OADR2-TRN-001": "fail"},
    "type_500": {"OADR2-TRN-001": "fail"},
    "type_400": {"OADR2-TRN-001": "pass-nonstrict"},
    "doctype": {"OADR2-TRN-002": "fail"},
    "text": {"OADR2-TRN-003": "fail"},
    "numbers": {"OADR2-TXT-001": "fail"},
    "markup": {"OADR2-TXT-002": "fail"},
}


@pytest.mark.parametrize("mutant", KILLS)
async def test_a_broken_clause_is_found_by_its_case(mutant: str, fake_vtn: Any, serve: Serve) -> None:
    run = await run_suite(load_suite("openadr2"), Dut(await serve(fake_vtn(mutant))))
    found = {o.case.id: str(o.verdict) for o in run.outcomes if o.verdict is not Verdict.PASS}
    assert found == {case: verdict for case, verdict in KILLS[mutant].items() if verdict != "pass"}


def test_every_case_is_proven() -> None:
    killed = {case for kills in KILLS.values() for case, verdict in kills.items() if verdict == "fail"}
    assert killed == set(load_suite("openadr2").cases)


@pytest.mark.parametrize(
    "message",
    [
        openadr2.query("0123"),
        openadr2.query("a&b<c>"),
        openadr2.registration("ven"),
        openadr2.poll("v"),
        openadr2.event_request("v", "r"),
    ],
)
def test_what_the_suite_sends_keeps_the_schema(message: bytes) -> None:
    schema = openadr2._schema()
    assert schema.validate(etree.fromstring(message)), schema.error_log
