import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OADR = (
    'xmlns="http://openadr.org/oadr-2.0b/2012/07" xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110" '
    'xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads" '
    'xmlns:xcal="urn:ietf:params:xml:ns:icalendar-2.0"'
)
PARTY = (
    "{response}{ids}<ei:vtnID>V</ei:vtnID><oadrProfiles><oadrProfile><oadrProfileName>2.0b</oadrProfileName>"
    "<oadrTransports><oadrTransport><oadrTransportName>simpleHttp</oadrTransportName></oadrTransport></oadrTransports>"
    "</oadrProfile></oadrProfiles><oadrRequestedOadrPollFreq><xcal:duration>PT10S</xcal:duration>"
    "</oadrRequestedOadrPollFreq>"
)
REFUSED = re.compile(rb"<!DOCTYPE|^good")


class FakeVtn:
    """The least that passes the suite: canned replies. Each `mutant` breaks one thing."""

    def __init__(self, mutant: str = "") -> None:
        self.mutant = mutant
        self.vens: set[str] = set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(status=404)
        body = await request.read()
        if self.mutant != "any_type" and request.content_type != "application/xml":
            return web.Response(status=500 if self.mutant == "type_500" else 400 if self.mutant == "type_400" else 415)
        if REFUSED.search(body) and self.mutant != ("doctype" if b"DOCTYPE" in body else "text"):
            return web.Response(status=400)
        text = body.decode()
        wanted = re.search(r"<pyld:requestID>(.*?)</", text)
        ven = re.search(r"<ei:venID>(.*?)</", text)
        reply = self.reply(text, wanted[1] if wanted else "", ven[1] if ven else "")
        return web.Response(
            body=f"<oadrPayload {OADR}><oadrSignedObject>{reply}</oadrSignedObject></oadrPayload>".encode(),
            content_type="application/xml",
        )

    def reply(self, text: str, request: str, ven: str) -> str:
        if self.mutant == "numbers" and request.replace(".", "").isdigit():
            request = str(float(request))
        if self.mutant == "markup":
            request = request.replace("&amp;", "&")
        code = "200" if not ven or ven in self.vens or self.mutant == "any_ven" else "463"
        response = (
            f"<ei:eiResponse><ei:responseCode>{code}</ei:responseCode><pyld:requestID>{request}</pyld:requestID>"
            "</ei:eiResponse>"
        )
        kind, content = "oadrResponse", response + "<ei:venID>v</ei:venID>"
        if "QueryRegistration" in text and self.mutant != "query":
            kind, content = "oadrCreatedPartyRegistration", PARTY.format(response=response, ids="")
        elif "CreatePartyRegistration" in text:
            self.vens.add(f"v{len(self.vens)}")
            ids = (
                ""
                if self.mutant == "ids"
                else f"<ei:registrationID>r</ei:registrationID><ei:venID>{max(self.vens)}</ei:venID>"
            )
            kind, content = "oadrCreatedPartyRegistration", PARTY.format(response=response, ids=ids)
        elif "RequestEvent" in text and self.mutant != "event":
            kind = "oadrDistributeEvent"
            content = f"{response}<pyld:requestID>d</pyld:requestID><ei:vtnID>V</ei:vtnID>"
        elif "oadrPoll" in text and self.mutant == "poll":
            kind, content = "oadrRequestReregistration", "<ei:venID>v</ei:venID>"
        return f'<{kind} ei:schemaVersion="2.0b">{content}</{kind}>'


@pytest.fixture
def fake_vtn() -> type[FakeVtn]:
    return FakeVtn


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Serve a handler on a free port; gives the URL."""
    runners: list[web.ServerRunner] = []

    async def start(handler: Handler) -> str:
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)  # type: ignore[arg-type]
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()
