"""What a VEN keeps of a VTN, as documents that survive a restart. Keys begin with the peer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

from adapters.openadr2 import codec
from adapters.openadr2.model import EiEvent, OadrCreateOpt, OadrDistributeEvent, OadrEvent
from adapters.ports import Change, State
from datamodels import GridSignal, decode, encode

__all__ = ["Job", "Known", "Opt", "Record", "Registration", "change", "drop", "load"]


@dataclass(frozen=True, slots=True)
class Registration:
    """Our registration. `renew`: the VTN wants it anew; `ended`: it was cancelled, and only an operator begins another;
    `offered`: which reports the VTN was told of."""

    kind: ClassVar[str] = "vtn.registration"
    peer: str
    ven_id: str = ""
    registration_id: str = ""
    vtn_id: str = ""
    poll_s: float = 0.0
    renew: bool = False
    ended: bool = False
    offered: str = ""

    @property
    def key(self) -> str:
        return self.peer


@dataclass(frozen=True, slots=True)
class Known:
    """An event as last received, and what became of it. All times are wall-clock time.

    Args:
        body: the event, as a message of its own.
        code, why: what was wrong with it (200: nothing); such an event is answered, and has no effect.
        opt: what we said to it last; `said` is what our operators want said, whatever the configuration says.
        owed: requestID of the message that wants an answer to it; empty where none is owed.
        since: when this modification was taken.
        drawn_s: seconds by which its startafter moves it, drawn once per modification (rule 30).
        ends: when a cancellation takes effect; `implied`: it was cancelled by being left out (rule 61).
        begun: its beginning was told under an earlier modification.
        told: up to when its boundaries were told; of a `silent` one, which never has an effect, none are.
        revision: of the signals imposed for it, counted up with every change of them.
    """

    kind: ClassVar[str] = "vtn.event"
    peer: str
    id: str
    modification: int
    body: str
    since: datetime
    told: datetime
    code: int = 200
    why: str = ""
    opt: str = "optIn"
    said: str = ""
    owed: str = ""
    drawn_s: float = 0.0
    ends: datetime | None = None
    implied: bool = False
    begun: bool = False
    silent: bool = False
    revision: int = 0
    signals: tuple[GridSignal, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.peer}/{self.id}"

    @property
    def event(self) -> EiEvent:
        return self.wire.event

    @property
    def wire(self) -> OadrEvent:
        message = _read(self.body)
        assert isinstance(message, OadrDistributeEvent)
        return message.events[0]

    @property
    def raw(self) -> bytes:
        return self.body.encode()

    @property
    def is_test(self) -> bool:
        """Rule 6: any text other than "false" marks a test."""
        return self.event.descriptor.test_event not in (None, "", "false")


@dataclass(frozen=True, slots=True)
class Job:
    """A report that the VTN asked for (wall time). `back_s` 0: sent once, at `start`; `granularity_s` 0: as measured.

    `until` is up to when measurements were sent; `end` None: until it is cancelled. `name` METADATA: our offer again.
    `last`: it was cancelled, with one more report to follow.
    """

    kind: ClassVar[str] = "vtn.report"
    peer: str
    id: str
    specifier: str
    name: str
    points: tuple[str, ...]
    granularity_s: float
    back_s: float
    start: datetime
    until: datetime
    end: datetime | None = None
    sent: int = 0
    last: bool = False

    @property
    def key(self) -> str:
        return f"{self.peer}/{self.id}"


@dataclass(frozen=True, slots=True)
class Opt:
    """An opt of ours: `body` is its oadrCreateOpt. `sent` once the VTN has it; `ended` once we take it back."""

    kind: ClassVar[str] = "vtn.opt"
    peer: str
    id: str
    body: str
    sent: bool = False
    ended: bool = False

    @property
    def key(self) -> str:
        return f"{self.peer}/{self.id}"

    @property
    def message(self) -> OadrCreateOpt:
        message = _read(self.body)
        assert isinstance(message, OadrCreateOpt)
        return message


Record: TypeAlias = Registration | Known | Job | Opt
R = TypeVar("R", Registration, Known, Job, Opt)


def change(record: Record) -> Change:
    return Change(record.kind, record.key, cast("dict[str, Any]", encode(record)))


def drop(record: Record) -> Change:
    return Change(record.kind, record.key, None)


def load(state: State, cls: type[R], peer: str) -> dict[str, R]:
    """The records of a peer, by their own key without the peer's name."""
    found = [decode(document, cls) for document in state.load(cls.kind).values()]
    return {record.key.removeprefix(f"{peer}/"): record for record in found if record.peer == peer}


@lru_cache(maxsize=1024)
def _read(body: str) -> Any:
    return codec.decode(codec.payload_element(codec.read_tree(body.encode())))
