"""MQTT with a foreign client (paho) over real sockets: who gets in, what he may subscribe to, and what reaches whom."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.openadr3_push import QUICK, Receiver, World, programme, targets, until, world

from adapters.errors import TransportFault
from adapters.openadr3.vtn.access import Viewer
from adapters.openadr3.vtn.push.config import MqttConfig
from datamodels import ProgrammeEvent, ProgrammeReport, Ven, VenResource

pytest.importorskip("amqtt")
paho = pytest.importorskip("paho.mqtt.client")

UTILITY = Viewer("utility", is_bl=True)
PLAIN = MqttConfig(listen="127.0.0.1:0")
HOUR = 3600.0


def event(id: str = "e", *values: str, **more: Any) -> ProgrammeEvent:
    return replace(ProgrammeEvent(id=id, programme="p", targets=targets(*values)), **more)


class Client:
    """A paho client: `heard` are (topic, notification), `granted` the answers to subscriptions."""

    def __init__(self, protocol: int = 4, **more: Any) -> None:
        self.paho = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=protocol, **more)
        self.heard: list[tuple[str, Any]] = []
        self.granted: dict[str, bool] = {}
        self.code: Any = None
        self.is_gone = False
        self._asked: dict[int, str] = {}
        self._lock = threading.Lock()
        self.paho.on_connect = self._connected
        self.paho.on_disconnect = self._gone
        self.paho.on_message = lambda c, u, m: self.heard.append((m.topic, json.loads(m.payload)))
        self.paho.on_subscribe = self._subscribed

    async def connect(self, port: int, user: str = "", token: str = "", tls: ssl.SSLContext | None = None) -> Any:
        if user or token:
            self.paho.username_pw_set(user, token)
        if tls is not None:
            self.paho.tls_set_context(tls)
        self.paho.reconnect_delay_set(1, 1)
        await asyncio.to_thread(self.paho.connect, "127.0.0.1", port)
        self.paho.loop_start()
        await until(lambda: self.code is not None)
        return self.code

    async def subscribe(self, *filters: str) -> dict[str, bool]:
        for filter in filters:
            with self._lock:
                _, number = self.paho.subscribe(filter, 1)
                self._asked[number or 0] = filter
        await until(lambda: all(filter in self.granted for filter in filters))
        return self.granted

    async def close(self) -> None:
        self.paho.disconnect()
        await asyncio.to_thread(self.paho.loop_stop)

    def _connected(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.code = code

    def _gone(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.is_gone = True

    def _subscribed(self, client: Any, data: Any, number: int, codes: Any, properties: Any) -> None:
        with self._lock:
            self.granted[self._asked[number]] = not codes[0].is_failure


@asynccontextmanager
async def client(here: World, viewer: Viewer, life_s: float = HOUR, **more: Any) -> AsyncIterator[Client]:
    """Someone with a token, who got in."""
    here.tokens[f"token of {viewer.client}"] = viewer, time.time() + life_s
    made = Client(**more)
    try:
        assert not (await made.connect(port(here), viewer.client, f"token of {viewer.client}")).is_failure
        yield made
    finally:
        await made.close()


def port(here: World) -> int:
    uri: str = here.push.notifiers(UTILITY)["MQTT"]["URIS"][0]
    return int(uri.rpartition(":")[2])


async def test_the_notifier_is_described(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        told = here.push.notifiers(UTILITY)
        assert told["WEBHOOK"] is True
        assert told["MQTT"] == {
            "URIS": [f"mqtt://127.0.0.1:{port(here)}"],
            "serialization": "JSON",
            "authentication": {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"},
        }
    async with world(tmp_path) as here:
        assert here.push.notifiers(UTILITY) == {"WEBHOOK": True}
        assert here.push.topics(UTILITY, ["events"]) is None


async def test_topic_names_are_for_those_who_may_have_them(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        await here.put(programme("open"), programme("closed", targets=targets("b")))
        await here.put(*(Ven(id=f"v-{c}", name=c, client=c, targets=targets(c)) for c in ("a", "b")))
        a, b, push = Viewer("a"), Viewer("b"), here.push
        for collection in ("programs", "events", "reports", "subscriptions", "vens", "resources"):
            told = push.topics(UTILITY, [collection])["topics"]
            assert told == {w: f"{collection}/{w.lower()}" for w in ("CREATE", "UPDATE", "DELETE")} | {
                "ALL": f"{collection}/+"
            }
            with pytest.raises(TransportFault) as fault:
                push.topics(a, [collection])
            assert fault.value.code == 403
        for one in (["programs", "open"], ["vens", "v-a"]):
            assert set(push.topics(a, one)["topics"]) == {"UPDATE", "DELETE", "ALL"}
        own = [["vens", "v-a", below] for below in ("events", "programs", "resources")]
        for below in (["programs", "open", "events"], *own):
            assert push.topics(a, below)["topics"]["CREATE"] == "/".join([*below, "create"])
        for hidden in (["programs", "closed"], ["vens", "v-b"], ["vens", "v-b", "events"], ["vens", "none"], ["x"]):
            assert push.topics(a, hidden) is None
        assert push.topics(b, ["programs", "closed", "events"])


async def test_who_gets_in(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        here.tokens["good"] = Viewer("a"), time.time() + HOUR
        doors = {
            "good": (Client(), "a", "good"),
            "other's": (Client(), "b", "good"),
            "unknown": (Client(), "a", "bad"),
            "none": (Client(), "", ""),
            "newer": (Client(5), "a", "good"),
            "will": (Client(), "a", "good"),
        }
        doors["will"][0].paho.will_set("vens/v/events/create", b"{}", 1)
        answers = await asyncio.gather(*(made.connect(port(here), user, token) for made, user, token in doors.values()))
        codes = dict(zip(doors, map(str, answers), strict=True))
        await asyncio.gather(*(made.close() for made, _, _ in doors.values()))
        assert codes.pop("good") == "Success"
        assert "Success" not in codes.values()
        assert "protocol" in codes["newer"].lower()
        assert len(here.inbound.alarms) == 4


async def test_what_may_be_subscribed_to(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        await here.put(programme("open"), programme("closed", targets=targets("b")))
        await here.put(*(Ven(id=f"v-{c}", name=c, client=c, targets=targets(c)) for c in ("a", "b")))
        own = ["vens/v-a/events/+", "vens/v-a/programs/create", "vens/v-a/update", "programs/open/events/+"]
        never = ["#", "+/+", "vens/+/events/create", "vens/v-b/events/create", "vens/v-b/+", "events/create", "vens/#"]
        never += ["programs/closed/events/+", "programs/+", "$SYS/#", "vens/v-a/#", "vens/v-a/+/create", "reports/+"]
        async with client(here, Viewer("a")) as a, client(here, UTILITY) as bl:
            granted = await a.subscribe(*own, *never)
            assert {f for f, good in granted.items() if good} == set(own)
            granted = await bl.subscribe("events/+", "reports/create", "vens/v-a/events/+", "programs/closed/+", "#")
            assert {f for f, good in granted.items() if not good} == {"#"}
            a.paho.publish("vens/v-a/events/create", b'{"forged":1}', 1)
            bl.paho.publish("vens/v-a/events/create", b'{"forged":2}', 1)
            await here.put(event_of_open := ProgrammeEvent(id="e", programme="open"))
            await until(lambda: a.heard)
            assert event_of_open.id == a.heard[0][1]["object"]["id"]
            assert all("forged" not in said for _, said in a.heard + bl.heard)


async def test_targeted_objects_reach_those_entitled_and_business_logic(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here, Receiver() as receiver:
        await here.put(programme(), *(Ven(id=f"v-{c}", name=c, client=c, targets=targets(c)) for c in ("a", "b")))
        await here.subscribe(Viewer("a"), receiver.url(), ["EVENT"])
        async with client(here, Viewer("a")) as a, client(here, Viewer("b")) as b, client(here, UTILITY) as bl:
            for c, made in (("a", a), ("b", b)):
                await made.subscribe(f"vens/v-{c}/events/+", "programs/p/events/+")
            await bl.subscribe("events/+", "events/create", "programs/p/events/+")  # overlapping: one copy
            await here.put(event("open"))
            await here.put(event("mine", "a", "hidden"))
            await here.put(event("mine", "b"))
            await here.drop(event("mine"))
            await until(lambda: len(bl.heard) == 5 and len(a.heard) == 3 and len(b.heard) == 3)
            await until(lambda: len(receiver.calls) == 3)
        words = {
            name: [(topic, said["operation"], said["object"].get("targets")) for topic, said in made.heard]
            for name, made in (("a", a), ("b", b), ("bl", bl))
        }
    opened = ("programs/p/events/create", "CREATE", None)
    assert words["a"] == [
        opened,
        ("vens/v-a/events/create", "CREATE", ["a"]),
        ("vens/v-a/events/delete", "DELETE", ["a"]),
    ]
    assert words["b"] == [
        opened,
        ("vens/v-b/events/create", "CREATE", ["b"]),
        ("vens/v-b/events/delete", "DELETE", ["b"]),
    ]
    assert [w for t, w, _ in words["bl"] if t.startswith("events")] == ["CREATE", "CREATE", "UPDATE", "DELETE"]
    assert ("events/create", "CREATE", ["a", "hidden"]) in words["bl"]
    assert [call.json for call in receiver.calls] == [said for _, said in a.heard]  # the same payload as the webhook


async def test_vens_resources_reports_and_subscriptions(tmp_path: Path) -> None:
    ven = Ven(id="v", name="v", client="a")
    async with world(tmp_path, mqtt=PLAIN) as here:
        await here.put(programme(), event(), ven)
        async with client(here, Viewer("a")) as a, client(here, UTILITY) as bl:
            await a.subscribe("vens/v/+", "vens/v/resources/+", "programs/p/+")
            await bl.subscribe("vens/+", "resources/+", "reports/+", "programs/+", "subscriptions/+")
            await here.put(VenResource(id="r", ven="v", name="r"), replace(ven, name="w"))
            await here.put(
                ProgrammeReport(id="x", event="e", ven="w", client="a"), programme(market_context="http://x")
            )
            await here.subscribe(Viewer("a"), "http://127.0.0.1:1/", ["EVENT"])
            await here.drop(ven)
            await until(lambda: len(bl.heard) == 7 and len(a.heard) >= 4)
        expected = {"resources/create", "resources/delete", "vens/update", "vens/delete", "reports/create"}
        assert {topic for topic, _ in bl.heard} == expected | {"programs/update", "subscriptions/create"}
        assert {topic for topic, _ in a.heard} >= {"vens/v/resources/create", "vens/v/update", "programs/p/update"}


async def test_the_end_of_a_token_is_the_end_of_its_connection(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here, client(here, Viewer("a"), life_s=0.5) as a:
        assert not a.is_gone
        await until(lambda: a.is_gone)


async def test_nobody_takes_over_the_session_of_another(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        await here.put(programme(), *(Ven(id=f"v-{c}", name=c, client=c, targets=targets(c)) for c in ("a", "b")))
        same = {"client_id": "same", "clean_session": False}
        async with client(here, Viewer("a"), **same) as a:
            await a.subscribe("vens/v-a/events/+")
        await here.put(event("e", "a"))  # waits for a
        async with client(here, Viewer("b"), **same) as b, client(here, Viewer("a"), **same) as a:
            await until(lambda: a.heard)
            assert not b.heard
            assert not a.is_gone
            assert not b.is_gone


async def test_tls_only_where_it_is_configured(tmp_path: Path) -> None:
    authority = trustme.CA()
    paper = authority.issue_cert("127.0.0.1")
    for name, blob in (("cert", paper.cert_chain_pems[0]), ("key", paper.private_key_pem)):
        blob.write_to_path(tmp_path / name)
    config = replace(PLAIN, tls_certificate=str(tmp_path / "cert"), tls_key=str(tmp_path / "key"))
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    async with world(tmp_path, mqtt=config) as here:
        assert here.push.notifiers(UTILITY)["MQTT"]["URIS"] == [f"mqtts://127.0.0.1:{port(here)}"]
        here.tokens["t"] = Viewer("a"), time.time() + HOUR
        made = Client()
        assert not (await made.connect(port(here), "a", "t", context)).is_failure
        await made.close()


async def test_strangers_do_not_bring_the_broker_down(tmp_path: Path) -> None:
    async with world(tmp_path, mqtt=PLAIN) as here:
        rubbish = [
            b"",
            b"\x10",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x10\xff\xff\xff\xff\x01",
            b"\x10\xff\xff\x7f" + b"a" * 100,
        ]
        rubbish += [
            b"\x10\x02\x00\x09",
            b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x20",
            b"\x10\x03\x00\x01\xff",
            b"\x00\x00",
        ]
        for data in rubbish:
            _, writer = await asyncio.open_connection("127.0.0.1", port(here))
            writer.write(data)
            writer.write_eof()
            await writer.drain()
            writer.close()
        async with client(here, Viewer("a")) as a:
            assert not a.is_gone


async def test_an_external_broker_may_go_away_and_nothing_is_lost(tmp_path: Path) -> None:
    async with world(tmp_path / "broker", mqtt=replace(PLAIN, anonymous=True)) as away:
        free = port(away)
    config = MqttConfig(broker=f"mqtt://127.0.0.1:{free}", uris=(f"mqtt://127.0.0.1:{free}",), anonymous=True)
    outside = _Outside(free)
    async with world(tmp_path / "vtn", QUICK, config) as here:
        await outside.start()
        await here.put(programme(), event("first"))
        await until(lambda: outside.told("first"))
        await outside.stop()
        await here.put(event("second"))
        await until(lambda: here.push.feed.trouble)
        assert [problem.rule for problem in here.push.problems] == ["openadr3.mqtt"]
        await outside.start()
        await until(lambda: outside.told("second"))
        await outside.stop()


class _Outside:
    """A broker of somebody else's (amqtt as it comes) in another process, with a subscriber to everything."""

    PROGRAM = """
import asyncio, sys
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

async def main():
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listeners = {"default": ListenerConfig(bind=f"127.0.0.1:{sys.argv[1]}")}
    await Broker(BrokerConfig(listeners, plugins=plugins)).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

    def __init__(self, port: int) -> None:
        self._port = port
        self._broker: Any = None
        self._client = Client()
        self._heard: list[Any] = []

    async def start(self) -> None:
        words = (sys.executable, "-c", self.PROGRAM, str(self._port))
        self._broker = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        assert await self._broker.stdout.readline() == b"ready\n"
        self._client = Client()
        await self._client.connect(self._port)
        await self._client.subscribe("#")

    async def stop(self) -> None:
        self._heard += self._client.heard
        await self._client.close()
        self._broker.kill()
        await self._broker.wait()

    def told(self, id: str) -> bool:
        return any(said["object"]["id"] == id for _, said in self._heard + self._client.heard)
