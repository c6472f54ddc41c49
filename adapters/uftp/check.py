"""What becomes of a payload: read it, apply every rule, translate. Pure, so that it also runs off line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from adapters import xml
from adapters.errors import TransportFault
from adapters.ports import History
from adapters.uftp import rules
from adapters.uftp.codec import InvalidMessage, decode
from adapters.uftp.elements import Element
from adapters.uftp.mapping import to_canonical
from adapters.uftp.schema import CANONICAL, MESSAGES, VERSIONS
from datamodels import (
    Acknowledgement,
    DsoPortfolioQuery,
    DsoView,
    Loss,
    MarketMessage,
    MarketTerms,
    Participant,
    Problem,
    Role,
    Severity,
    limits_of,
)

__all__ = ["Reading", "Verdict", "check", "check_payload", "read_payload"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A payload that is a valid UFTP message, and what had to be bent to read it."""

    element: Element
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one payload whose signature was good.

    `message` is the canonical message, None where there is none for this root or its content cannot be placed.
    """

    element: Element
    message: MarketMessage | None
    problems: tuple[Problem, ...]
    losses: tuple[Loss, ...]

    @property
    def kind(self) -> str:
        """Canonical kind of a request, else the root."""
        return CANONICAL.get(self.element.name, self.element.name)

    @property
    def needs_answer(self) -> bool:
        """Whether the standard wants a functional response with a Result."""
        name = self.element.name
        return not MESSAGES[name].answers and name != "TestMessage"

    @property
    def result(self) -> str | None:
        """`Accepted`, `Rejected`, `TestMessageResponse`, or None where no response follows."""
        if self.element.name == "TestMessage":
            return "TestMessageResponse"
        if not self.needs_answer:
            return None
        return "Rejected" if any(p.severity is Severity.ERROR for p in self.problems) else "Accepted"

    @property
    def reason(self) -> str:
        """All reasons as RejectionReason carries them."""
        return ";".join(rules.reasons(self.problems))


def read_payload(payload: bytes, sender: Participant | None, limits: xml.Limits = xml.DEFAULT_LIMITS) -> Reading:
    """Decode a payload by the schema, or under the sender's peer profile where it breaks the schema.

    Raises:
        TransportFault: 400 or 413, it is no UFTP message (`InvalidMessage` where it breaks the schema).
    """
    losses: tuple[Loss, ...] = ()
    try:
        element = decode(payload, limits)
    except InvalidMessage:
        if sender is None or not limits_of(sender.profile).reads_loosely:
            raise
        element = decode(payload, limits, lenient=True)
        how = f"read under peer profile {sender.profile}: it breaks the schema"
        losses = (Loss("schema", element.name, how),)
    if element.name == "SignedMessage":
        raise TransportFault(400, "uftp.root", "an envelope inside an envelope is no message")
    return Reading(element, losses)


def check_payload(
    payload: bytes,
    envelope_sender: str,
    role: Role,
    history: History,
    terms: MarketTerms,
    participants: Mapping[str, Participant],
    now: datetime,
    own_domain: str,
    own_role: Role,
    versions: tuple[str, ...] = VERSIONS,
    limits: xml.Limits = xml.DEFAULT_LIMITS,
) -> Verdict:
    """`read_payload`, then `check`; raises as the former."""
    reading = read_payload(payload, participants.get(envelope_sender), limits)
    return check(reading, envelope_sender, role, history, terms, participants, now, own_domain, own_role, versions)


def check(
    reading: Reading,
    envelope_sender: str,
    role: Role,
    history: History,
    terms: MarketTerms,
    participants: Mapping[str, Participant],
    now: datetime,
    own_domain: str,
    own_role: Role,
    versions: tuple[str, ...] = VERSIONS,
) -> Verdict:
    """Judge what `envelope_sender` sent as `role` (both from the envelope) to `own_domain` as `own_role`."""
    element, losses = reading.element, [*reading.losses]
    message: MarketMessage | None = None
    unplaced = ""
    try:
        message, lost = to_canonical(element, terms.calendar)
        message = _placed(message, history)
        losses.extend(lost)
    except (ValueError, OverflowError) as error:
        unplaced = str(error)
    context = rules.Context(
        element,
        MESSAGES[element.name],
        message,
        envelope_sender,
        role,
        own_domain,
        own_role,
        history,
        terms,
        participants,
        now,
        versions,
    )
    found = rules.check(context)
    if unplaced and not any(p.severity is Severity.ERROR for p in found):
        found.append(Problem("uftp.mapping", "/", unplaced, f"Invalid Message: {unplaced.replace(';', ',')}"))
    return Verdict(element, message, tuple(found), tuple(losses))


def _placed(message: MarketMessage | None, history: History) -> MarketMessage | None:
    """The message; a view of a place where nobody is connected does not name it, but the question does."""
    if not isinstance(message, Acknowledgement) or not isinstance(message.view, DsoView):
        return message
    asked = history.find(message.refers_to)
    if asked is None or not isinstance(asked.message, DsoPortfolioQuery) or message.view.congestion_point:
        return message
    return replace(message, view=replace(message.view, congestion_point=asked.message.congestion_point))
