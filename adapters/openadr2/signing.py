"""Who must sign, and the two sides of it in a running party: opening what comes, sealing what goes.

Marks of the replay protection are durable documents of the adapter, one per signer.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime, timedelta

from lxml import etree

from adapters.errors import Rejection
from adapters.openadr2 import dsig
from adapters.openadr2.config import Config, Security
from adapters.openadr2.dsig import Seal, Signer
from adapters.openadr2.replay import Replays
from adapters.ports import Change, State
from datamodels import Problem

__all__ = ["Signing"]

_MARK = "signature_mark"


class Signing:
    """Signatures of one party.

    Raises:
        OSError, ValueError: the signing key cannot be read or used.
    """

    def __init__(self, config: Config, state: State) -> None:
        self._state = state
        self._listener = config.security
        self._levels = {v.ven_name: v.security for v in config.vens if v.security is not Security.LISTENER}
        self._signer = Signer.read(*config.signing_files) if config.signing_files else None
        marks = {key: datetime.fromisoformat(str(d["until"])) for key, d in state.load(_MARK).items()}
        self._replays = Replays(timedelta(seconds=config.signature_tolerance_s), marks)

    def level(self, ven_name: str) -> Security:
        """The level that holds for a VEN, or for a stranger that gives itself that name."""
        return self._levels.get(ven_name, self._listener)

    def concerns(self, root: etree._Element) -> bool:
        """Whether a message has to be looked at: it is signed, or some VEN must sign."""
        return self._signer is not None or dsig.is_signed(root)

    def opened(self, root: etree._Element, ven_name: str, trusted: Container[str]) -> Seal | Problem | None:
        """The seal of a message, None where it has and needs none, or what is wrong with it."""
        if self.level(ven_name) is not Security.HIGH and not dsig.is_signed(root):
            return None
        try:
            return dsig.verify(root, trusted)
        except Rejection as error:
            return error.problems[0]

    async def admit(self, seal: Seal) -> Problem | None:
        """Whether a sealed message may be taken: what speaks against it, or None, and then a repetition of it is
        refused from now on, also after a restart. One signer's messages come one after the other.
        """
        try:
            mark = self._replays.admit(seal, datetime.now(UTC))
        except Rejection as error:
            return error.problems[0]
        if mark is not None:
            await self._state.commit(Change(_MARK, seal.fingerprint, {"until": mark.isoformat()}))
        return None

    def signed(self, body: bytes, ven_name: str) -> bytes:
        """A message as it goes to a VEN of that name."""
        if self._signer is None or self.level(ven_name) is not Security.HIGH:
            return body
        return self._signer.sign(body, datetime.now(UTC))
