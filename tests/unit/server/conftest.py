"""A configuration on this test's folder, and servers that are stopped with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.ports import Actuator, AdapterStatus, Ports
from datamodels import Dispatch, Problem, Resource
from interop import plugins
from interop.config import Config, parse_config
from interop.desk import DeskContext, NoDesk
from interop.server import Server


class Wire:
    """An adapter that listens to nothing; it is an actuator, so that resources may be bound to it."""

    name = "wire"

    def __init__(self, options: dict[str, Any], ports: Ports) -> None:
        if "unknown" in options:
            raise ValueError("unknown key 'unknown'")
        self.ports = ports
        self.options = options
        self.ready = options.get("ready", True)
        self.life: list[str] = []

    async def start(self) -> None:
        if self.options.get("fail"):
            raise OSError("the port is taken")
        self.life.append("started")

    async def stop(self) -> None:
        self.life.append("stopped")

    def status(self) -> AdapterStatus:
        problems = () if self.ready else (Problem("wire.down", "wire", "nobody answers", hint="plug it in"),)
        return AdapterStatus(self.ready, ("127.0.0.1:1",), problems, {"ven1": "online"})

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        self.life.append(f"apply {dispatch.id}")

    async def withdraw(self, dispatch: str) -> None:
        self.life.append(f"withdraw {dispatch}")


class Thinker(NoDesk):
    """A desk that remembers its context and its life."""

    def __init__(self, options: dict[str, Any], context: DeskContext) -> None:
        super().__init__()
        self.options, self.context = options, context
        self.life: list[str] = []

    async def start(self) -> None:
        self.life.append("started")

    async def stop(self) -> None:
        self.life.append("stopped")


_: type[Actuator] = Wire


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter "wire" and the desk "thinker" are installed, and no pages."""
    ours = {(plugins.ADAPTERS, "wire"): Wire, (plugins.DESKS, "thinker"): Thinker}
    load, find = plugins.load, plugins.find
    monkeypatch.setattr(plugins, "load", lambda group, name: ours.get((group, name)) or load(group, name))
    monkeypatch.setattr(plugins, "find", lambda group: {} if group == plugins.PAGES else find(group))


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Config]:
    def make(**sections: Any) -> Config:
        server = {"http_listen": "127.0.0.1:0"} | sections.pop("server", {})
        data = {"server": server, "party": {"domain": "agr.example.org", "role": "AGR"}} | sections
        return parse_config(data, tmp_path, {})

    return make


@pytest.fixture
async def serve(configure: Callable[..., Config]) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    servers: list[Server] = []

    async def start(**sections: Any) -> Server:
        server = Server(configure(**sections))
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()
