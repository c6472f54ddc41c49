"""Webhooks over real sockets: what is told to whom, in which words and order, and what trouble does."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import openadr3 as kit
from support.openadr3_push import QUICK, Receiver, programme, targets, until, world

from adapters.openadr3.members import Version
from adapters.openadr3.vtn.access import Viewer
from datamodels import ProgrammeEvent, ProgrammeReport, Ven, VenResource

OWNER = Viewer("utility", is_bl=True)
ME = Viewer("me")


def event(id: str = "e", programme: str = "p", **more: Any) -> ProgrammeEvent:
    return replace(ProgrammeEvent(id=id, programme=programme), **more)


async def test_operations_are_told_in_the_words_of_the_version(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver() as receiver:
        await here.subscribe(OWNER, receiver.url("new"), ["EVENT"])
        await here.subscribe(
            OWNER, receiver.url("old"), ["EVENT"], ["POST", "PUT", "DELETE"], Version.V301, programID="p"
        )
        await here.subscribe(OWNER, receiver.url("mixed"), ["EVENT"], version=Version.V301, programID="p")
        await here.put(programme(), event())
        await here.put(event(name="n"))
        await here.drop(event())
        await until(lambda: len(receiver.calls) == 9)
    assert [call.json["operation"] for call in receiver.at("new")] == ["CREATE", "UPDATE", "DELETE"]
    for path in ("old", "mixed"):
        assert [call.json["operation"] for call in receiver.at(path)] == ["POST", "PUT", "DELETE"]
    said = receiver.at("new")[1].json
    assert said["objectType"] == said["object"]["objectType"] == "EVENT"
    assert said["object"]["eventName"] == "n"
    assert len({call.id for call in receiver.at("new")}) == 3


async def test_only_subscribed_pairs_of_object_and_operation(tmp_path: Path) -> None:
    kinds = ["PROGRAM", "EVENT", "REPORT", "VEN", "RESOURCE"]
    made = [
        programme(),
        event(),
        ProgrammeReport(id="r", event="e", client="me", ven="v"),
        Ven(id="v", name="v", client="me"),
        VenResource(id="s", ven="v", name="s"),
    ]
    async with world(tmp_path) as here, Receiver() as receiver:
        for kind in kinds:
            for word in ("CREATE", "UPDATE", "DELETE"):
                await here.subscribe(OWNER, receiver.url(f"{kind}-{word}"), [kind], [word])
        await here.put(*made)
        await here.put(*(replace(here.programmes.get(type(each), each.id), revision=0) for each in made))  # type: ignore[type-var]
        for each in (made[2], made[4], made[3], made[1], made[0]):
            await here.drop(each)
        await until(lambda: len(receiver.calls) == 15)
        await until(lambda: here.is_quiet)
    told = {(call.path, call.json["objectType"], call.json["operation"]) for call in receiver.calls}
    assert told == {(f"{kind}-{word}", kind, word) for kind in kinds for word in ("CREATE", "UPDATE", "DELETE")}


async def test_subscriptions_are_objects_too(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver() as receiver:
        await here.subscribe(OWNER, receiver.url("bl"), ["SUBSCRIPTION"])
        await here.subscribe(ME, receiver.url("me"), ["SUBSCRIPTION"])
        other = await here.subscribe(Viewer("other"), receiver.url("other"), ["EVENT"])
        await here.subscriptions.remove(other)
        await until(lambda: len(receiver.calls) == 5)
        await until(lambda: here.is_quiet)
    assert [call.json["operation"] for call in receiver.at("bl")] == ["CREATE", "CREATE", "CREATE", "DELETE"]
    assert [call.json["object"]["clientID"] for call in receiver.at("me")] == ["me"]


async def test_a_programme_narrows_a_subscription_down(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver() as receiver:
        await here.put(programme("p"), programme("q"))
        await here.subscribe(OWNER, receiver.url(), programID="q")
        await here.put(event("in-p"), event("in-q", "q"))
        await here.put(ProgrammeReport(id="rp", event="in-p", ven="v"), ProgrammeReport(id="rq", event="in-q", ven="v"))
        await here.put(programme("p", market_context="http://p"), programme("q", market_context="http://q"))
        await until(lambda: len(receiver.calls) == 4)
        await until(lambda: here.is_quiet)
    # the first is the subscription itself, seen by nobody: it belongs to q as well
    assert [call.json["object"]["id"] for call in receiver.calls[1:]] == ["in-q", "rq", "q"]


@pytest.mark.parametrize("strict", [False, True])
async def test_the_public_cases_of_privacy(tmp_path: Path, strict: bool) -> None:
    cases = kit.vector("privacy.json")["cases"]
    assert len(cases) == 16
    shown = {}
    async with world(tmp_path, strict=strict) as here, Receiver() as receiver:
        await here.put(programme())
        for case in cases:
            id = case["id"]
            viewer = OWNER if case["role"] == "BL" else Viewer(id)
            if case["venTargets"] is not None:
                await here.put(Ven(id=f"v{id}", name=f"v{id}", client=id, targets=targets(*case["venTargets"])))
                more = case["resourceTargets"] or []
                await here.put(VenResource(id=f"r{id}", ven=f"v{id}", name="r", targets=targets(*more)))
            await here.subscribe(viewer, receiver.url(id), ["EVENT"], ["CREATE"], targets=case["queryTargets"])
        for case in cases:
            await here.put(event(f"e{case['id']}", targets=targets(*case["objectTargets"])))
        await until(lambda: here.is_quiet)
        for call in receiver.calls:
            if call.json["object"]["id"] == f"e{call.path}":
                shown[call.path] = call.json["object"].get("targets") or []
    suffix = "Strict" if strict else ""
    assert shown == {case["id"]: case[f"targetsShown{suffix}"] for case in cases if case[f"visible{suffix}"]}


async def test_who_loses_sight_of_an_event_hears_that_it_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver() as receiver:
        for name in ("a", "b"):
            await here.put(Ven(id=name, name=name, client=name, targets=targets(name)))
            await here.subscribe(Viewer(name), receiver.url(name), ["EVENT"])
        await here.put(programme(), event(targets=targets("a")))
        await here.put(event(targets=targets("b")))
        await here.put(event(targets=targets("b"), cancelled=True))
        await until(lambda: len(receiver.calls) == 4)
        await until(lambda: here.is_quiet)
    for name in ("a", "b"):
        calls = [call.json for call in receiver.at(name)]
        assert [call["operation"] for call in calls] == ["CREATE", "DELETE"]
        assert all(call["object"]["targets"] == [name] for call in calls)


async def test_a_signature_over_timestamp_and_body_and_the_bearer_token(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("shared secret\n")
    config = replace(QUICK, signing_key_file=str(key))
    async with world(tmp_path, config) as here, Receiver() as receiver:
        await here.subscribe(OWNER, receiver.url("bearer"), ["PROGRAM"], bearerToken="T0K3N")
        await here.subscribe(OWNER, receiver.url("none"), ["PROGRAM"])
        await here.put(programme())
        await until(lambda: len(receiver.calls) == 2)
    (bearer,), (none,) = receiver.at("bearer"), receiver.at("none")
    assert bearer.headers["Authorization"] == "Bearer T0K3N"
    assert "Authorization" not in none.headers
    for call, secret in ((bearer, b"T0K3N"), (none, b"shared secret")):
        at = call.headers["X-Notification-Timestamp"]
        assert abs(int(at) - time.time()) < 30
        digest = hmac.new(secret, f"{at}.".encode() + call.body, hashlib.sha256).hexdigest()
        assert call.headers["X-Notification-Signature"] == f"sha256={digest}"


async def test_a_receiver_that_is_down_is_tried_again_with_the_same_id_and_then_in_order(tmp_path: Path) -> None:
    tries = Counter[str]()

    def answer(path: str) -> int:
        tries[path] += 1
        return 503 if path == "bad" and tries[path] < 4 else 200

    async with world(tmp_path) as here, Receiver(answer) as receiver:
        await here.subscribe(OWNER, receiver.url("bad"), ["EVENT"])
        await here.subscribe(OWNER, receiver.url("good"), ["EVENT"])
        await here.put(programme(), event("e0"))
        for n in range(1, 5):
            await here.put(event(f"e{n}"))
        await until(lambda: len(receiver.calls) == 10)
        assert tries == {"good": 5, "bad": 8}
        assert not here.inbound.alarms
    for path in ("bad", "good"):
        assert [call.json["object"]["id"] for call in receiver.at(path)] == [f"e{n}" for n in range(5)]


async def test_a_receiver_that_stays_down_is_broken_and_comes_back_with_a_new_put(tmp_path: Path) -> None:
    up = False
    async with world(tmp_path, replace(QUICK, tries=3)) as here, Receiver(lambda path: 200 if up else 500) as receiver:
        held = await here.subscribe(OWNER, receiver.url(), ["EVENT"])
        await here.put(programme(), event("lost"))
        await until(lambda: here.inbound.alarms)
        ((peer, rule, detail),) = here.inbound.alarms
        assert (peer, rule) == ("utility", "openadr3.callback")
        assert "3 tries" in detail
        await until(lambda: here.subscriptions.get(held.id).broken)
        (dead,) = here.state.load("push.dead").values()
        assert '"id":"lost"' in dead["body"]
        assert [problem.rule for problem in here.push.problems] == ["openadr3.callback"]
    async with world(tmp_path) as here:  # a restart does not forget
        assert "given up" in here.push.webhooks.troubled[f"{held.id}/0"]
        up = True
        async with receiver:
            await here.put(event("missed"))
            held = here.subscriptions.get(held.id)
            await here.subscriptions.replace(held, held.version, held.value)
            await here.put(event("back"))
            await until(lambda: receiver.calls)
            await until(lambda: not here.state.load("push.dead"))
        assert not here.push.webhooks.troubled
    assert [call.json["object"]["id"] for call in receiver.calls] == ["back"]


async def test_receivers_that_accept_and_never_answer_disturb_nobody(tmp_path: Path) -> None:
    slow = replace(QUICK, timeout_s=30.0)
    async with world(tmp_path, slow) as here, Receiver(pause_s=lambda path: 60.0 * path.startswith("dead")) as receiver:
        for n in range(100):
            await here.subscribe(OWNER, receiver.url(f"dead{n}"), ["EVENT"])
            await here.subscribe(OWNER, receiver.url(f"good{n}"), ["EVENT"])
        began = time.monotonic()
        await here.put(programme(), *(event(f"e{n}") for n in range(5)))
        await until(lambda: len(receiver.calls) == 500)
        assert time.monotonic() - began < 8
        again = time.monotonic()
        await here.put(event("later"))
        await until(lambda: len(receiver.calls) == 600)
        assert time.monotonic() - again < 2
    per_path = Counter(call.path for call in receiver.calls)
    assert per_path == {f"good{n}": 6 for n in range(100)}


async def test_nothing_of_the_size_of_the_fan_out_is_written(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver() as receiver:
        for n in range(50):
            await here.subscribe(OWNER, receiver.url(f"r{n}"), ["EVENT"])
        await here.put(programme(), event())
        await until(lambda: len(receiver.calls) == 50)
        await until(lambda: here.state.load("push.mark").get("push.mark", {}).get("seq") == here.programmes.last)
        assert not here.state.load("push.route")


async def test_a_deleted_subscription_is_told_nothing_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Receiver(lambda path: 503) as receiver:
        held = await here.subscribe(OWNER, receiver.url(), ["EVENT"])
        await here.put(programme(), event())
        await until(lambda: here.push.webhooks.troubled)
        await here.subscriptions.remove(held)
        receiver.answer = lambda path: 200
        await here.put(event("later"))
        await until(lambda: here.is_quiet)
        assert not here.push.webhooks.troubled
    assert receiver.calls == []
    async with world(tmp_path) as here:
        await until(lambda: not here.state.load("push.route"))


async def test_what_was_not_delivered_before_a_stop_is_delivered_after_the_next_start(tmp_path: Path) -> None:
    async with Receiver(pause_s=lambda path: 5.0 * (path == "slow")) as receiver:
        async with world(tmp_path) as here:
            await here.subscribe(OWNER, receiver.url("slow"), ["EVENT"])
            await here.subscribe(OWNER, receiver.url("quick"), ["EVENT"])
            await here.put(programme(), event("before"))
            await until(lambda: receiver.at("quick"))
        receiver.pause_s = lambda path: 0.0
        async with world(tmp_path) as here:
            await here.subscribe(OWNER, receiver.url("new"), ["EVENT"])
            await until(lambda: receiver.at("slow"))
            await here.put(event("after"))
            await until(lambda: len(receiver.calls) >= 5)
    ids = {path: [call.json["object"]["id"] for call in receiver.at(path)] for path in ("slow", "quick", "new")}
    assert ids["slow"] == ["before", "after"]
    assert ids["new"] == ["after"]
    assert list(dict.fromkeys(ids["quick"])) == ["before", "after"]
    assert len({call.id for call in receiver.at("quick")}) == 2
