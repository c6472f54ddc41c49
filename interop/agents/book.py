"""What outlives a restart: which agents there are (by hashed token), and what they were awarded."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from adapters.ports import Change, State

__all__ = ["Awarded", "Book", "Registered"]

_AGENT, _AWARD, _RESULT = "agent", "award", "result"
_OPEN = "given"


@dataclass(frozen=True, slots=True)
class Registered:
    """An agent that may connect. `point`: the congestion point behind which its home is."""

    id: str
    point: str


@dataclass(frozen=True, slots=True)
class Awarded:
    """`state`: given (sent, not confirmed), accepted, done or failed. `shares` by round, as in the message."""

    id: str
    agent: str
    negotiation: str
    period: str
    shares: dict[str, float]
    state: str = _OPEN
    reason: str = ""
    measured_w: tuple[int, ...] = ()


class Book:
    """Durable documents of the agents' server; every change is on disk when its call returns."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.agents: dict[str, Registered] = {}
        self._tokens: dict[str, str] = {}
        for id, value in state.load(_AGENT).items():
            self.agents[id] = Registered(id, value["point"])
            self._tokens[value["token_sha256"]] = id
        self.awards: dict[str, Awarded] = {
            id: Awarded(**value | {"measured_w": tuple(value["measured_w"])})
            for id, value in state.load(_AWARD).items()
        }
        self.results: dict[str, dict[str, Any]] = state.load(_RESULT)

    async def register(self, id: str, point: str) -> str:
        """Let an agent connect; its new token, which is kept here as a hash only. An earlier token ends."""
        token = secrets.token_urlsafe(32)
        digest = _digest(token)
        await self._state.commit(Change(_AGENT, id, {"point": point, "token_sha256": digest}))
        self._forget(id)
        self.agents[id] = Registered(id, point)
        self._tokens[digest] = id
        return token

    async def bar(self, id: str) -> None:
        """KeyError where there is no such agent."""
        del self.agents[id]
        self._forget(id)
        await self._state.commit(Change(_AGENT, id, None))

    def who(self, token: str) -> Registered | None:
        """The agent of a token."""
        return self.agents.get(self._tokens.get(_digest(token), ""))

    async def award(self, awards: Iterable[Awarded], negotiation: str, result: Mapping[str, Any]) -> None:
        """Keep the awards of a negotiation and its result, in one transaction."""
        given = list(awards)
        kept = [Change(_AWARD, a.id, asdict(a)) for a in given]
        await self._state.commit(*kept, Change(_RESULT, negotiation, result))
        self.awards |= {a.id: a for a in given}
        self.results[negotiation] = dict(result)

    async def inform(self, award: str, state: str, reason: str, measured_w: tuple[int, ...]) -> None:
        """Note what an agent says of its award (KeyError: there is none)."""
        known = self.awards[award]
        if (known.state, known.reason, known.measured_w) == (state, reason, measured_w) or (
            state == "accepted" and known.state == "done"
        ):
            return
        told = replace(known, state=state, reason=reason, measured_w=measured_w)
        await self._state.commit(Change(_AWARD, award, asdict(told)))
        self.awards[award] = told

    def unconfirmed(self, agent: str) -> list[Awarded]:
        """Awards that an agent has not answered yet."""
        return [a for a in self.awards.values() if a.agent == agent and a.state == _OPEN]

    def _forget(self, id: str) -> None:
        self._tokens = {digest: who for digest, who in self._tokens.items() if who != id}


def _digest(token: str) -> str:
    """Tokens are 256 random bits, so a plain hash cannot be reversed by guessing."""
    return hashlib.sha256(token.encode()).hexdigest()
