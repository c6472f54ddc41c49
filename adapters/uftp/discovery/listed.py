"""The static directory: who is listed is known, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from adapters.uftp.discovery.base import Found, Unlisted
from datamodels import Participant, Role

__all__ = ["Listed"]

_FOREVER = datetime.max.replace(tzinfo=UTC)


class Listed:
    """Answers from the participants that operators listed."""

    def __init__(self, participants: Mapping[str, Participant]) -> None:
        self._participants = participants

    async def find(self, domain: str, role: Role) -> Found:
        known = self._participants.get(domain)
        if known is None or known.role is not role or not known.keys:
            raise Unlisted(f"no key is listed for {domain} as {role}")
        return Found(tuple(key.public_key for key in known.keys), known.endpoint, known.uftp_versions, _FOREVER)

    async def close(self) -> None:
        return None
