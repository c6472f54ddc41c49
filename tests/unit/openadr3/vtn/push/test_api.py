"""Notifications through the API: subscriptions are verified, served and marked; notifiers and topics are told."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from support.openadr3_push import Receiver, until
from support.openadr3_server import NEW, OLD, vtn

from adapters.openadr3.config import read_config

TOPICS = "/notifiers/mqtt/topics"


def subscription(*urls: str, **more: Any) -> dict[str, Any]:
    asked = [{"objects": ["EVENT"], "operations": ["CREATE", "UPDATE", "DELETE"], "callbackUrl": url} for url in urls]
    return {"clientName": "c", "objectOperations": asked, **more}


async def test_a_callback_is_verified_before_a_subscription_is_made_or_its_url_changed(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    paper = authority.issue_cert("127.0.0.1")
    (tmp_path / "cert.pem").write_bytes(paper.cert_chain_pems[0].bytes())
    (tmp_path / "key.pem").write_bytes(paper.private_key_pem.bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    paper.configure_cert(tls)
    bad = False

    def echo(text: str) -> web.Response:
        return web.Response(text="no" if bad else text)

    config = {
        "profile": "open",
        "webhooks": {"ca": str(tmp_path / "ca.pem"), "networks": ["127.0.0.0/8"], "timeout_s": 2.0},
    }
    async with vtn(tmp_path, **config) as running, Receiver(echo=echo, tls=tls) as receiver:
        for version in (OLD, NEW):
            me, program = running.as_("me", version), await running.program(version)
            bad, before = True, len(receiver.asked)
            refused = await me.post("/subscriptions", subscription(receiver.url(), programID=program))
            assert refused.status == 400
            assert refused.data["errors"][0]["where"] == "objectOperations[0].callbackUrl"
            plain = receiver.url().replace("https", "http")
            assert (await me.post("/subscriptions", subscription(plain, programID=program))).status == 400
            assert (await me.get("/subscriptions")).data == []
            bad = False
            made = await me.post("/subscriptions", subscription(receiver.url(), receiver.url("b"), programID=program))
            assert made.status == 201
            assert len(receiver.asked) == before + 3
            path, same = f"/subscriptions/{made.id}", subscription(receiver.url(), programID=program)
            assert (await me.put(path, same)).status == 200
            assert len(receiver.asked) == before + 3
            bad = True
            assert (await me.put(path, subscription(receiver.url("new"), programID=program))).status == 400
            assert len(receiver.asked) == before + 4
            event = await running.event(program)
            await until(lambda: receiver.calls)
            assert receiver.calls.pop().json["object"]["id"] == event
            assert (await me.delete(path)).status == 200


async def test_a_subscription_that_is_broken_says_so(tmp_path: Path) -> None:
    settings = {"webhooks": {"tries": 2, "first_pause_s": 0.01}}
    async with vtn(tmp_path, **settings) as running, Receiver(lambda path: 500) as receiver:
        me = running.as_("me")
        made = await me.post("/subscriptions", subscription(receiver.url()))
        assert "broken" not in made.data
        await running.event(await running.program())
        await until(lambda: running.vtn.subscriptions.all[made.id].broken)
        assert "openadr3.callback" in running.refusals.rules
        path = f"/subscriptions/{made.id}"
        told = await me.get(path)
        assert "500" in told.data["broken"]
        assert told.headers["ETag"] != made.headers["ETag"]
        assert any(p.rule == "openadr3.callback" for p in running.vtn.status().problems)
        assert "broken" not in (await me.put(path, subscription(receiver.url()))).data
        assert not running.vtn.status().problems


async def test_notifiers_and_topics(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    async with vtn(tmp_path, mqtt={"listen": "127.0.0.1:0"}) as running:
        me, grid = running.as_("me"), running.as_("grid")
        program, mine, others = await running.program(), await running.ven("me", "t"), await running.ven("other")
        told = (await me.get("/notifiers")).data
        assert told["WEBHOOK"] is True
        assert told["MQTT"]["URIS"] == [running.vtn.status().listening[1]]
        assert (await running.as_().get("/notifiers")).status == 401
        for path in ("programs", "events", "reports", "subscriptions", "vens", "resources"):
            assert (await grid.get(f"{TOPICS}/{path}")).data["topics"]["CREATE"] == f"{path}/create"
            assert (await me.get(f"{TOPICS}/{path}")).status == 403
        below = ["", "/events", "/programs", "/resources"]
        for path in (f"programs/{program}", f"programs/{program}/events", *(f"vens/{mine}{b}" for b in below)):
            assert (await me.get(f"{TOPICS}/{path}")).data["topics"]["ALL"] == f"{path}/+"
        for path in (f"vens/{others}{b}" for b in below):
            assert (await me.get(f"{TOPICS}/{path}")).status == 404
    async with vtn(tmp_path) as running:
        assert (await running.as_("me").get("/notifiers")).data == {"WEBHOOK": True}
        assert (await running.as_("grid").get(f"{TOPICS}/events")).status == 404


async def test_a_token_of_the_api_opens_mqtt(tmp_path: Path) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")
    async with vtn(tmp_path, mqtt={"listen": "127.0.0.1:0"}) as running:
        program = await running.program()
        ven = await running.ven("me", "t")
        port = int(running.vtn.status().listening[1].rpartition(":")[2])
        async with aiomqtt.Client("127.0.0.1", port, username="me", password=running.tokens["me"]) as client:
            await client.subscribe(f"vens/{ven}/events/create", qos=1)
            id = await running.event(program, targets=["t", "hidden"])
            message = await asyncio.wait_for(anext(client.messages), 10)
        assert f'"id":"{id}"'.encode() in message.payload
        assert b"hidden" not in message.payload
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client("127.0.0.1", port, username="me", password=running.tokens["other"]):
                pass


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"webhooks": {"networks": ["10.0.0.0/33"]}}, "webhooks.networks"),
        ({"webhooks": {"tries": 0}}, "tries"),
        ({"webhooks": {"retries": 3}}, "did you mean tries"),
        ({"webhooks": {"signing_key_file": "/none"}}, "no file /none"),
        ({"mqtt": {}}, "mqtt.tls_certificate"),
        ({"mqtt": {"listen": "8883"}}, "mqtt.listen"),
        ({"mqtt": {"broker": "http://b"}}, "mqtt.broker"),
        ({"mqtt": {"broker": "mqtts://b"}}, "mqtt.uris"),
        ({"mqtt": {"broker": "mqtt://b", "uris": ["mqtts://b"]}}, "mqtts is needed"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    table = {"tls_certificate": str(tmp_path / "cert"), "tls_key": str(tmp_path / "key")}
    with pytest.raises(ValueError, match=said):
        read_config({"vtn": table | more})
