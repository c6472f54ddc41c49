"""The head that every market message shares, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from datamodels.portfolio import PortfolioView

__all__ = ["Acknowledgement", "Head"]


@dataclass(frozen=True, slots=True)
class Head:
    """Identity of a message. Ids are strings, never converted; `created` is UTC-aware.

    `version` is the wire version the sender used (or, on our own messages, the one the peer speaks).
    """

    sender: str
    recipient: str
    message_id: str
    conversation_id: str
    created: datetime
    version: str = "3.1.0"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The functional answer to a message: accepted, or rejected with every reason found.

    `refers_to` is the message id answered and `refers_kind` the canonical kind of that message. `details` carries
    what particular answers add (`{"order_reference": "disputed: …"}` for a settlement).
    """

    head: Head
    refers_to: str
    refers_kind: str
    accepted: bool
    reasons: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    view: PortfolioView | None = None
