"""Conversations drawn as sequence diagrams: where each lane, arrow and text stands. Pure; a template draws it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from interop.web.conversations import Exchange, conversation_of, exchanges, refers_to
from interop.web.decode import decoded
from interop.web.views import Row

__all__ = ["Arrow", "Diagram", "Lane", "draw"]

_MARGIN, _TOP, _BETWEEN = 76, 42, 240
_LABEL, _META, _GAP, _LINE = 24, 14, 14, 13
_WRAP = 42
_MOST_LINES = 5
_MOST_GIST = 2


@dataclass(frozen=True, slots=True)
class Lane:
    """A party's life line at `x`."""

    x: int
    name: str
    note: str
    own: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """A message, or the answer to one, at height `y`: its name above, lines of (y, text) below.

    `tone` is "good" or "bad" for a verdict; `conversation` and the id of the `message` say where a click leads.
    """

    y: int
    x1: int
    x2: int
    text: str
    lines: tuple[tuple[int, str], ...]
    tone: str = ""
    answer: bool = False
    conversation: str = ""
    message: str = ""

    @property
    def middle(self) -> int:
        return (self.x1 + self.x2) // 2

    @property
    def head(self) -> str:
        """Path of the arrow's head."""
        back = -9 if self.x2 > self.x1 else 9
        return f"M{self.x2} {self.y}l{back} -4.5v9z"


@dataclass(frozen=True, slots=True)
class Diagram:
    """Everything that is drawn, in user units; `summary` is what a screen reader says."""

    width: int
    height: int
    lanes: tuple[Lane, ...]
    arrows: tuple[Arrow, ...]
    summary: str


@dataclass(slots=True)
class _Pen:
    y: int = _TOP
    arrows: list[Arrow] = field(default_factory=list)

    def arrow(self, x1: int, x2: int, text: str, lines: Sequence[str], **more: Any) -> None:
        self.y += _LABEL
        placed = tuple((self.y + _META + k * _LINE, line) for k, line in enumerate(lines))
        self.arrows.append(Arrow(self.y, x1, x2, text, placed, **more))
        self.y += _GAP + len(placed) * _LINE


def draw(messages: Sequence[Row], own: str, show_time: Callable[[Any], str]) -> Diagram | None:
    """Lay out messages (rows of `Views.messages`, oldest first); None where there is nothing to draw.

    This server stands second, so that with one peer the conversation reads from left to right.
    """
    if not messages:
        return None
    adapters = {_peer(m): str(m.get("adapter") or "") for m in messages}
    peers = list(adapters)
    columns = [peers[0], None, *peers[1:]]
    at = {name: _MARGIN + k * _BETWEEN for k, name in enumerate(columns)}
    lanes = tuple(
        Lane(x, own, "this server", own=True) if name is None else Lane(x, name, adapters[name], own=False)
        for name, x in at.items()
    )
    pen, said = _Pen(), exchanges(messages)
    for exchange in said:
        ends = at[_peer(exchange.message)], at[None]
        _exchange(pen, exchange, ends if exchange.message.get("direction") == "in" else ends[::-1], show_time)
    summary = "; ".join(_sentence(exchange, own) for exchange in said)
    return Diagram(2 * _MARGIN + _BETWEEN * (len(columns) - 1), pen.y + 8, lanes, tuple(pen.arrows), summary)


def _exchange(pen: _Pen, exchange: Exchange, ends: tuple[int, int], show_time: Callable[[Any], str]) -> None:
    message, answer = exchange.message, exchange.answer
    kind, where = str(message.get("kind") or "message"), conversation_of(message)
    tone = {True: "good", False: "bad", None: ""}[exchange.accepted]
    meta = _meta(message, exchange.trouble, show_time)
    if refers_to(message) is not None:
        pen.arrow(*ends, kind, [*meta, *_reasons(message)], tone=tone, answer=True, conversation=where)
        return
    gist = textwrap.wrap(decoded(message).gist, _WRAP)[:_MOST_GIST]
    pen.arrow(*ends, kind, [*gist, *meta], conversation=where, message=str(message.get("message_id") or ""))
    if exchange.accepted is not None:
        lines = [*(_meta(answer, Exchange(answer).trouble, show_time) if answer else ()), *_reasons(message)]
        text = "accepted" if exchange.accepted else "rejected"
        pen.arrow(*ends[::-1], text, lines, tone=tone, answer=True, conversation=where)


def _reasons(message: Row) -> list[str]:
    lines = [line for reason in message.get("reasons") or () for line in textwrap.wrap(str(reason), _WRAP)]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"]


def _meta(message: Row, trouble: str, show_time: Callable[[Any], str]) -> list[str]:
    signature = message.get("signature")
    first = " · ".join(filter(None, [show_time(message.get("at")), f"signature {signature}" if signature else ""]))
    return [first, *textwrap.wrap(trouble, _WRAP)]


def _peer(message: Row) -> str:
    return str(message.get("peer") or "unknown")


def _sentence(exchange: Exchange, own: str) -> str:
    message = exchange.message
    ends = [_peer(message), own] if message.get("direction") == "in" else [own, _peer(message)]
    verdict = {True: ", accepted", False: ", rejected", None: ", unanswered" if exchange.open else ""}[
        exchange.accepted
    ]
    return f"{message.get('kind') or 'message'} from {ends[0]} to {ends[1]}{verdict}"
