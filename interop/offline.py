"""Judging a UFTP payload without a server: what it would be answered, given what was said before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from typing import Any

from adapters import xml
from adapters.errors import TransportFault
from adapters.ports import Direction
from adapters.uftp import check_payload, envelope, rules
from adapters.uftp.codec import InvalidMessage, decode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical
from adapters.uftp.schema import MESSAGES
from datamodels import (
    Acknowledgement,
    CongestionPoint,
    Contract,
    MarketCalendar,
    MarketMessage,
    MarketTerms,
    OfferRevocation,
    Participant,
    Problem,
    Role,
    Severity,
)
from interop.effects import Put
from interop.market.book import MESSAGE, Book, Record

__all__ = ["Judged", "Setting", "assume", "judge"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Who judges, by what terms, among whom, and when (market time)."""

    domain: str
    role: Role
    terms: MarketTerms
    participants: Mapping[str, Participant]
    now: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """The HTTP status, the functional result (None where no answer follows), the reasons in it, and all problems."""

    http: int
    result: str | None
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    @property
    def is_good(self) -> bool:
        return self.http == 200 and not any(p.severity is Severity.ERROR for p in self.problems)

    def as_dict(self) -> dict[str, Any]:
        return {
            "http": self.http,
            "result": self.result,
            "reasons": list(self.reasons),
            "problems": [asdict(p) | {"severity": str(p.severity)} for p in self.problems],
        }


def judge(
    raw: bytes, history: Sequence[bytes], setting: Setting, sender: str = "", sender_role: Role | None = None
) -> Judged:
    """What a message would be answered.

    Args:
        raw: a payload, or an envelope; an envelope's signature is checked where its sender's keys are known.
        history: payloads or envelopes of what was said before, in order; the sender tells the direction. What came in
            counts as accepted unless an answer among them says otherwise, what went out as unanswered until one comes.
        sender, sender_role: what the envelope around a bare payload says, where that differs from the payload.

    Raises:
        ValueError: an earlier message cannot be read; it is named by its number.
    """
    book = _book(history, setting)
    try:
        payload, domain, role = _opened(raw, setting)
        verdict = check_payload(
            payload,
            sender or domain,
            sender_role or role,
            book,
            setting.terms,
            setting.participants,
            setting.now,
            setting.domain,
            setting.role,
        )
    except InvalidMessage as error:
        return Judged(error.code, None, (), tuple(error.problems))
    except TransportFault as error:
        return Judged(error.code, None, (), (Problem(error.rule, "/", error.message),))
    return Judged(200, verdict.result, tuple(rules.reasons(verdict.problems)), verdict.problems)


def assume(raws: Iterable[bytes], now: datetime, role: Role | None = None) -> Setting:
    """A setting out of the messages themselves, the one to be judged first: its recipient judges, in the `role` given
    or the only one that takes such messages; parties, congestion points and contracts are as the messages name them.

    Raises:
        ValueError: who judges, and as what, cannot be told.
    """
    elements = [element for raw in raws if (element := _try(raw)) is not None]
    if not elements:
        raise ValueError("the message cannot be read; say who judges it with a configuration")
    first, roles = elements[0], dict[str, Role]()
    for element in elements:
        spec = MESSAGES[element.name]
        for attribute, possible in (("SenderDomain", spec.senders), ("RecipientDomain", spec.recipients)):
            if len(possible) == 1:
                roles.setdefault(element[attribute], Role(next(iter(possible))))
    own = first["RecipientDomain"]
    held = role or roles.get(own)
    if held is None:
        raise ValueError(f"a {first.name} does not tell what {own} is; say --as ROLE")
    dsos = [d for d, r in (roles | {own: held}).items() if r is Role.DSO]
    agrs = [d for d, r in (roles | {own: held}).items() if r is Role.AGR]
    points = {m for e in elements if (m := e.get("CongestionPoint"))}
    contracts = {m for e in elements if (m := e.get("ContractID"))}
    terms = MarketTerms(
        MarketCalendar(),
        tuple(CongestionPoint(point, dso, date.min) for point in sorted(points) for dso in dsos[:1]),
        tuple(Contract(c, dso, agr) for c in sorted(contracts) for dso in dsos[:1] for agr in agrs[:1]),
    )
    peers = {domain: Participant(domain, r) for domain, r in roles.items() if domain != own}
    return Setting(own, held, terms, peers, now)


def _opened(raw: bytes, setting: Setting) -> tuple[bytes, str, Role]:
    """The payload, and who sent it as what (TransportFault)."""
    root = xml.parse(raw, xml.DEFAULT_LIMITS)
    if root.tag != "SignedMessage":
        domain = root.get("SenderDomain", "")
        known, spec = setting.participants.get(domain), MESSAGES.get(str(root.tag))
        if known is not None or spec is None:
            return raw, domain, known.role if known else Role.AGR
        return raw, domain, Role(min(spec.senders))
    sealed = envelope.read(raw)
    sender = setting.participants.get(sealed.sender_domain)
    if sender is not None and sender.keys:
        envelope.verify(sealed.body, sender.keys, setting.now)
    return sealed.payload, sealed.sender_domain, sealed.sender_role


def _try(raw: bytes) -> Element | None:
    try:
        element = decode(raw)
        return decode(envelope.read(raw).payload) if element.name == "SignedMessage" else element
    except TransportFault:
        return None


def _book(history: Sequence[bytes], setting: Setting) -> Book:
    book = Book()
    for number, raw in enumerate(history, 1):
        element = _try(raw)
        if element is None:
            raise ValueError(f"message {number} of the history is no UFTP message")
        try:
            message, _ = to_canonical(element, setting.terms.calendar)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"message {number} of the history: {error}") from error
        if message is not None:
            book.apply(_remembered(book, message, setting.domain))
    return book


def _remembered(book: Book, message: MarketMessage, own: str) -> list[Put]:
    head = message.head
    if isinstance(message, Acknowledgement):
        said = book.record(message.refers_to)
        return [Put(MESSAGE, message.refers_to, replace(said, accepted=message.accepted))] if said else []
    if head.sender == own:
        effects = [Put(MESSAGE, head.message_id, Record(Direction.OUT, head.recipient, message))]
    else:
        effects = [Put(MESSAGE, head.message_id, Record(Direction.IN, head.sender, message, accepted=True))]
    revoked = book.with_revocation(message.offer) if isinstance(message, OfferRevocation) else None
    return effects + ([revoked] if revoked else [])
