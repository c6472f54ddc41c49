"""Both roles in one server: a VTN for our own VENs, and a VEN of utilities' VTNs."""

from __future__ import annotations

from adapters.openadr2.adapter import OpenAdr2Adapter
from adapters.openadr2.config import Config
from adapters.openadr2.ven.adapter import VenAdapter
from adapters.openadr2.ven.config import VtnConfig
from adapters.ports import AdapterStatus, Ports
from datamodels import Opt

__all__ = ["BothRoles"]


class BothRoles(OpenAdr2Adapter):
    """The VTN, and beside it the VEN (`ven`), which shares nothing with it but its ports."""

    def __init__(self, config: Config, vtns: tuple[VtnConfig, ...], ports: Ports) -> None:
        super().__init__(config, ports)
        self.ven = VenAdapter(vtns, ports)

    async def start(self) -> None:
        await super().start()
        await self.ven.start()

    async def stop(self) -> None:
        await self.ven.stop()
        await super().stop()

    async def opt_signal(self, peer: str, signal: str, opt: Opt, reason: str) -> bool:
        """See `adapters.ports.Opting`."""
        return await self.ven.opt_signal(peer, signal, opt, reason)

    def status(self) -> AdapterStatus:
        vtn, ven = super().status(), self.ven.status()
        return AdapterStatus(
            vtn.ready and ven.ready,
            (*vtn.listening, *ven.listening),
            (*vtn.problems, *ven.problems),
            {**vtn.peers, **ven.peers},
        )
