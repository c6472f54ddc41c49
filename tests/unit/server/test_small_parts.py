"""The feed, the log format, the tap, plug-ins, and the peer table."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.ports import Direction
from datamodels import Participant, ParticipantStatus, Role
from interop import plugins
from interop.feed import Feed
from interop.logs import JsonFormatter, set_up
from interop.peers import Peers
from interop.store import Store
from interop.tap import Tap

NOW = datetime(2026, 5, 20, 10, 0, tzinfo=UTC)


async def test_subscribers_get_what_is_published_while_they_listen() -> None:
    feed = Feed()
    feed.publish("a", 1)
    with feed.subscribe() as first, feed.subscribe(2) as slow:
        for n in range(4):
            feed.publish("b", n)
        assert [await anext(first) for _ in range(4)] == [("b", n) for n in range(4)]
        assert [await anext(slow) for _ in range(2)] == [("b", 2), ("b", 3)]
        assert slow.lost == 2
    feed.publish("b", 9)
    assert (feed.latest("a"), feed.latest("b"), feed.latest("c"), feed.topics()) == (1, 9, None, ["a", "b"])


def test_a_log_line_is_json_with_its_context() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "it is %s", ("bad\n",), None)
    record.peer, record.message_id, record.irrelevant = "dso", "m1", "y"
    line = JsonFormatter().format(record)
    assert "\n" not in line
    data = json.loads(line)
    assert (data["level"], data["message"], data["peer"], data["message_id"]) == ("warning", "it is bad\n", "dso", "m1")
    assert "irrelevant" not in data
    assert "conversation_id" not in data


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ValueError: x" in json.loads(line)["exception"]


def test_the_log_goes_to_a_file_that_may_be_rotated_away(tmp_path: Path) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = tmp_path / "logs" / "x.jsonl"
    handler = set_up("info", file)
    try:
        logging.getLogger("gp.test").info("one")
        file.rename(tmp_path / "old")
        logging.getLogger("gp.test").info("two", extra={"peer": "dso"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()
    assert json.loads(file.read_text())["peer"] == "dso"
    assert json.loads((tmp_path / "old").read_text())["message"] == "one"


def test_the_tap_keeps_the_latest_and_tells_listeners() -> None:
    tap = Tap(lambda: NOW)
    heard: list[bytes] = []
    tap.listeners.append(lambda crossing: heard.append(crossing.raw))
    for n in range(600):
        tap("uftp", "dso", Direction.IN, "FlexRequest", b"%d" % n)
    assert len(tap.recent) == 500
    assert tap.recent[-1].raw == b"599"
    assert len(heard) == 600


def test_a_plugin_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(LookupError, match=r"no adapter is called 'nonsense'; installed: .*uftp"):
        plugins.load(plugins.ADAPTERS, "nonsense")


async def test_peers_added_and_barred_are_seen_at_once_and_after_a_restart(tmp_path: Path) -> None:
    feed = Feed()
    configured = [Participant("dso.example.org", Role.DSO), Participant("cro.example.org", Role.CRO)]
    store = await Store.open(tmp_path)
    peers = Peers(configured, store, feed, lambda: NOW)
    await peers.put(Participant("new.example.org", Role.DSO, "http://x/"))
    await peers.put(Participant("new.example.org", Role.DSO, "http://y/"))
    await peers.bar("dso.example.org")
    with pytest.raises(KeyError):
        await peers.bar("unknown")
    assert len(peers) == 3
    assert feed.latest("peer")["event"] == "peer.barred"
    assert [e.kind for e in await store.events()] == ["peer.added", "peer.changed", "peer.barred"]
    again = Peers(configured, store, feed, lambda: NOW)
    await again.load()
    assert again["new.example.org"].endpoint == "http://y/"
    assert again["dso.example.org"].status is ParticipantStatus.BARRED
    assert again["cro.example.org"].status is ParticipantStatus.ACTIVE
    await store.close()
