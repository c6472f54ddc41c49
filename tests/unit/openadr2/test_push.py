"""Push: a VEN that serves is told on its own what another would poll for; nothing is lost while it is away."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from support.openadr2_push import PushVen

from adapters.openadr2 import codec, model, push
from adapters.openadr2.dsig import verify
from adapters.openadr2.lexical import Duration
from adapters.openadr2.push import service_url


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(push, "_FIRST_WAIT_S", 0.02)


@pytest.fixture
async def ven() -> AsyncIterator[PushVen]:
    async with PushVen() as ven:
        yield ven


@pytest.fixture
async def vtn(around) -> AsyncIterator:
    async with around.Vtn(around.Hub(), around.HandClock(), around.home("one")) as vtn:
        yield vtn


def _push(ven: PushVen) -> dict[str, object]:
    return {"http_pull_model": False, "transport_address": ven.address}


def _plan(around, vtn, id: str = "d1", **more):
    return around.plan(id, around.home("one"), vtn.clock.now() + timedelta(hours=1), (100, 200), **more)


def _mods(ven: PushVen) -> list[list[tuple[str, int]]]:
    told = ven.heard(model.OadrDistributeEvent)
    return [[(e.event.descriptor.event_id, e.event.descriptor.modification_number) for e in t.events] for t in told]


async def test_an_event_arrives_on_its_own_and_is_answered(vtn, ven, around) -> None:
    await vtn.register(**_push(ven))
    await vtn.adapter.apply(around.home("one"), _plan(around, vtn))
    await around.until(lambda: ven.told)
    service, told = ven.told[0]
    assert (service, told.vtn_id, told.events[0].response_required) == ("EiEvent", "GRIDPARLEY", "always")
    await vtn.opt("d1", 0)
    assert ("d1", 0, "ACCEPTED") in await vtn.news()
    await vtn.adapter.apply(around.home("one"), _plan(around, vtn, revision=1))
    await around.until(lambda: len(ven.told) == 2)
    await vtn.opt("d1", 1)
    await vtn.adapter.withdraw("d1")
    await around.until(lambda: len(ven.told) == 3)
    assert _mods(ven) == [[("d1", 0)], [("d1", 1)], [("d1", 2)]]
    assert type(await vtn.poll()) is model.OadrResponse
    assert vtn.hub.refusals == []


async def test_nothing_is_lost_while_the_ven_is_down_and_order_holds(vtn, around) -> None:
    async with PushVen() as ven:
        await vtn.register(**_push(ven))
    for n in range(3):
        await vtn.adapter.apply(around.home("one"), _plan(around, vtn, f"d{n}"))
    await around.until(lambda: "push fails" in vtn.adapter.status().peers["one"])
    await vtn.adapter.request_reregistration("one")
    async with PushVen(port=ven.port, fail=2) as back:
        await around.until(lambda: len(back.told) == 2)
        assert [service for service, _ in back.told] == ["EiRegisterParty", "EiEvent"]
        assert _mods(back) == [[("d0", 0), ("d1", 0), ("d2", 0)]]
        await around.until(lambda: "push fails" not in vtn.adapter.status().peers["one"])


async def test_a_sign_of_life_ends_the_waiting(vtn, around, monkeypatch) -> None:
    async with PushVen() as ven:
        await vtn.register(**_push(ven))
    monkeypatch.setattr(push, "_FIRST_WAIT_S", 60.0)
    await vtn.adapter.apply(around.home("one"), _plan(around, vtn))
    await around.until(lambda: "push fails" in vtn.adapter.status().peers["one"])
    async with PushVen(port=ven.port) as back:
        await vtn.say("EiRegisterParty", model.OadrCancelPartyRegistration("q", "wrong", "ven-1"))
        await around.until(lambda: back.told)


async def test_what_was_not_delivered_is_delivered_after_a_restart(around) -> None:
    hub, clock = around.Hub(), around.HandClock()
    async with around.Vtn(hub, clock, around.home("one")) as vtn:
        async with PushVen() as ven:
            await vtn.register(**_push(ven))
        await vtn.adapter.apply(around.home("one"), _plan(around, vtn))
    async with PushVen(port=ven.port) as back, around.Vtn(hub, clock, around.home("one")):
        await around.until(lambda: back.told)
        assert _mods(back) == [[("d1", 0)]]


async def test_registration_is_ended_by_push(vtn, ven, around) -> None:
    await vtn.register(**_push(ven))
    await vtn.adapter.cancel_registration("one")
    await around.until(lambda: vtn.adapter.status().peers["one"] == "not registered")
    assert [type(m) for _, m in ven.told] == [model.OadrCancelPartyRegistration]
    await vtn.register("one")
    assert vtn.hub.load("ven")["one"]["push_address"] == ""


async def test_report_requests_are_pushed_and_their_answer_counts(vtn, ven, around) -> None:
    await vtn.register(**_push(ven))
    minute = model.SamplingRate(Duration.seconds(60), Duration.seconds(60), False)
    offers = tuple(
        model.OadrReport(
            "0",
            f"spec{n}",
            vtn.clock.wall,
            descriptions=(
                model.ReportDescription(
                    "s",
                    "x-resourceStatus",
                    "x-notApplicable",
                    data_source=model.EiTarget(resource_id=("battery",)),
                    sampling_rate=minute,
                ),
            ),
            report_name="METADATA_TELEMETRY_STATUS",
        )
        for n in range(3)
    )
    await vtn.say("EiReport", model.OadrRegisterReport("q", offers, "ven-1", "0"))
    await around.until(lambda: len(ven.heard(model.OadrCreateReport)) == 2)
    pushed = {m.report_requests[0].report_request_id for m in ven.heard(model.OadrCreateReport)}
    await around.until(lambda: {k for k, r in vtn.hub.load("report_request").items() if r["confirmed"]} == pushed)


@pytest.mark.parametrize(
    "reply",
    [
        b"nothing",
        codec.encode(model.OadrResponse(model.EiResponse(200, "q"), "ven-2")),
        codec.encode(model.OadrQueryRegistration("q")),
        codec.encode(model.OadrPoll("ven-1")),
    ],
)
async def test_replies_that_are_none(vtn, ven, around, reply: bytes) -> None:
    ven.wrong = reply
    await vtn.register(**_push(ven))
    before = dict(vtn.hub.documents)
    await vtn.adapter.request_reregistration("one")
    await around.until(lambda: vtn.hub.refusals or "push fails" in vtn.adapter.status().peers["one"])
    assert {k: v for k, v in vtn.hub.documents.items() if k[0] != "ven"} == {
        k: v for k, v in before.items() if k[0] != "ven"
    }
    assert vtn.adapter.status().ready


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://ven.example", "https://ven.example/OpenADR2/Simple/2.0b/EiEvent"),
        ("https://ven.example/a/", "https://ven.example/a/OpenADR2/Simple/2.0b/EiEvent"),
        ("https://ven.example/OpenADR2/Simple/2.0b/", "https://ven.example/OpenADR2/Simple/2.0b/EiEvent"),
    ],
)
def test_where_a_ven_serves(address: str, url: str) -> None:
    assert service_url(address, "EiEvent") == url


async def test_tls_signed_and_only_to_the_registered_certificate(around, tmp_path) -> None:
    ca = trustme.CA()
    us, one, impostor = (around.Identity.issue(ca, f"{n}.example") for n in ("vtn", "one", "one"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca"))
    certificate, key = us.write(tmp_path / "vtn")
    config = {
        "insecure": False,
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": str(tmp_path / "ca"),
        "security": "high",
        "vens": [{"ven_name": "one", "ven_id": "ven-1", "fingerprint": one.fingerprint}],
    }

    def server(identity) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*identity.write(tmp_path / identity.fingerprint[:8].replace(":", "")))
        context.load_verify_locations(str(tmp_path / "ca"))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def seal(body: bytes) -> bytes:
        return one.signer.sign(body, datetime.now(UTC))

    async with (
        around.Vtn(around.Hub(), around.HandClock(), around.home("one"), **config) as vtn,
        PushVen(context=server(impostor)) as false,
    ):
        client = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        client.check_hostname = False
        client.load_cert_chain(*one.write(tmp_path / "one"))
        message = model.OadrCreatePartyRegistration(
            "q",
            "2.0b",
            "simpleHttp",
            False,
            True,
            ven_name="one",
            transport_address=false.address,
            http_pull_model=False,
        )
        headers = {"Content-Type": "application/xml"}

        async def register(address: str) -> None:
            body = seal(codec.encode(replace(message, transport_address=address)))
            async with vtn.http.post(f"{vtn.url}/EiRegisterParty", data=body, headers=headers, ssl=client) as reply:
                assert reply.status == 200

        await register(false.address)
        await vtn.adapter.apply(around.home("one"), _plan(around, vtn))
        await around.until(lambda: "FingerprintMismatch" in vtn.adapter.status().peers["one"])
        assert false.told == []
        async with PushVen(context=server(one), seal=seal) as true:
            await register(true.address)
            await around.until(lambda: true.told)
            assert verify(codec.read_tree(true.bodies[0]), {us.fingerprint})
            await around.until(lambda: "push fails" not in vtn.adapter.status().peers["one"])
