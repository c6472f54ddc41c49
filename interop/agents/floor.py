"""Where agents and aggregator meet: a contract net over the connected agents, driven by column generation.

    open; per round: cfp (a price) -> propose (net power and cost, masked in groups); accept or reject -> inform

A group of at least k homes is one member of the negotiation: the aggregator adds up what its agents send, and only the
sum means anything. Whoever has not proposed by the deadline is planned around, with its whole group.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from interop.agents import wire
from interop.agents.book import Awarded, Book
from optimiser import Limits
from optimiser.columns import Agreement, Column, Member, Negotiation
from optimiser.masking import groups, signed, unmask
from optimiser.portfolio import FloatArray

__all__ = ["Busy", "Floor", "Request", "Session"]

log = logging.getLogger(__name__)
Alarm = Callable[[str, str, str], None]
"""(agent, rule, detail)"""


class Busy(Exception):
    """A negotiation is under way."""


class Socket(Protocol):
    async def send_str(self, data: str) -> None: ...


@dataclass(eq=False)
class Session:
    """A connected agent that has said hello."""

    id: str
    point: str
    socket: Socket
    key: str
    whole: bool
    least: int


@dataclass(frozen=True, eq=False)
class Request:
    """What to plan: limits on the sum of the agents' homes per congestion point (G,T) kW, for a local day.

    `least`: homes per group, 1 for unmasked answers of single homes. `patience_s`: what a round waits for its agents.
    """

    period: str
    isp_minutes: int
    points: Sequence[str]
    limits: Limits
    gap: float = 1e-3
    rounds: int = 120
    patience_s: float = 30.0
    least: int = 10


@dataclass(eq=False)
class _Party:
    """A member of the negotiation: agents that answer as one, and their answers to the present round."""

    member: Member
    agents: list[str]
    masked: bool
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: str = ""

    @property
    def complete(self) -> bool:
        return bool(self.refused) or len(self.answers) == len(self.agents)

    def column(self, isps: int) -> Column | None:
        """The sum of the answers; None where one is missing or does not fit."""
        if self.refused or len(self.answers) < len(self.agents):
            return None
        if self.masked:
            masked = [wire.unpack(answer.get("masked", "")) for answer in self.answers.values()]
            if any(len(words) != isps + 2 for words in masked):
                return None
            *net_w, cost, least = signed(unmask(masked))
        else:
            (answer,) = self.answers.values()
            if set(answer) != {"net_w", "cost_micro_eur", "least_micro_eur"} or len(answer["net_w"]) != isps:
                return None
            net_w, cost, least = answer["net_w"], answer["cost_micro_eur"], answer["least_micro_eur"]
        return Column(np.array(net_w, float) / 1000, cost / 1e6, least / 1e6)


@dataclass(eq=False)
class _Running:
    """The negotiation under way. `cfp` is the present round's call as sent."""

    id: str
    opened: dict[str, str]
    parties: dict[str, _Party]
    number: int = 0
    cfp: dict[str, str] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Floor:
    """Sessions, the negotiation under way, and awards. One negotiation at a time."""

    def __init__(self, book: Book, alarm: Alarm, heartbeat_s: float) -> None:
        self.book, self._alarm, self._heartbeat_s = book, alarm, heartbeat_s
        self.sessions: dict[str, Session] = {}
        self.messages = 0
        self._running: _Running | None = None
        self._informed = asyncio.Event()

    # --- agents -------------------------------------------------------------------------------------------------------

    async def enter(self, session: Session) -> None:
        """An agent said hello: it takes the place of an earlier connection of its own, and gets what it missed."""
        self.sessions[session.id] = session
        await self._send(
            session, wire.encode("welcome", agent=session.id, point=session.point, heartbeat_s=self._heartbeat_s)
        )
        running = self._running
        if running and session.id in running.opened:
            await self._send(session, running.opened[session.id])
            party = running.parties[session.id]
            if session.id in running.cfp and session.id not in party.answers:
                await self._send(session, running.cfp[session.id])
        for award in self.book.unconfirmed(session.id):
            await self._send(session, _accept(award))

    def leave(self, session: Session) -> None:
        if self.sessions.get(session.id) is session:
            del self.sessions[session.id]

    async def hear(self, session: Session, type: str, data: dict[str, Any]) -> None:
        """Act on a message of an agent (wire.Malformed: not one that an agent sends at this point)."""
        self.messages += 1
        if type == "propose":
            self._proposed(session, data)
        elif type == "refuse":
            self._refused(session, data)
        elif type == "inform":
            await self._inform(session, data)
        else:
            raise wire.Malformed(f"{type} is not expected from an agent now")

    def _proposed(self, session: Session, data: dict[str, Any]) -> None:
        running, negotiation, number = self._running, data.pop("negotiation"), data.pop("round")
        if running is None or negotiation != running.id or number != running.number or session.id not in running.cfp:
            self._alarm(session.id, "agents.late", f"a proposal for round {number} of {negotiation} came too late")
            return
        running.parties[session.id].answers.setdefault(session.id, data)
        self._look(running)

    def _refused(self, session: Session, data: dict[str, Any]) -> None:
        running = self._running
        if running and data["negotiation"] == running.id and session.id in running.parties:
            running.parties[session.id].refused = f"{session.id} refuses: {data['reason']}"
            self._look(running)

    async def _inform(self, session: Session, data: dict[str, Any]) -> None:
        award = self.book.awards.get(data["award"])
        if award is None or award.agent != session.id:
            raise wire.Malformed("inform names no award of this agent")
        await self.book.inform(award.id, data["state"], data.get("reason", ""), tuple(data.get("measured_w", ())))
        if data["state"] == "failed":
            self._alarm(session.id, "agents.failed", f"award {award.id}: {data.get('reason', '')}")
        self._informed.set()

    @staticmethod
    def _look(running: _Running) -> None:
        asked = {id: running.parties[id] for id in running.cfp}
        if all(party.complete for party in asked.values()):
            running.complete.set()

    async def _send(self, session: Session, frame: str) -> None:
        """Send; a connection that fails is found out by its reader."""
        try:
            await session.socket.send_str(frame)
            self.messages += 1
        except (ConnectionError, RuntimeError) as error:
            log.info("%s cannot be reached: %s", session.id, error)

    async def _tell(self, frames: Mapping[str, str]) -> None:
        known = [(self.sessions[id], frame) for id, frame in frames.items() if id in self.sessions]
        await asyncio.gather(*(self._send(session, frame) for session, frame in known))

    # --- a negotiation ------------------------------------------------------------------------------------------------

    async def negotiate(self, request: Request) -> dict[str, Any]:
        """Plan a day with the agents that are connected; the result, JSON-ready, as it is kept too.

        Raises:
            Busy: another negotiation is under way.
        """
        if self._running is not None:
            raise Busy("a negotiation is under way")
        began, before = time.monotonic(), self.messages
        parties, problems = self._parties(request)
        id = f"n-{secrets.token_hex(8)}"
        by_agent = {agent: party for party in parties for agent in party.agents}
        self._running = running = _Running(id, self._openings(id, request, parties), by_agent)
        try:
            await self._tell(running.opened)
            agreement = await self._rounds(running, request, parties)
            awards = self._awards(id, request, parties, agreement)
            result = _result(id, request, parties, agreement, problems)
            await self.book.award(awards, id, result)
            await self._close(running, parties, awards, request)
        finally:
            self._running = None
        states = [self.book.awards[award.id].state for award in awards]
        result |= {
            "confirmed": states.count("accepted") + states.count("done"),
            "unconfirmed": sorted(a.agent for a, state in zip(awards, states, strict=True) if state == "given"),
            "failed": sorted(a.agent for a, state in zip(awards, states, strict=True) if state == "failed"),
            "messages": self.messages - before,
            "seconds": round(time.monotonic() - began, 3),
        }
        await self.book.award([], id, result)
        return result

    def _parties(self, request: Request) -> tuple[list[_Party], list[str]]:
        """Agents by group, drawn anew each time, and who cannot take part."""
        parties: list[_Party] = []
        problems: list[str] = []
        for index, point in enumerate(request.points):
            here = [s for s in self.sessions.values() if s.point == point]
            secrets.SystemRandom().shuffle(here)
            here.sort(key=lambda s: s.whole)
            least = max([request.least, *(s.least for s in here if request.least > 1)])
            split = groups([s.id for s in here], least)
            if here and not split:
                problems.append(f"{point}: {len(here)} agents are connected, a group needs {least}: none was asked")
            for n, agents in enumerate(split):
                whole = any(self.sessions[id].whole for id in agents)
                name = agents[0] if least == 1 else f"{point}/{n}"
                parties.append(_Party(Member(name, index, whole), agents, least > 1))
        elsewhere = sorted({s.point for s in self.sessions.values()} - set(request.points))
        problems += [f"{point}: agents are connected there, but no limits were given" for point in elsewhere]
        return parties, problems

    def _openings(self, id: str, request: Request, parties: Sequence[_Party]) -> dict[str, str]:
        out: dict[str, str] = {}
        isps = request.limits.lo_kw.shape[1]
        for party in parties:
            keys = {agent: self.sessions[agent].key for agent in party.agents} if party.masked else {}
            frame = wire.encode(
                "open", negotiation=id, period=request.period, isps=isps, isp_minutes=request.isp_minutes, members=keys
            )
            out |= dict.fromkeys(party.agents, frame)
        return out

    async def _rounds(self, running: _Running, request: Request, parties: Sequence[_Party]) -> Agreement:
        """Ask and plan until the gap is reached; masters are solved outside the event loop."""
        talk = Negotiation([party.member for party in parties], request.limits, request.isp_minutes / 60)
        by_name = {party.member.id: party for party in parties}
        while not talk.round or (talk.round < request.rounds and talk.gap > request.gap and talk.asked):
            asked = [by_name[member.id] for member in talk.asked]
            await self._ask(running, request, talk.round, {p: talk.felt(p.member) for p in asked})
            answers = {p.member.id: p.column(talk.price.shape[1]) for p in asked}
            for party in asked:
                if answers[party.member.id] is None:
                    self._warn(party, talk.round)
            await asyncio.to_thread(talk.take, {name: c for name, c in answers.items() if c is not None})
        return await asyncio.to_thread(talk.agreement)

    async def _ask(self, running: _Running, request: Request, number: int, prices: Mapping[_Party, FloatArray]) -> None:
        """One round: send the prices, and wait until all have answered or time is up."""
        running.number, running.cfp, running.complete = number, {}, asyncio.Event()
        for party, price in prices.items():
            party.answers = {}
            frame = wire.encode(
                "cfp",
                negotiation=running.id,
                round=number,
                price_eur_per_kwh=price.tolist(),
                deadline_s=request.patience_s,
            )
            running.cfp |= dict.fromkeys(party.agents, frame)
        await self._tell(running.cfp)
        self._look(running)
        try:
            async with asyncio.timeout(request.patience_s):
                await running.complete.wait()
        except TimeoutError:
            log.info("round %d of %s: not all agents answered in time", number, running.id)

    def _warn(self, party: _Party, number: int) -> None:
        for agent in party.agents:
            if agent not in party.answers and not party.refused:
                lost = "is late" if agent in self.sessions else "is not connected any more"
                self._alarm(agent, "agents.silent", f"{lost} in round {number}; its group keeps its baseline")

    @staticmethod
    def _awards(id: str, request: Request, parties: Iterable[_Party], agreement: Agreement) -> list[Awarded]:
        out = []
        for party in parties:
            award = agreement.awards.get(party.member.id)
            if award is not None:
                shares = {str(number): round(share, 12) for number, share in award.shares.items()}
                out += [Awarded(f"{id}.{agent}", agent, id, request.period, shares) for agent in party.agents]
        return out

    async def _close(
        self, running: _Running, parties: Iterable[_Party], awards: Sequence[Awarded], request: Request
    ) -> None:
        """Tell everybody the outcome and wait for confirmations, as long as a round."""
        awarded = {award.agent: _accept(award) for award in awards}
        reject = wire.encode("reject", negotiation=running.id, reason="your group is planned with its baseline")
        others = {agent: reject for party in parties for agent in party.agents if agent not in awarded}
        running.cfp = {}
        await self._tell(awarded | others)
        deadline = time.monotonic() + request.patience_s
        waiting = {award.id for award in awards if award.agent in self.sessions}
        while waiting := {id for id in waiting if self.book.awards[id].state == "given"}:
            self._informed.clear()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    await self._informed.wait()
            except TimeoutError:
                for id in sorted(waiting):
                    self._alarm(self.book.awards[id].agent, "agents.unconfirmed", f"award {id} is not confirmed")
                return


def _accept(award: Awarded) -> str:
    return wire.encode(
        "accept", award=award.id, negotiation=award.negotiation, period=award.period, shares=award.shares
    )


def _result(
    id: str, request: Request, parties: Sequence[_Party], agreement: Agreement, problems: Sequence[str]
) -> dict[str, Any]:
    """The plan as people and scripts read it; powers in whole W per congestion point."""
    by_name = {party.member.id: party for party in parties}
    problems = [*problems]
    for kind, names in (("left out", agreement.left_out), ("absent", agreement.absent)):
        for name in names:
            party = by_name[name]
            silent = ", ".join(a for a in party.agents if a not in party.answers) or "an answer that does not fit"
            problems.append(f"{name} ({len(party.agents)} homes) is {kind}: {party.refused or silent}")
    beyond = bool((agreement.violation_kw > 1e-5 * np.maximum(1.0, np.abs(agreement.point_kw))).any())
    reached = agreement.gap <= request.gap
    return {
        "negotiation": id,
        "period": request.period,
        "status": ("limit_relaxed" if beyond else "optimal") if reached else "time_limit",
        "cost_eur": agreement.cost_eur,
        "bound_eur": agreement.bound_eur if np.isfinite(agreement.bound_eur) else None,
        "gap": agreement.gap if np.isfinite(agreement.gap) else None,
        "rounds": agreement.rounds,
        "agents": sum(len(party.agents) for party in parties),
        "groups": len(parties),
        "masked": all(party.masked for party in parties),
        "net_w": {p: np.rint(1000 * agreement.point_kw[g]).astype(int).tolist() for g, p in enumerate(request.points)},
        "violation_w": {
            p: np.rint(1000 * agreement.violation_kw[g]).astype(int).tolist() for g, p in enumerate(request.points)
        },
        "price_eur_per_kwh": {
            p: agreement.price_eur_per_kwh[g].round(6).tolist() for g, p in enumerate(request.points)
        },
        "problems": problems,
    }
