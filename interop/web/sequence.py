"""Conversations drawn as sequence diagrams: where each lane, arrow and text stands. Pure; a template draws it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from interop.web.views import Row

__all__ = ["Arrow", "Diagram", "Lane", "draw"]

_MARGIN, _TOP, _BETWEEN = 76, 44, {2: 300, 3: 230}
_LABEL, _META, _GAP, _LINE = 26, 15, 14, 14
_WRAP = 46
_REASON_LINES = 4


@dataclass(frozen=True, slots=True)
class Lane:
    """A party's life line at `x`."""

    x: int
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """A message, or the answer to one (`answer`), at height `y`, with text above and lines below."""

    y: int
    x1: int
    x2: int
    text: str
    lines: tuple[tuple[int, str], ...]
    tone: str = ""
    answer: bool = False
    target: str = ""

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
    y: int
    arrows: list[Arrow] = field(default_factory=list)

    def arrow(self, x1: int, x2: int, text: str, lines: Iterable[str], **more: Any) -> None:
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
    peers = list(dict.fromkeys(str(m.get("peer") or "unknown") for m in messages))
    names = [peers[0], own, *peers[1:]]
    between = _BETWEEN.get(len(names), 200)
    at = {name: _MARGIN + k * between for k, name in enumerate(names)}
    # A peer that bears our own name (a server that talks to itself in a test) still gets a lane of its own.
    own_x = _MARGIN + between
    peer_x = {peer: at[peer] if names.index(peer) != 1 else _MARGIN for peer in peers}
    adapters = {str(m.get("peer") or "unknown"): str(m.get("adapter") or "") for m in messages}
    lanes = tuple(
        Lane(_MARGIN + k * between, name, "this server" if k == 1 else adapters[name]) for k, name in enumerate(names)
    )
    pen = _Pen(_TOP)
    for message in messages:
        there = peer_x[str(message.get("peer") or "unknown")]
        x1, x2 = (there, own_x) if message.get("direction") == "in" else (own_x, there)
        signature = message.get("signature")
        meta = " · ".join(filter(None, [show_time(message.get("at")), f"signature {signature}" if signature else ""]))
        kind = str(message.get("kind") or "message")
        pen.arrow(x1, x2, kind, [meta], target=str(message.get("message_id") or ""))
        _answer(pen, x2, x1, message)
    return Diagram(
        width=2 * _MARGIN + between * (len(names) - 1),
        height=pen.y + 8,
        lanes=lanes,
        arrows=tuple(pen.arrows),
        summary=_summary(messages, own),
    )


def _answer(pen: _Pen, x1: int, x2: int, message: Row) -> None:
    accepted = message.get("accepted")
    if accepted is None:
        return
    reasons = [line for reason in message.get("reasons") or () for line in textwrap.wrap(str(reason), _WRAP)]
    if len(reasons) > _REASON_LINES:
        reasons = [*reasons[: _REASON_LINES - 1], "…"]
    text, tone = ("accepted", "good") if accepted else ("rejected", "bad")
    pen.arrow(x1, x2, text, reasons, tone=tone, answer=True)


def _summary(messages: Sequence[Row], own: str) -> str:
    def said(message: Row) -> str:
        peer, kind = message.get("peer") or "unknown", message.get("kind") or "message"
        ends = (peer, own) if message.get("direction") == "in" else (own, peer)
        outcome = {True: "accepted", False: "rejected"}.get(message.get("accepted"), "unanswered")  # type: ignore[arg-type]
        return f"{kind} from {ends[0]} to {ends[1]}, {outcome}"

    return "; ".join(map(said, messages))
