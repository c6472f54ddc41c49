"""The adapter: a VEN of one or more VTNs, and a VTN itself, to the hub as `Adapter`, `Messenger` and `Actuator`.

Limits come in on their own. Market messages to a grid operator that is reached here are said as far as the DER profile
has words for them: metering becomes the delivery report of the FLEX events it covers, an offer a flex delta.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from adapters.errors import Rejection
from adapters.openadr3 import mapping
from adapters.openadr3.client import VtnError
from adapters.openadr3.codec import decode, dumps, encode, loads, request
from adapters.openadr3.config import Config
from adapters.openadr3.link import ADAPTER, Link
from adapters.openadr3.members import Version
from adapters.openadr3.model import Report
from adapters.openadr3.records import newest_baseline
from adapters.openadr3.vtn.dispatching import Dispatching
from adapters.openadr3.vtn.server import Vtn
from adapters.ports import AdapterStatus, Delivery, DeliveryStatus, Encoded, History, Interpretation, Ports, Received
from datamodels import (
    Dispatch,
    FlexOffer,
    Loss,
    MarketMessage,
    Metering,
    Participant,
    Problem,
    Prognosis,
    Quality,
    Resource,
)

__all__ = ["OpenAdr3Adapter"]

_HINT = "reach this grid operator over UFTP for that"


class OpenAdr3Adapter:
    """Each VTN is followed by itself; one that is down disturbs no other. `vtn` is the one that we are, if any."""

    name = ADAPTER

    def __init__(self, config: Config, ports: Ports) -> None:
        self._ports = ports
        self._links = {vtn.peer: Link(vtn, ports) for vtn in config.vtns}
        self.vtn = Vtn(config.vtn, ports) if config.vtn is not None else None
        programmes = ports.programmes if config.vtn is not None else None
        self._dispatching = Dispatching(programmes, ports) if programmes is not None else None

    # --- Adapter ---

    async def start(self) -> None:
        """Take up what is durable, begin to look and to listen (OSError or ssl.SSLError: a TLS file cannot be used)."""
        for link in self._links.values():
            await link.start()
        if self.vtn is not None:
            await self.vtn.start()
        if self._dispatching is not None:
            await self._dispatching.start()

    async def stop(self) -> None:
        if self._dispatching is not None:
            await self._dispatching.stop()
        if self.vtn is not None:
            await self.vtn.stop()
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    def status(self) -> AdapterStatus:
        """Ready also while a VTN is down: what it said before is still obeyed."""
        stopped = [
            Problem("openadr3.task", peer, "the VTN is not followed any more", hint="see the log")
            for peer, link in self._links.items()
            if not link.running
        ]
        problems = [problem for link in self._links.values() for problem in link.problems]
        peers = {peer: link.state for peer, link in self._links.items()}
        served = self.vtn.status() if self.vtn is not None else AdapterStatus(True)
        return AdapterStatus(served.ready and not stopped, served.listening, (*stopped, *problems), peers)

    # --- Actuator ---

    async def apply(self, resource: Resource, dispatch: Dispatch) -> None:
        """See `vtn.dispatching` (Rejection: nobody is at the resource's address, or no VTN is configured)."""
        if self._dispatching is None:
            hint = "add [adapters.openadr3.vtn]"
            raise Rejection([Problem("openadr3.dispatch", resource.id, "no VTN is configured here", hint=hint)])
        await self._dispatching.apply(resource, dispatch)

    async def withdraw(self, dispatch: str) -> None:
        if self._dispatching is not None:
            await self._dispatching.withdraw(dispatch)

    # --- Messenger ---

    def interpret(self, received: Received, history: History) -> Interpretation:
        """What carries no limit (baselines, anchors, overrides) is recorded, and changes nothing in the market."""
        return Interpretation(None, needs_answer=False, refers_to=received.message_id or "", kind=received.kind)

    def encode(self, message: MarketMessage, recipient: Participant, history: History) -> Encoded:
        """Say it in the profile's words.

        Raises:
            Rejection: it has none for this message.
        """
        link = self._links.get(recipient.domain)
        word = _WORDS.get(type(message))
        if link is None or word is None:
            text = (
                f"no VTN of {recipient.domain} is configured" if link is None else "the DER profile has no such message"
            )
            raise Rejection([Problem("openadr3.encode", type(message).__name__, text, hint=_HINT)])
        return word(link, message)

    async def deliver(self, recipient: Participant, body: bytes) -> Delivery:
        """Hand a body to the VTN of the recipient, or keep it until the report it belongs to is whole."""
        link = self._links.get(recipient.domain)
        if link is None:
            return Delivery(DeliveryStatus.PERMANENT, detail=f"no VTN of {recipient.domain} is configured")
        said = loads(body)
        if "metering" in said:
            await link.meter(said["ean"], said["day"], said["metering"])
            return Delivery(DeliveryStatus.DELIVERED, detail="kept for the delivery report")
        if "report" not in said:
            return Delivery(DeliveryStatus.DELIVERED, detail="nothing to say in this profile")
        report = decode(request(Report, Version.V310), said["report"]).value
        assert report is not None, "it was encoded here"
        try:
            await link.send(report)
        except VtnError as error:
            status = DeliveryStatus.PERMANENT if error.is_final else DeliveryStatus.TEMPORARY
            return Delivery(status, error.code, str(error))
        return Delivery(DeliveryStatus.DELIVERED)


# --- words for market messages ------------------------------------------------------------------------------------


def _metering(link: Link, message: Metering) -> Encoded:
    power = message.power()
    digits = "".join(c for c in message.ean if c.isdigit())
    if power is None or not power.is_complete or len(digits) != 18:
        text = "a day of net power of a connection with an EAN18 is needed"
        raise Rejection([Problem("openadr3.metering", message.ean, text, hint="meter power or import and export")])
    start, _ = message.calendar.day_span(message.period)
    steps = {
        "start": start.isoformat(),
        "isp_s": message.calendar.isp // timedelta(seconds=1),
        "power_w": list(power.power_w),
    }
    losses = [Loss("revision", str(message.revision), "a delivery report is sent once")] if message.revision > 1 else []
    if message.quality is not Quality.GOOD:
        losses.append(Loss("quality", str(message.quality), "DELIVERED_FLEX says nothing of its quality"))
    body = {"ean": digits, "day": message.period.isoformat(), "metering": steps}
    return Encoded(dumps(body), tuple(losses))


def _offer(link: Link, message: FlexOffer) -> Encoded:
    group = link.group_at(message.congestion_point)
    baseline = newest_baseline(group, link.records.values()) if group else None
    if baseline is None:
        text = f"no group at {message.congestion_point} has a baseline event to answer"
        raise Rejection([Problem("openadr3.offer", message.head.message_id, text, hint=_HINT)])
    report, losses = mapping.flex_delta(baseline.event, link.config.ven_name, message)
    return Encoded(dumps({"report": encode(report, Version.V310)}), losses)


def _prognosis(link: Link, message: Prognosis) -> Encoded:
    why = "the DER profile has no prognosis: the grid operator's baseline stands in for it"
    return Encoded(dumps({}), (Loss("Prognosis", message.head.message_id, why),))


_WORDS: dict[type, Callable[[Link, Any], Encoded]] = {
    Metering: _metering,
    FlexOffer: _offer,
    Prognosis: _prognosis,
}
