"""What was said, sorted for people: messages with the answers to them, conversations in short. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interop.web.views import Row

__all__ = ["Exchange", "Summary", "conversation_of", "exchanges", "refers_to", "settlement_in", "summaries"]

_ON_THE_WAY = {"NEW": "not read yet", "PENDING": "not delivered yet", "DEAD": "undeliverable", "FAILED": "failed"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message and, where there is one, the message that answers it."""

    message: Row
    answer: Row | None = None

    @property
    def accepted(self) -> bool | None:
        return _accepted(self.message)

    @property
    def open(self) -> bool:
        """A message of a trade that nobody has answered yet."""
        return self.accepted is None and bool(self.message.get("conversation_id")) and refers_to(self.message) is None

    @property
    def trouble(self) -> str:
        """Why a message is not where it should be; empty for one that is."""
        state = _ON_THE_WAY.get(str(self.message.get("state")), "")
        reason = str(self.message.get("reason") or "")
        return f"{state}: {reason}" if state and reason else state


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation in one line. `open` counts what nobody has answered."""

    id: str
    peers: tuple[str, ...]
    adapters: tuple[str, ...]
    last: Any
    kinds: tuple[str, ...]
    count: int
    accepted: int
    rejected: int
    open: int


def conversation_of(message: Row) -> str:
    """The conversation's id; where a protocol has none, all that is said with a peer is one conversation."""
    return str(message.get("conversation_id") or f"{message.get('adapter')}:{message.get('peer') or 'unknown'}")


def refers_to(message: Row) -> str | None:
    """Id of the message that this one answers; None for what is no answer."""
    content = message.get("message")
    if isinstance(content, dict) and content.get("$") == "Acknowledgement":
        return str(content.get("refers_to"))
    known = message.get("refers_to")
    return None if known is None else str(known)


def exchanges(messages: Sequence[Row]) -> list[Exchange]:
    """Messages in their order, each with its answer; an answer whose message is not among them stands alone."""
    answers = {about: m for m in messages if (about := refers_to(m)) is not None}
    ids = {m.get("message_id") for m in messages}
    return [
        Exchange(m, answers.get(str(m.get("message_id"))))
        for m in messages
        if (about := refers_to(m)) is None or about not in ids
    ]


def summaries(messages: Sequence[Row]) -> list[Summary]:
    """Conversations, the one with the latest message first."""
    grouped: dict[str, list[Row]] = {}
    for message in messages:
        name = conversation_of(message)
        rows = grouped.pop(name, [])
        rows.append(message)
        grouped[name] = rows
    return [_summary(name, rows) for name, rows in reversed(grouped.items())]


def settlement_in(messages: Sequence[Row], isp_hours: float) -> dict[str, Any] | None:
    """The latest settlement among messages, as topic `settlement` of the feed has it."""
    for message in reversed(messages):
        content = message.get("message")
        if isinstance(content, dict) and content.get("$") == "Settlement":
            return {"rows": [_settled(row, content.get("currency"), isp_hours) for row in content["rows"]]}
    return None


def _settled(row: Row, currency: Any, isp_hours: float) -> dict[str, Any]:
    ordered, delivered = (sum(abs(isp[key]) for isp in row["isps"]) for key in ("ordered_w", "delivered_w"))
    return {
        **{key: row[key] for key in ("order_reference", "price", "penalty", "net")},
        "currency": currency,
        "ordered_kwh": ordered * isp_hours / 1000,
        "delivered_kwh": delivered * isp_hours / 1000,
        "share": delivered / ordered if ordered else 1.0,
        "isps": [isp["isp"] for isp in row["isps"]],
    }


def _summary(name: str, messages: list[Row]) -> Summary:
    said = exchanges(messages)
    return Summary(
        id=name,
        peers=tuple(sorted({str(m.get("peer") or "unknown") for m in messages})),
        adapters=tuple(sorted({str(m.get("adapter")) for m in messages})),
        last=messages[-1].get("at"),
        kinds=tuple(dict.fromkeys(str(e.message.get("kind")) for e in said)),
        count=len(said),
        accepted=sum(e.accepted is True for e in said),
        rejected=sum(e.accepted is False for e in said),
        open=sum(e.open for e in said),
    )


def _accepted(message: Row) -> bool | None:
    verdict = message.get("accepted")
    return verdict if isinstance(verdict, bool) else None
