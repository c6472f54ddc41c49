"""The agent of one home (in MAS2TERING's words the CEMS agent): it keeps the home's data and answers calls for
proposals.

What leaves this process is net power per ISP and two sums of money per price, and in a masked negotiation not even
that: only the sum over the group becomes known. Awards are written to a folder before they are confirmed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import math
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from interop.agents import wire
from interop.agents.home import Household
from optimiser.answering import InProcess
from optimiser.columns import Column
from optimiser.masking import LEAST, Circle, unsigned

__all__ = ["Agent", "Refused"]

log = logging.getLogger(__name__)
_FIRST_S, _LONGEST_S = 0.5, 60.0
_KEPT = 4
_DEVICES = ("battery_kw", "ev_kw", "hp_kw", "pv_kw", "net_kw")


class Refused(Exception):
    """The aggregator does not accept this agent; trying again is of no use."""


class _Socket(Protocol):
    async def send_str(self, data: str) -> None: ...


@dataclass(eq=False)
class _Talk:
    """One negotiation: `sent` holds the answers by round, so that a repeated call gets the same bytes again."""

    circle: Circle | None
    solver: InProcess
    sent: dict[int, str] = field(default_factory=dict)
    schedules: dict[int, Any] = field(default_factory=dict)


class Agent:
    """Answers for one home.

    Args:
        secret: identity for masks; its public half is told to the other members of a group.
        folder: where awards are written.
        least: smallest group in which it answers; 1 answers unmasked too.
        roster: if given, the only public keys by agent id that are trusted to be homes.
        meter: file with the measured W per ISP (JSON list), complete when the day is over.
    """

    def __init__(
        self,
        household: Household,
        secret: X25519PrivateKey,
        folder: Path,
        *,
        least: int = LEAST,
        roster: Mapping[str, bytes] | None = None,
        meter: Path | None = None,
    ) -> None:
        self.household, self.folder, self.least, self.roster, self.meter = household, folder, least, roster, meter
        self._secret = secret
        self._id = ""
        self._talks: dict[str, _Talk] = {}
        self.whole = len(household.portfolio.appliances) + len(household.portfolio.modes) > 0

    # --- connection ---------------------------------------------------------------------------------------------------

    async def run(self, url: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        """Stay connected until cancelled, with a growing pause after each failure.

        Raises:
            Refused: the token is wrong.
        """
        pause = _FIRST_S
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=10)) as session:
            while True:
                try:
                    options: dict[str, Any] = {} if tls is None else {"ssl": tls}
                    async with session.ws_connect(
                        url, headers=headers, max_msg_size=wire.LARGEST, heartbeat=30, **options
                    ) as socket:
                        await socket.send_str(self.hello())
                        if await self._converse(socket):
                            pause = _FIRST_S
                    log.info("the connection was closed (%s)", socket.close_code)
                except aiohttp.WSServerHandshakeError as error:
                    if error.status in (401, 403):
                        raise Refused(f"{url} answers {error.status}: the token is not valid there") from error
                    log.warning("%s answers %d", url, error.status)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.warning("no connection to %s: %s", url, error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, no secret
                pause = min(2 * pause, _LONGEST_S)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Until the connection ends; whether anything was said.

        Reading goes on while the home is planned, or heart-beats would go unanswered.
        """
        frames: asyncio.Queue[str] = asyncio.Queue()
        said = False
        worker = asyncio.create_task(self._work(frames, socket))
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                said = True
                frames.put_nowait(message.data)
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        return said

    async def _work(self, frames: asyncio.Queue[str], socket: aiohttp.ClientWebSocketResponse) -> None:
        """Handle messages in order; one that cannot be handled ends the connection."""
        try:
            while True:
                await self.handle(await frames.get(), socket)
        except asyncio.CancelledError:
            raise
        except Exception:  # whatever it was, the agent reconnects and its home stays as planned
            log.exception("a message could not be handled")
            await socket.close()

    def hello(self) -> str:
        key = base64.b64encode(self._secret.public_key().public_bytes_raw()).decode()
        return wire.encode("hello", key=key, whole=self.whole, least=self.least)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def handle(self, frame: str, socket: _Socket) -> None:
        """Act on a message (Malformed: it is none)."""
        type, data = wire.decode(frame)
        if type == "welcome":
            self._id = data["agent"]
            await self._report(socket)
        elif type == "open":
            await self._open(data, socket)
        elif type == "cfp":
            await self._propose(data, socket)
        elif type == "accept":
            await self._carry_out(data, socket)
        elif type == "reject":
            self._talks.pop(data["negotiation"], None)
            log.info("negotiation %s ends without us: %s", data["negotiation"], data["reason"])
        elif type == "error":
            log.error("the aggregator complains: %s", data["reason"])
        else:
            raise wire.Malformed(f"{type} is not for agents")

    async def _open(self, data: Mapping[str, Any], socket: _Socket) -> None:
        if data["negotiation"] in self._talks:
            return
        reason = self._unfit(data)
        circle = None
        if not reason and data["members"]:
            try:
                circle = self._circle(data)
            except ValueError as error:
                reason = str(error)
        if reason:
            log.warning("refusing negotiation %s: %s", data["negotiation"], reason)
            await socket.send_str(wire.encode("refuse", negotiation=data["negotiation"], reason=reason[:300]))
            return
        solver = await asyncio.to_thread(InProcess, self.household.portfolio, self.household.tariffs)
        self._talks[data["negotiation"]] = _Talk(circle, solver)
        for old in list(self._talks)[:-_KEPT]:
            del self._talks[old]

    def _unfit(self, data: Mapping[str, Any]) -> str:
        """Why the home does not take part; empty where it does."""
        home = self.household
        if data["isps"] != home.portfolio.isps or not math.isclose(data["isp_minutes"] / 60, home.portfolio.dt_h):
            return f"the home is planned in {home.portfolio.isps} ISPs of {60 * home.portfolio.dt_h:g} minutes"
        if home.period and data["period"] != home.period:
            return f"the home has data for {home.period} only"
        if not data["members"] and self.least > 1:
            return f"answers are given masked, among {self.least} homes or more"
        return ""

    def _circle(self, data: Mapping[str, Any]) -> Circle:
        members = {id: base64.b64decode(key) for id, key in data["members"].items()}
        if self.roster is not None:
            strange = sorted(id for id, key in members.items() if self.roster.get(id) != key)
            if strange:
                raise ValueError(f"{len(strange)} members are not on the roster, such as {strange[0]}")
        return Circle(self._id, self._secret, members, data["negotiation"], least=max(self.least, 2))

    async def _propose(self, data: Mapping[str, Any], socket: _Socket) -> None:
        talk = self._talks.get(data["negotiation"])
        if talk is None:
            return
        number = data["round"]
        if number not in talk.sent:
            price = np.array(data["price_eur_per_kwh"], float)
            if price.shape != (self.household.portfolio.isps,):
                raise wire.Malformed("cfp.price_eur_per_kwh has not one price per ISP")
            column, schedule = await asyncio.to_thread(talk.solver.solve, price)
            if number not in talk.sent:  # asked again meanwhile, over a new connection
                talk.schedules[number] = schedule
                talk.sent[number] = self._proposal(data, talk, column)
        await socket.send_str(talk.sent[number])

    @staticmethod
    def _proposal(data: Mapping[str, Any], talk: _Talk, column: Column) -> str:
        net_w = [round(1000 * float(v)) for v in column.net_kw]
        cost, least = round(1e6 * column.cost_eur), math.floor(1e6 * column.least_eur)
        head = {"negotiation": data["negotiation"], "round": data["round"]}
        if talk.circle is None:
            return wire.encode("propose", **head, net_w=net_w, cost_micro_eur=cost, least_micro_eur=least)
        # The price is part of the label: whoever is asked with another price than the rest sums to noise.
        told = hashlib.sha256(json.dumps(data["price_eur_per_kwh"]).encode()).hexdigest()
        masked = talk.circle.mask(unsigned([*net_w, cost, least]), f"{data['round']}:{told}")
        return wire.encode("propose", **head, masked=wire.pack(masked))

    # --- awards -------------------------------------------------------------------------------------------------------

    def _path(self, award: str) -> Path:
        return self.folder / f"{hashlib.sha256(award.encode()).hexdigest()[:24]}.json"

    async def _carry_out(self, data: Mapping[str, Any], socket: _Socket) -> None:
        path = self._path(data["award"])
        if not path.exists():
            talk = self._talks.get(data["negotiation"])
            shares = {int(number): share for number, share in data["shares"].items()}
            reason = self._impossible(talk, shares)
            if talk is None or reason:
                await socket.send_str(wire.encode("inform", award=data["award"], state="failed", reason=reason))
                return
            document = {"award": data["award"], "period": data["period"], "masked": talk.circle is not None}
            document |= self._schedule(talk, shares)
            await asyncio.to_thread(_write, path, document)
            del self._talks[data["negotiation"]]
        await socket.send_str(wire.encode("inform", award=data["award"], state="accepted"))

    def _impossible(self, talk: _Talk | None, shares: Mapping[int, float]) -> str:
        if talk is None:
            return "the agent was restarted since and does not know its proposals any more"
        if not shares or set(shares) - set(talk.schedules) or abs(sum(shares.values()) - 1) > 1e-6:
            return "the shares are not a mixture of this home's proposals"
        if self.whole and len(shares) > 1:
            return "this home carries out one of its proposals, not a mixture"
        return ""

    @staticmethod
    def _schedule(talk: _Talk, shares: Mapping[int, float]) -> dict[str, list[int]]:
        """Set points (T,) W of the home: the mixture of its schedules, which its devices can follow as well."""
        out = {}
        for name in _DEVICES:
            mixed = sum(share * getattr(talk.schedules[n], name).sum(axis=0) for n, share in shares.items())
            out[name.replace("_kw", "_w")] = [round(1000 * float(v)) for v in np.atleast_1d(mixed)]
        return out

    async def _report(self, socket: _Socket) -> None:
        """Tell what was measured of awards that are over (never of masked ones: it is the home's own)."""
        if self.meter is None or not self.meter.exists():
            return
        measured = json.loads(self.meter.read_text(encoding="utf-8"))
        for path in sorted(self.folder.glob("*.json")):
            award = json.loads(path.read_text(encoding="utf-8"))
            if len(measured) == len(award["net_w"]) and not award.get("done"):
                own: dict[str, Any] = {} if award["masked"] else {"measured_w": measured}
                await socket.send_str(wire.encode("inform", award=award["award"], state="done", **own))
                _write(path, award | {"done": True})


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(path)
