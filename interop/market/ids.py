"""Message ids that a crash cannot duplicate: derived from what the message is about, not drawn at random.

A desk that is killed between composing a message and making it durable composes it again after the restart. Because
the id is the same, the outbox takes it only once.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from datamodels import Head

__all__ = ["derived_id", "head", "reply_head"]

_NAMESPACE = uuid.UUID("6f5d5bfa-51a9-5f0b-9d5a-5a5d0e6e3a11")


def derived_id(*subject: object) -> str:
    """A UUID (version 5) that depends on `subject` alone."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in subject)))


def head(
    sender: str,
    recipient: str,
    now: datetime,
    *subject: object,
    conversation: str | None = None,
    version: str = "3.1.0",
) -> Head:
    """Head of a message about `subject`; without a `conversation` it opens one."""
    message_id = derived_id(sender, recipient, *subject)
    return Head(sender, recipient, message_id, conversation or derived_id(message_id, "conversation"), now, version)


def reply_head(request: Head, now: datetime) -> Head:
    """Head of the one answer to `request`: same conversation, same version, parties exchanged."""
    return Head(
        request.recipient,
        request.sender,
        derived_id(request.sender, request.message_id, "answer"),
        request.conversation_id,
        now,
        request.version,
    )
