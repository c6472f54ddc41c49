"""Each case of the suite fails for a listener that answers otherwise; PyNaCl and lxml stand on both sides here."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from lxml import etree
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from conformance.case import load_suite
from conformance.dut import Dut
from conformance.run import Verdict, run_suite

Serve = Callable[[Any], Awaitable[str]]
SEED = bytes(range(32))
SETTINGS = {
    "domain": "dso.example.org",
    "role": "DSO",
    "recipient": "agr.example.org",
    "signing_key": base64.b64encode(SEED).decode(),
}


class FakeListener:
    """A listener that says what the standard says; `wrong` maps the status it should give to the one it gives."""

    def __init__(self, wrong: dict[int, int] | None = None) -> None:
        self.wrong = wrong or {}
        self.seen: set[bytes] = set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(status=404)
        body = await request.read()
        status = self.status(request.content_type, body)
        if status == 200 and body in self.seen:
            status = self.wrong.get(208, 200)
        self.seen.add(body)
        return web.Response(status=self.wrong.get(status, status))

    def status(self, content_type: str, body: bytes) -> int:
        if content_type != "text/xml" or b"<!DOCTYPE" in body:
            return 400
        try:
            envelope = etree.fromstring(body)
            if envelope.get("SenderDomain") != SETTINGS["domain"]:
                return 419
            payload = SigningKey(SEED).verify_key.verify(base64.b64decode(envelope.get("Body") or ""))
            return 200 if etree.fromstring(payload).tag == "TestMessage" else 400
        except BadSignatureError:
            return 401
        except etree.XMLSyntaxError:
            return 400


CASES = {
    200: {"UFTP-TRN-001", "UFTP-TRN-009"},
    208: {"UFTP-TRN-009"},
    400: {"UFTP-TRN-002", "UFTP-TRN-006", "UFTP-TRN-007", "UFTP-TRN-008"},
    401: {"UFTP-TRN-004", "UFTP-TRN-005"},
    419: {"UFTP-TRN-003"},
}


async def test_a_listener_that_keeps_the_standard_passes(serve: Serve) -> None:
    run = await run_suite(load_suite("uftp"), Dut(await serve(FakeListener()), settings=SETTINGS))
    assert {o.case.id: str(o.verdict) for o in run.outcomes if o.verdict is not Verdict.PASS} == {}


@pytest.mark.parametrize("status", CASES)
async def test_a_wrong_status_is_found_by_its_cases(status: int, serve: Serve) -> None:
    url = await serve(FakeListener({status: 500}))
    run = await run_suite(load_suite("uftp"), Dut(url, settings=SETTINGS))
    assert {o.case.id for o in run.outcomes if o.verdict is not Verdict.PASS} == CASES[status]


def test_every_case_is_proven() -> None:
    assert set.union(*CASES.values()) == set(load_suite("uftp").cases)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "setting"),
        ({**SETTINGS, "signing_key": "AAAA"}, "signing_key"),
        ({**SETTINGS, "signing_key": "!"}, "signing_key"),
    ],
)
async def test_without_its_settings_nothing_is_judged(settings: dict[str, str], reason: str, serve: Serve) -> None:
    run = await run_suite(load_suite("uftp"), Dut(await serve(FakeListener()), settings=settings), only="UFTP-TRN-001")
    (outcome,) = run.outcomes
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert reason in outcome.reason
