"""The VEN as server: a VTN that pushes, over plain HTTP on loopback and over TLS."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from aiohttp import ClientConnectionError, ClientSession, TCPConnector
from support.openadr2 import HandClock, Identity, until
from support.openadr2_ven import PEER, HandVtn, Store, distribute, event, ven

from adapters.openadr2 import codec, model
from adapters.openadr2.dsig import Signer


async def say(url: str, endpoint: str, body: Any, http: ClientSession) -> tuple[int, Any]:
    content = body if isinstance(body, bytes) else codec.encode(body)
    headers = {"Content-Type": "application/xml"}
    async with http.post(f"{url}/OpenADR2/Simple/2.0b/{endpoint}", data=content, headers=headers) as reply:
        answered = await reply.read()
        if reply.status != 200:
            return reply.status, answered
        return reply.status, codec.decode(codec.payload_element(codec.read_tree(answered)))


async def test_what_is_pushed_is_answered_and_followed_up() -> None:
    hub, clock = Store(), HandClock()
    async with HandVtn() as vtn, ClientSession() as http:
        adapter = ven(hub, clock, vtn.url, listen="127.0.0.1:0", push_url="http://127.0.0.1:9/", poll_s=0.0)
        await adapter.start()
        await vtn.hears(model.OadrRequestEvent)
        created = vtn.said(model.OadrCreatePartyRegistration)[0]
        assert (created.http_pull_model, created.transport_address) == (False, "http://127.0.0.1:9/")
        (url,) = adapter.status().listening

        status, reply = await say(url, "EiEvent", distribute(event(), request="p1"), http)
        assert (status, type(reply), reply.response.response_code) == (200, model.OadrResponse, 200)
        assert reply.response.request_id == "p1"
        assert hub.signals  # durable before it is acknowledged
        answered = await vtn.hears(model.OadrCreatedEvent)
        assert answered.response.request_id == "p1"

        foreign_vtn = distribute(event(), vtn="OTHER")
        assert (await say(url, "EiEvent", foreign_vtn, http))[1].response.response_code == 452
        assert (await say(url, "EiReport", distribute(event()), http))[1].response.response_code == 459
        assert (await say(url, "EiReport", model.OadrRegisterReport("p2", ()), http))[1].response.response_code == 200
        assert (await say(url, "EiEvent", model.OadrPoll("ven-7"), http))[1].response.response_code == 451
        foreign = model.OadrRequestReregistration("ven-8")
        assert (await say(url, "EiRegisterParty", foreign, http))[1].response.response_code == 452
        for body in (b"", b"<no", b"<!DOCTYPE oadrPayload><oadrPayload/>"):
            assert (await say(url, "EiEvent", body, http))[0] == 400

        _, reply = await say(url, "EiRegisterParty", model.OadrRequestReregistration("ven-7"), http)
        assert reply.response.response_code == 200
        await vtn.hears(model.OadrCreatePartyRegistration, 2)
        await until(lambda: hub.load("vtn.registration")[PEER]["registration_id"] == "reg-2")
        cancel = model.OadrCancelPartyRegistration("p3", "reg-2", "ven-7")
        _, reply = await say(url, "EiRegisterParty", cancel, http)
        assert (type(reply), reply.registration_id) == (model.OadrCanceledPartyRegistration, "reg-2")
        assert hub.signals[-1].cancelled
        await adapter.stop()


async def test_over_tls_only_the_configured_certificate_is_heard_and_signatures_are_wanted(tmp_path: Path) -> None:
    ca = trustme.CA()
    authority = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(authority)
    us, theirs, other = (Identity.issue(ca, name) for name in ("localhost", "vtn.example", "other.example"))
    certificate, key = us.write(tmp_path / "us")
    hub, clock = Store(), HandClock()
    adapter = ven(
        hub,
        clock,
        "https://localhost:9",  # nobody is there: what is pushed is taken all the same
        insecure=False,
        tls_ca=str(authority),
        tls_certificate=certificate,
        tls_key=key,
        fingerprint=theirs.fingerprint,
        signed=True,
        listen="127.0.0.1:0",
        push_url="https://localhost:9/",
    )
    await adapter.start()
    (url,) = adapter.status().listening
    url = url.replace("127.0.0.1", "localhost")

    async def push(identity: Identity | None, body: Any) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(authority))
        if identity is not None:
            context.load_cert_chain(*identity.write(tmp_path / identity.fingerprint[:8].replace(":", "")))
        async with ClientSession(connector=TCPConnector(ssl=context)) as http:
            return await say(url, "EiReport", body, http)

    message = codec.encode(model.OadrRegisterReport("p", ()))
    assert (await push(other, message))[0] == 403
    try:
        refused = (await push(None, message))[0] == 403
    except (ClientConnectionError, OSError):
        refused = True
    assert refused
    _, unsigned = await push(theirs, message)
    assert unsigned.response.response_code == 463
    signer: Signer = theirs.signer
    sealed = signer.sign(message, datetime.now(UTC))
    status, reply = await push(theirs, sealed)
    assert (status, reply.response.response_code) == (200, 200)
    _, again = await push(theirs, sealed)
    assert again.response.response_code == 463  # a repetition
    await adapter.stop()
