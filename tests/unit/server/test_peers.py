"""The peer table: an operator's word counts, a directory fills the gaps, keys rotate; also over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from datamodels import Participant, ParticipantKey, ParticipantStatus, Role
from interop.feed import Feed
from interop.peers import Peers
from interop.server import Server
from interop.store import Store

DSO = "dso.example.org"
NOW = datetime(2026, 5, 20, tzinfo=UTC)
UNTIL = NOW + timedelta(hours=1)
LISTED, FOUND, NEW = b"l" * 32, b"f" * 32, b"n" * 32
DISCOVERED = Participant(
    DSO,
    Role.DSO,
    "https://found.example.org/",
    (ParticipantKey(FOUND, None, UNTIL),),
    ("3.0.0",),
    status=ParticipantStatus.DISCOVERED,
    endpoint_until=UNTIL,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path)
    yield store
    await store.close()


async def _peers(store: Store, *listed: Participant) -> Peers:
    peers = Peers(listed, store, Feed(), lambda: NOW)
    await peers.load()
    return peers


@pytest.mark.parametrize(
    ("listed", "keys", "endpoint", "until"),
    [
        (Participant(DSO, Role.DSO), [FOUND], "https://found.example.org/", UNTIL),
        (Participant(DSO, Role.DSO, "https://said.example.org/"), [FOUND], "https://said.example.org/", None),
        (Participant(DSO, Role.DSO, "", (ParticipantKey(LISTED),)), [LISTED], "https://found.example.org/", UNTIL),
    ],
)
async def test_a_directory_fills_what_operators_left_open(
    store: Store, listed: Participant, keys: list[bytes], endpoint: str, until: datetime | None
) -> None:
    peers = await _peers(store, listed)
    learned = await peers.learn(DISCOVERED)
    for known in (learned, peers[DSO], (await _peers(store, listed))[DSO]):  # also after a restart
        assert [key.public_key for key in known.keys] == keys
        assert (known.endpoint, known.endpoint_until) == (endpoint, until)
        assert (known.status, known.uftp_versions) == (ParticipantStatus.ACTIVE, ("3.0.0",))


async def test_a_directory_cannot_change_a_listed_role(store: Store) -> None:
    listed = Participant(DSO, Role.DSO)
    peers = await _peers(store, listed)
    assert await peers.learn(replace(DISCOVERED, role=Role.AGR)) == listed


async def test_only_news_are_events(store: Store) -> None:
    peers = await _peers(store)
    later = replace(DISCOVERED, endpoint_until=UNTIL + timedelta(hours=1))
    for found in (DISCOVERED, later, replace(later, keys=(ParticipantKey(NEW, None, UNTIL),))):
        await peers.learn(found)
    assert [len(e.data["keys"]) for e in await store.events() if e.kind == "peer.discovered"] == [1, 1]
    assert peers[DSO].keys[0].public_key == NEW


async def test_what_a_directory_says_is_not_rotated_by_operators(store: Store) -> None:
    peers = await _peers(store, Participant("agr.example.org", Role.AGR))
    await peers.learn(DISCOVERED)
    with pytest.raises(ValueError, match="come from a directory"):
        await peers.rotate(DSO, NEW, timedelta(hours=1))
    with pytest.raises(ValueError, match="no key yet"):
        await peers.rotate("agr.example.org", NEW, timedelta(hours=1))


async def test_a_rotation_never_makes_a_key_last_longer(store: Store) -> None:
    """U-07."""
    soon = NOW + timedelta(minutes=5)
    keys = (ParticipantKey(b"o" * 32, None, NOW - timedelta(hours=1)), ParticipantKey(LISTED, None, soon))
    peers = await _peers(store, Participant(DSO, Role.DSO, "", keys))
    rotated = await peers.rotate(DSO, NEW, timedelta(hours=24))
    assert rotated.keys == (ParticipantKey(LISTED, None, soon), ParticipantKey(NEW, NOW))


async def test_keys_rotate_over_http(serve: Callable[..., Awaitable[Server]]) -> None:
    key = "A" * 43 + "="
    server = await serve(peers=[{"domain": DSO, "role": "DSO", "keys": [key]}])
    root = f"http://{server.http_address}/api/v1/peers"

    async def post(domain: str, body: Any) -> int:
        async with session.post(f"{root}/{domain}/keys", json=body) as response:
            return response.status

    async with aiohttp.ClientSession() as session:
        new = {"key": "B" * 42 + "A=", "overlap_h": 1}
        statuses = [await post(DSO, new), await post(DSO, new), await post("x.example.org", new)]
        assert statuses == [201, 409, 404]
        for bad in ({"key": "x"}, {"key": f"{key} {key}"}, {}, {"key": key, "overlap_h": -1}):
            assert await post(DSO, bad) == 422
        async with session.post(f"http://{server.http_address}/api/v1/uftp/messages", data=b"<x/>") as response:
            assert response.status == 409
            assert "no market desk" in await response.text()
    assert len(server.peers[DSO].keys) == 2
