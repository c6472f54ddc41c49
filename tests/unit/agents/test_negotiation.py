"""Agents and their server over loopback sockets: contract net, masks, silence, restarts, refusals."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from support.agents import DAY, Memory, agent, connected, homes, service, serving, until

from interop.agents import wire
from interop.agents.floor import Busy, Request
from optimiser import Limits, plan

ISPS = 8
PATIENCE = 20.0


def request(limits: Limits, **changes: Any) -> Request:
    options: dict[str, Any] = {"gap": 0.05, "rounds": 8, "patience_s": PATIENCE, "least": 1}
    return Request(DAY, 15, ["cp"], limits, **options | changes)


async def test_open_answers_reach_a_certified_plan_and_awards_are_on_disk(tmp_path: Path) -> None:
    households, limits, whole = homes(4, isps=ISPS)
    async with serving(least=1) as (found, inbound):
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=1) for n, h in enumerate(households)}
        async with connected(found, agents):
            result = await found.floor.negotiate(request(limits, gap=1e-3, rounds=60))
    best = plan(whole[0], limits, whole[1], gap=1e-6)
    assert result["gap"] <= 1e-3
    assert result["bound_eur"] <= best.cost_eur + 1e-5
    assert result["cost_eur"] == pytest.approx(best.cost_eur, rel=2e-3, abs=5e-3)
    assert result["confirmed"] == 4
    assert inbound.alarms == []
    net = np.zeros(ISPS)
    for n in range(4):
        (file,) = (tmp_path / str(n)).glob("*.json")
        award = json.loads(file.read_text())
        assert award["period"] == DAY
        battery, ev, hp, pv = (np.array(award[name]) for name in ("battery_w", "ev_w", "hp_w", "pv_w"))
        assert np.allclose(1000 * households[n].portfolio.load_kw[0] + battery + ev + hp - pv, award["net_w"], atol=3)
        net += award["net_w"]
    assert np.allclose(net, result["net_w"]["cp"], atol=4)


async def test_masked_groups_give_the_server_sums_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    households, limits, whole = homes(6, isps=ISPS)
    seen: list[dict[str, Any]] = []
    async with serving(least=3) as (found, _):
        hear = found.floor.hear

        async def listen(session: Any, type: str, data: dict[str, Any]) -> None:
            seen.append({"type": type, **data})
            await hear(session, type, data)

        monkeypatch.setattr(found.floor, "hear", listen)
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=3) for n, h in enumerate(households)}
        async with connected(found, agents):
            result = await found.floor.negotiate(request(limits, least=3, gap=0.2, rounds=12))
    assert result["masked"]
    assert result["groups"] == 2
    assert result["confirmed"] == 6
    proposals = [m for m in seen if m["type"] == "propose"]
    assert len(proposals) == 6 * result["rounds"]
    for proposal in proposals:
        assert set(proposal) == {"type", "negotiation", "round", "masked"}
        assert np.abs(wire.unpack(proposal["masked"]).view(np.int64).astype(float)).max() > 2**50
    best = plan(whole[0], limits, whole[1], gap=1e-6)
    assert result["bound_eur"] <= best.cost_eur + 1e-5
    assert result["cost_eur"] >= best.cost_eur - 1e-3


async def test_too_few_homes_for_a_group_are_not_asked(tmp_path: Path) -> None:
    households, limits, _ = homes(2, isps=ISPS)
    agents = {f"h{n}": agent(h, tmp_path / str(n)) for n, h in enumerate(households)}
    async with serving() as (found, _), connected(found, agents):
        result = await found.floor.negotiate(request(limits, least=10))
    assert result["agents"] == 0
    assert result["problems"] == ["cp: 2 agents are connected, a group needs 10: none was asked"]


async def test_an_agent_that_wants_a_larger_group_gets_one_and_refuses_to_speak_alone(tmp_path: Path) -> None:
    households, limits, _ = homes(3, isps=ISPS)
    async with serving(least=1) as (found, _):
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=3 if n == 0 else 1) for n, h in enumerate(households)}
        async with connected(found, agents):
            alone = await found.floor.negotiate(request(limits))
            group = await found.floor.negotiate(request(limits, least=2, rounds=2))
    assert any("h0 refuses: answers are given masked, among 3 homes" in p for p in alone["problems"])
    assert alone["confirmed"] == 2
    assert group["groups"] == 1
    assert group["agents"] == 3


async def test_an_agent_that_dies_or_is_late_is_planned_around_and_reported(tmp_path: Path) -> None:
    households, limits, _ = homes(4, isps=ISPS)
    async with serving(least=1) as (found, inbound):
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=1) for n, h in enumerate(households)}
        slow = asyncio.Event()
        propose = agents["h1"]._propose

        async def late(data: Any, socket: Any) -> None:
            if data["round"] == 1:
                await slow.wait()
            await propose(data, socket)

        agents["h1"]._propose = late  # type: ignore[method-assign]
        async with connected(found, agents) as tasks:
            ask = found.floor._ask

            async def kill(*arguments: Any) -> None:
                if arguments[2] == 2:
                    tasks["h2"].cancel()
                    await until(lambda: "h2" not in found.floor.sessions)
                await ask(*arguments)

            found.floor._ask = kill  # type: ignore[method-assign]
            result = await found.floor.negotiate(request(limits, patience_s=2.0, gap=1e-4, rounds=6))
            slow.set()
            await until(lambda: any(rule == "agents.late" for _, rule, _ in inbound.alarms))
    assert result["confirmed"] == 2
    assert result["gap"] is not None
    assert {(who, rule) for who, rule, _ in inbound.alarms} >= {("h1", "agents.silent"), ("h2", "agents.silent")}
    assert [p for p in result["problems"] if p.startswith("h1 (1 homes) is left out")]
    assert [p for p in result["problems"] if p.startswith("h2 (1 homes) is left out")]


async def test_a_lost_connection_is_resumed_within_the_round(tmp_path: Path) -> None:
    households, limits, _ = homes(3, isps=ISPS)
    async with serving(least=3) as (found, inbound):
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=3) for n, h in enumerate(households)}
        async with connected(found, agents):
            ask, cut = found.floor._ask, []

            async def disconnect(*arguments: Any) -> None:
                if arguments[2] == 1 and not cut:
                    cut.append(await found.floor.sessions["h1"].socket.close())  # type: ignore[attr-defined]
                await ask(*arguments)

            found.floor._ask = disconnect  # type: ignore[method-assign]
            result = await found.floor.negotiate(request(limits, least=3, gap=1e-6, rounds=3))
    assert cut
    assert result["rounds"] == 3
    assert result["confirmed"] == 3
    assert inbound.alarms == []


async def test_awards_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    households, limits, _ = homes(2, isps=ISPS)
    state = Memory()
    deaf = agent(households[0], tmp_path / "0", least=1)

    async def ignore(data: Any, socket: Any) -> None:
        return None

    hears, deaf._carry_out = deaf._carry_out, ignore  # type: ignore[method-assign]
    agents = {"h0": deaf, "h1": agent(households[1], tmp_path / "1", least=1)}
    async with serving(state, least=1) as (first, inbound):
        async with connected(first, agents):
            result = await first.floor.negotiate(request(limits, patience_s=1.5))
        assert result["unconfirmed"] == ["h0"]
        assert ("h0", "agents.unconfirmed") in {(who, rule) for who, rule, _ in inbound.alarms}
    deaf._carry_out = hears  # type: ignore[method-assign]
    async with serving(state, least=1) as (second, _):
        assert second.book.results[result["negotiation"]]["unconfirmed"] == ["h0"]
        async with connected(second, {"h0": deaf}):
            await until(lambda: second.book.awards[f"{result['negotiation']}.h0"].state == "accepted")
    assert list((tmp_path / "0").glob("*.json"))


async def test_a_restarted_agent_says_that_it_cannot_do_what_it_no_longer_knows(tmp_path: Path) -> None:
    households, limits, _ = homes(2, isps=ISPS)
    async with serving(least=1) as (found, inbound):
        agents = {f"h{n}": agent(h, tmp_path / str(n), least=1) for n, h in enumerate(households)}
        carry = agents["h0"]._carry_out

        async def forget(data: Any, socket: Any) -> None:
            agents["h0"]._talks.clear()
            await carry(data, socket)

        agents["h0"]._carry_out = forget  # type: ignore[method-assign]
        async with connected(found, agents):
            result = await found.floor.negotiate(request(limits))
    assert result["failed"] == ["h0"]
    assert ("h0", "agents.failed") in {(who, rule) for who, rule, _ in inbound.alarms}


async def test_what_was_measured_comes_back(tmp_path: Path) -> None:
    households, limits, _ = homes(1, isps=ISPS)
    meter = tmp_path / "meter.json"
    one = agent(households[0], tmp_path / "0", least=1, meter=meter)
    async with serving(least=1) as (found, _), connected(found, {"h0": one}):
        result = await found.floor.negotiate(request(limits))
        meter.write_text(json.dumps(list(range(ISPS))))
        await found.floor.sessions["h0"].socket.close()  # type: ignore[attr-defined]
        award = f"{result['negotiation']}.h0"
        await until(lambda: found.book.awards[award].state == "done")
        assert found.book.awards[award].measured_w == tuple(range(ISPS))


async def test_one_negotiation_at_a_time(tmp_path: Path) -> None:
    households, limits, _ = homes(1, isps=ISPS)
    agents = {"h0": agent(households[0], tmp_path / "0", least=1)}
    async with serving(least=1) as (found, _), connected(found, agents):
        first = asyncio.create_task(found.floor.negotiate(request(limits)))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await found.floor.negotiate(request(limits))
        await first


def test_an_agent_trusts_only_keys_on_its_roster(tmp_path: Path) -> None:
    households, _, _ = homes(1, isps=ISPS)
    keys = {f"h{n}": X25519PrivateKey.generate().public_key().public_bytes_raw() for n in range(2)}
    one = agent(households[0], tmp_path, least=2, roster=keys)
    one._id = "h0"
    encoded = {id: base64.b64encode(key).decode() for id, key in keys.items()}
    with pytest.raises(ValueError, match="does not hold 'h0' with its own key"):
        one._circle({"members": encoded, "negotiation": "n"})
    with pytest.raises(ValueError, match="1 members are not on the roster, such as spy"):
        one._circle({"members": encoded | {"spy": encoded["h1"]}, "negotiation": "n"})


# --- at the door --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, {}])
async def test_nobody_enters_without_a_token(headers: dict[str, str]) -> None:
    async with serving() as (found, inbound), aiohttp.ClientSession() as session:
        async with session.get(f"http://{found.address}/agents", headers=headers) as answer:
            assert answer.status == 401
        assert inbound.alarms[0][1] == "agents.token"


async def test_a_barred_or_renewed_agent_cannot_use_its_old_token() -> None:
    async with serving() as (found, _), aiohttp.ClientSession() as session:
        old = await found.book.register("h0", "cp")
        new = await found.book.register("h0", "cp")
        assert found.book.who(old) is None
        assert found.book.who(new) is not None
        await found.book.bar("h0")
        async with session.get(f"http://{found.address}/agents", headers={"Authorization": f"Bearer {new}"}) as answer:
            assert answer.status == 401


async def test_tokens_are_kept_as_hashes_only() -> None:
    state = Memory()
    found, _ = service(state)
    token = await found.book.register("h0", "cp")
    assert token not in json.dumps([[*list(k), v] for k, v in state.documents.items()])


HELLO = wire.encode("hello", key="A" * 43 + "=", whole=False, least=1)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["{}"], "v = 1"),
        ([wire.encode("refuse", negotiation="n", reason="x")], "not hello"),
        ([HELLO, HELLO], "not expected"),
        ([HELLO, wire.encode("inform", award="n.other", state="done")], "no award of this agent"),
        ([HELLO] + [wire.encode("refuse", negotiation="n", reason="x")] * 40, "too many messages"),
    ],
)
async def test_bad_messages_end_the_connection_with_a_reason_and_an_alarm(frames: list[str], reason: str) -> None:
    async with serving(messages_per_s=2) as (found, inbound), aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {await found.book.register('h0', 'cp')}"}
        async with session.ws_connect(f"ws://{found.address}/agents", headers=headers) as socket:
            for frame in frames:
                await socket.send_str(frame)
            texts = [m.data async for m in socket if m.type is aiohttp.WSMsgType.TEXT]
        kind, data = wire.decode(texts[-1])
        assert kind == "error"
        assert reason in data["reason"]
        assert inbound.alarms[-1][1] == "agents.message"
        await until(lambda: "h0" not in found.floor.sessions)


async def test_a_web_page_cannot_be_an_agent() -> None:
    async with serving() as (found, _), aiohttp.ClientSession() as session:
        token = await found.book.register("h0", "cp")
        headers = {"Authorization": f"Bearer {token}", "Origin": "http://elsewhere"}
        async with session.get(f"http://{found.address}/agents", headers=headers) as answer:
            assert answer.status == 403


async def test_there_is_a_most_of_agents() -> None:
    async with serving(most_agents=1) as (found, _), aiohttp.ClientSession() as session:
        headers = [{"Authorization": f"Bearer {await found.book.register(id, 'cp')}"} for id in ("h0", "h1")]
        async with session.ws_connect(f"ws://{found.address}/agents", headers=headers[0]) as socket:
            await socket.send_str(HELLO)
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await session.ws_connect(f"ws://{found.address}/agents", headers=headers[1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"listen": "0.0.0.0:8090"}, "set tls_certificate and tls_key"),
        ({"listen": "nowhere"}, "not host:port"),
        ({"tls_key": "k.pem"}, "belong together"),
        ({"least": 0}, "least must be"),
        ({"patience_s": 0}, "patience_s must be above 0"),
        ({"lest": 3}, "did you mean 'least'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        service(**options)
