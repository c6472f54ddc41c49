"""What a market message does to the book, for either party. One function, one table, no I/O.

Adapters have checked a message against the rules of its standard before it comes here; this is where it takes effect:
it is recorded, answered, and its answer is noted. What needs thought (a plan, an offer, an order) is left to the
party's desk, which finds it in the book.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from adapters.ports import Direction, Enclosed, Interpretation
from datamodels import (
    Acknowledgement,
    AgrPortfolioQuery,
    DsoPortfolioQuery,
    Head,
    MarketMessage,
    OfferRevocation,
    PortfolioView,
    Problem,
    Settlement,
    Severity,
)
from interop.effects import Alarm, Effect, Forward, Log, Put, Send
from interop.market.book import MESSAGE, Book, Record
from interop.market.ids import derived_id, reply_head

__all__ = ["DISPOSITION", "VIEW", "Judgement", "conflict", "forward", "kind_of", "react", "say"]

VIEW = "view"
"""Documents of this kind hold what a common reference operator answered, by the id of the question."""

DISPOSITION = "disposition"
"""Documents of this kind hold what an aggregator said of each row, by order reference, by the id of the settlement."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a desk adds to the standard's own verdict on a message.

    `problems` are further reasons to refuse it; `details` and `view` go into the answer; `effects` happen only where
    the message is accepted.
    """

    problems: tuple[Problem, ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    view: PortfolioView | None = None
    effects: tuple[Effect, ...] = ()


def kind_of(message: MarketMessage) -> str:
    """Canonical kind: the class name."""
    return type(message).__name__


def say(message: MarketMessage, until: datetime | None = None) -> list[Effect]:
    """Effects of saying something: it is recorded and goes to the outbox, where it is tried `until` then."""
    return [
        Put(MESSAGE, message.head.message_id, Record(Direction.OUT, message.head.recipient, message)),
        Send(message, until),
    ]


def forward(book: Book, adapter: str, recipient: str, enclosed: Enclosed) -> list[Effect]:
    """Effects of passing on what somebody else composed: recorded as said by us, with what it takes back, and sent."""
    message, effects = enclosed.message, list[Effect]()
    if message is not None and not isinstance(message, Acknowledgement):
        effects.append(Put(MESSAGE, enclosed.head.message_id, Record(Direction.OUT, recipient, message)))
    if isinstance(message, OfferRevocation):
        revoked = book.with_revocation(message.offer)
        effects += [revoked] if revoked else []
    return [*effects, Forward(adapter, recipient, enclosed)]


def react(
    book: Book,
    peer: str,
    interpretation: Interpretation,
    asked: Head,
    now: datetime,
    judgement: Judgement | None = None,
) -> list[Effect]:
    """Effects of a message from `peer`.

    `asked` is the head under which the message came, as far as the transport knows it. A message with an error is
    answered with every reason, to whom the transport has proved and not to whom the payload names, and otherwise
    changes nothing.
    """
    message = interpretation.message
    judgement = judgement or Judgement()
    problems = [*interpretation.problems, *judgement.problems]
    errors = [p for p in problems if p.severity is Severity.ERROR]
    notes: list[Effect] = [
        Log("message.loss", {"peer": peer, "field": loss.field, "value": loss.value, "why": loss.why})
        for loss in interpretation.losses
    ]
    if message is None:
        return [*notes, *_unusable(interpretation, peer, asked, errors, now)]
    if isinstance(message, Acknowledgement):
        return [*notes, *_answered(book, peer, message, errors)]
    if errors:
        proved = replace(message.head, sender=peer, recipient=asked.recipient)
        kind, view = kind_of(message), _blank(message)
        return [*notes, *_rejected(kind, proved, interpretation.needs_answer, errors, now, view)]
    head = message.head
    effects: list[Effect] = [
        *notes,
        Put(MESSAGE, book.key(Direction.IN, peer, head.message_id), Record(Direction.IN, peer, message, accepted=True)),
        Log("message.accepted", {"peer": peer, "kind": kind_of(message), "message_id": head.message_id}),
    ]
    if isinstance(message, OfferRevocation):
        revoked = book.with_revocation(book.key(Direction.IN, peer, message.offer))
        effects += [revoked] if revoked else []
    if isinstance(message, Settlement):
        effects.append(Put(DISPOSITION, head.message_id, dict(judgement.details)))
    effects += judgement.effects
    if interpretation.needs_answer:
        effects.append(
            Send(
                Acknowledgement(
                    reply_head(head, now),
                    head.message_id,
                    kind_of(message),
                    accepted=True,
                    details=judgement.details,
                    view=judgement.view,
                )
            )
        )
    return effects


def conflict(peer: str, message: MarketMessage | None, raw: bytes, now: datetime) -> list[Effect]:
    """A message id came again with other content, `raw`: refuse that under an id of its own, and alarm (UFTP 3.5)."""
    alarm = Alarm("message.conflict", peer, "a message id was used again with other content")
    if message is None or isinstance(message, Acknowledgement):
        return [alarm]
    stored_answer = reply_head(message.head, now)
    again = derived_id(stored_answer.message_id, hashlib.sha256(raw).hexdigest())
    answer = replace(stored_answer, message_id=again)
    refusal = Acknowledgement(
        answer,
        message.head.message_id,
        kind_of(message),
        accepted=False,
        reasons=("Duplicate Identifier",),
        view=_blank(message),
    )
    return [alarm, Send(refusal)]


def _answered(book: Book, peer: str, answer: Acknowledgement, errors: list[Problem]) -> list[Effect]:
    if errors:
        return [Alarm("answer.unusable", peer, "; ".join(map(str, errors)))]
    data = {
        "peer": peer,
        "kind": answer.refers_kind,
        "message_id": answer.refers_to,
        "accepted": answer.accepted,
        "reasons": list(answer.reasons),
    }
    noted = book.with_verdict(answer.refers_to, answer.accepted)
    if noted is None:
        return [Log("answer.ignored", data)]
    effects: list[Effect] = [noted, Log("message.answered", data)]
    if answer.accepted and answer.view is not None:
        effects.append(Put(VIEW, answer.refers_to, answer.view))
    if answer.accepted and answer.refers_kind == Settlement.__name__:
        effects += _disposed(peer, answer)
    if not answer.accepted:
        effects.append(
            Alarm("message.rejected", peer, f"our {answer.refers_kind} was rejected: {'; '.join(answer.reasons)}")
        )
    return effects


def _disposed(peer: str, answer: Acknowledgement) -> list[Effect]:
    """What an aggregator says of each row of a settlement; what it disputes is told to people."""
    effects: list[Effect] = [Put(DISPOSITION, answer.refers_to, dict(answer.details))]
    disputed = {order: text for order, text in answer.details if not text.startswith("Accepted")}
    if disputed:
        text = "; ".join(f"order {order}: {why}" for order, why in disputed.items())
        effects.append(Log("settlement.disputed", {"settlement": answer.refers_to, "peer": peer, "disputed": disputed}))
        effects.append(Alarm("settlement.disputed", peer, text))
    return effects


def _unusable(
    interpretation: Interpretation, peer: str, asked: Head, errors: list[Problem], now: datetime
) -> list[Effect]:
    """A message that has no canonical form: refused with its reasons where an answer is due."""
    if not errors:
        return []
    rules = ", ".join(p.rule for p in errors)
    alarm = Alarm("message.unusable", peer, f"{interpretation.kind or 'a message'} cannot be used: {rules}")
    return [alarm, *_rejected(interpretation.kind, asked, interpretation.needs_answer, errors, now)]


def _blank(message: MarketMessage) -> PortfolioView | None:
    """What a refused query is shown: nothing, but of the day that it asked for."""
    return message.blank if isinstance(message, AgrPortfolioQuery | DsoPortfolioQuery) else None


def _rejected(
    kind: str,
    head: Head,
    needs_answer: bool,
    errors: list[Problem],
    now: datetime,
    view: PortfolioView | None = None,
) -> list[Effect]:
    reasons = tuple(dict.fromkeys(_reason(p) for p in errors))
    data = {
        "peer": head.sender,
        "kind": kind,
        "message_id": head.message_id,
        "rules": [p.rule for p in errors],
        "reasons": list(reasons),
    }
    effects: list[Effect] = [Log("message.rejected", data)]
    if needs_answer:
        answer = Acknowledgement(
            reply_head(head, now), head.message_id, kind, accepted=False, reasons=reasons, view=view
        )
        effects.append(Send(answer))
    return effects


def _reason(problem: Problem) -> str:
    reason = problem.reason or "Invalid Message"
    return f"{reason}: {problem.message}" if problem.message else reason
