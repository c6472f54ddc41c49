"""Messages as they cross the wire to and from one VTN: signed where the configuration says so (rule 514), and read.

Order of what comes: parse, signature over the tree as it came, mending by the lenient profile, schema, decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters import xml
from adapters.openadr2 import codec, dsig, lenient
from adapters.openadr2.config import Profile
from adapters.openadr2.dsig import Seal, Signer
from adapters.openadr2.model import Payload
from adapters.openadr2.replay import Replays
from adapters.openadr2.ven.config import VtnConfig
from adapters.ports import Change, State

__all__ = ["SIZE", "Deviates", "Sealing", "Taken"]

SIZE = 8 * 1024 * 1024
_MARK = "vtn.signature_mark"
Deviates = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was read: its kind, what it says, and its seal, which is still to be admitted."""

    kind: str
    payload: Payload
    seal: Seal | None


class Sealing:
    """Both directions of one VTN. `deviates` is told what the lenient profile forgives (kind, what)."""

    def __init__(self, config: VtnConfig, state: State, deviates: Deviates) -> None:
        self._config = config
        self._state = state
        self._deviates = deviates
        self._signer: Signer | None = None
        self._replays = Replays(timedelta(seconds=config.signature_tolerance_s), {})

    def start(self) -> None:
        """Read keys, and what of replays is durable (OSError, ValueError: a key cannot be read or used)."""
        config = self._config
        if not config.signed:
            return
        self._signer = Signer.read(*map(Path, config.signing_files))
        known = self._state.load(_MARK)
        marks = {
            key.rpartition("/")[2]: datetime.fromisoformat(d["until"]) for key, d in known.items() if self._ours(key)
        }
        self._replays = Replays(timedelta(seconds=config.signature_tolerance_s), marks)

    def _ours(self, key: str) -> bool:
        return key.rpartition("/")[0] == self._config.peer

    def seal(self, payload: Payload) -> bytes:
        """A message as it is sent."""
        body = codec.encode(payload)
        return body if self._signer is None else self._signer.sign(body, datetime.now(UTC))

    def read(self, body: bytes) -> Taken:
        """A message as it came.

        Raises:
            TransportFault: it cannot be read or is invalid.
            Rejection: its signature is not that of the VTN (463), or it holds a value nobody can use.
        """
        root = codec.read_tree(body, xml.Limits(size=SIZE))
        seal = dsig.verify(root, {self._config.signer}) if self._config.signed else None
        if self._config.profile is Profile.LENIENT and len(root) and len(root[-1]):
            element = root[-1][0]
            for deviation in lenient.normalise(element):
                self._deviates(codec.kind_of(element), deviation)
        codec.check_schema(root)
        element = codec.payload_element(root)
        return Taken(codec.kind_of(element), codec.decode(element), seal)

    async def admit(self, taken: Taken) -> None:
        """Take a message: a repetition of it is refused from now on, also after a restart (Rejection: it is one)."""
        if taken.seal is None:
            return
        mark = self._replays.admit(taken.seal, datetime.now(UTC))
        if mark is not None:
            key = f"{self._config.peer}/{taken.seal.fingerprint}"
            await self._state.commit(Change(_MARK, key, {"until": mark.isoformat()}))
