"""The VEN as adapter: every VTN is followed by itself, and one that is down disturbs no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from adapters.openadr2 import codec
from adapters.openadr2.ven.book import ADAPTER
from adapters.openadr2.ven.config import VtnConfig
from adapters.openadr2.ven.link import Link
from adapters.ports import AdapterStatus, Ports
from datamodels import Opt, Problem

__all__ = ["VenAdapter"]


class VenAdapter:
    """A VEN of one or more VTNs; `links` by the participant that each VTN speaks for."""

    name = ADAPTER

    def __init__(self, vtns: tuple[VtnConfig, ...], ports: Ports) -> None:
        self.links: Mapping[str, Link] = {vtn.peer: Link(vtn, ports) for vtn in vtns}

    async def start(self) -> None:
        """Take up what is durable, begin (OSError or ssl.SSLError: a TLS file or an address cannot be used)."""
        codec.schema()
        for link in self.links.values():
            await link.start()

    async def stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self.links.values()))

    async def opt_signal(self, peer: str, signal: str, opt: Opt, reason: str) -> bool:
        """See `adapters.ports.Opting`."""
        link = self.links.get(peer)
        return link is not None and await link.opt_signal(signal, opt, reason)

    def status(self) -> AdapterStatus:
        """Ready also while a VTN is down: what it said before is still obeyed."""
        stopped = [
            Problem("oadr.task", peer, "the VTN is not followed any more", hint="see the log")
            for peer, link in self.links.items()
            if not link.running
        ]
        listening = tuple(address for link in self.links.values() for address in link.listening)
        peers = {peer: link.state for peer, link in self.links.items()}
        return AdapterStatus(not stopped, listening, tuple(stopped), peers)
