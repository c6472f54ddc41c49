"""What becomes of one received message: the adapter says what it means, the desk decides, the step records both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.ports import Interpretation, Meaning, Messenger, Received
from datamodels import Acknowledgement, DispatchUpdate, GridSignal, Severity, decode, encode
from interop.desk import Desk
from interop.effects import Alarm, Effect, Log, Send
from interop.step import Step
from interop.store import Answer, Event, InboxMark, InboxRow, InboxState

__all__ = ["give_up", "settle"]


@dataclass(frozen=True, slots=True)
class _Decision:
    """`accepted` and `reasons` are the verdict on the message; `answer` is set where it is itself one."""

    effects: Sequence[Effect]
    kind: str
    message: Any = None
    accepted: bool | None = None
    reasons: tuple[str, ...] = ()
    answer: Acknowledgement | None = None


def settle(row: InboxRow, desk: Desk, messengers: Mapping[str, Messenger], step: Step) -> bool | None:
    """Fill a step with all that follows from an inbox row; returns the verdict on it, None where there is none.

    Raises whatever an adapter or the desk raises (a bug); the step is then worthless.
    """
    decision = _decide(row, desk, messengers, step)
    described = step.messages[f"in {row.seq}"] = _describe(row, decision, step)
    event = Event("message.in", step.now, described)
    said = decision.kind, decision.message, decision.accepted, decision.reasons
    step.marks.append(InboxMark(row.seq, InboxState.DONE, "", *said, event))
    if decision.answer is not None:
        answer = decision.answer
        step.answers.append(Answer(answer.refers_to, answer.accepted, answer.reasons))
    step.add(decision.effects)
    return decision.accepted


def give_up(row: InboxRow, error: Exception, step: Step) -> None:
    """Replace what is in the step by a record of the failure."""
    reason = f"{type(error).__name__}: {error}"
    step.clear()
    step.marks.append(InboxMark(row.seq, InboxState.FAILED, reason))
    step.add([Alarm("hub.failed", row.peer, f"{row.kind} {row.message_id or row.seq}: {reason}")])


def _decide(row: InboxRow, desk: Desk, messengers: Mapping[str, Messenger], step: Step) -> _Decision:
    content = decode(row.content)
    received = Received(
        row.adapter, row.peer, row.kind, row.raw, row.message_id, row.conversation_id, content, row.read
    )
    messenger = messengers.get(row.adapter)
    if content is None and messenger is not None:
        interpretation = messenger.interpret(received, desk.history)
        if row.conflict:
            effects = [_conflict(row), *desk.on_conflict(received, interpretation, step.now)]
            return _judged(row, interpretation, effects)
        effects = list(desk.on_message(row.peer, row.adapter, interpretation, received, step.now))
        return _judged(row, interpretation, effects)
    if row.conflict:
        return _Decision([_conflict(row)], row.kind, row.content, False, ("same id, other content",))
    if isinstance(content, Meaning):
        return _meant(content, received, desk, step)
    decided: Sequence[Effect] = ()
    if isinstance(content, GridSignal):
        decided = desk.on_signal(row.peer, row.adapter, content, step.now)
    elif isinstance(content, DispatchUpdate) and step.plan.update(content, step.now):
        decided = desk.on_dispatch_update(content, step.now)
    return _Decision(decided, row.kind, row.content)


def _meant(content: Meaning, received: Received, desk: Desk, step: Step) -> _Decision:
    """All that a message means, in one step: what it says to the market first, since its limit may end that."""
    peer, about = received.peer, {"peer": received.peer, "message_id": received.message_id}
    effects: list[Effect] = [
        Log("message.loss", about | {"field": loss.field, "value": loss.value, "why": loss.why})
        for loss in content.losses
    ]
    for message in content.messages:
        said = Interpretation(message, needs_answer=False, refers_to=message.head.message_id)
        effects += desk.on_message(peer, received.adapter, said, received, step.now)
    imposed = [signal for signal in (content.signal, *content.signals) if signal is not None]
    for signal in imposed:
        effects += desk.on_signal(peer, received.adapter, signal, step.now)
    if not content.messages:
        return _Decision(effects, received.kind, encode(imposed[0] if len(imposed) == 1 else imposed or None))
    first = content.messages[0]
    return _Decision(effects, type(first).__name__, encode(first), accepted=True)


def _conflict(row: InboxRow) -> Alarm:
    return Alarm("inbox.conflict", row.peer, f"{row.kind} {row.message_id} came again with other content")


def _judged(row: InboxRow, interpretation: Interpretation, effects: Sequence[Effect]) -> _Decision:
    """The verdict on a message: what we answer to it; for an answer, what the peer says in it."""
    message = interpretation.message
    errors = tuple(p.reason or p.message for p in interpretation.problems if p.severity is Severity.ERROR)
    accepted: bool | None = False if errors or row.conflict else None
    reasons, answer = errors, None
    if isinstance(message, Acknowledgement) and accepted is None:
        accepted, reasons, answer = message.accepted, message.reasons, message
    for effect in effects:
        if (
            isinstance(effect, Send)
            and isinstance(effect.message, Acknowledgement)
            and effect.message.refers_to == row.message_id
        ):
            accepted, reasons = effect.message.accepted, effect.message.reasons
    kind = interpretation.kind or row.kind
    return _Decision(effects, kind, None if message is None else encode(message), accepted, reasons, answer)


def _describe(row: InboxRow, decision: _Decision, step: Step) -> dict[str, Any]:
    described: dict[str, Any] = {
        "direction": "in",
        "adapter": row.adapter,
        "peer": row.peer,
        "kind": decision.kind,
        "message_id": row.message_id,
        "conversation_id": row.conversation_id,
        "at": step.now.isoformat(),
        "accepted": decision.accepted,
        "reasons": list(decision.reasons),
        "signature": "ok",
    }
    return described | ({"refers_to": decision.answer.refers_to} if decision.answer else {})
