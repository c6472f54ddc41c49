"""Who sent this, and where does that peer listen? Answered from what is known, else from a directory.

What operators listed is never looked up. What a directory said holds for its time. A signature that does not open leads
to one new look-up, because the sender may have rotated its keys. Nobody outside can cause more than a few look-ups a
second: failures are remembered, simultaneous questions are one, and strangers share one allowance.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from adapters.clock import Clock
from adapters.errors import TransportFault
from adapters.uftp import envelope
from adapters.uftp.bucket import Bucket
from adapters.uftp.discovery.base import Directory, DirectoryError, Found, Unavailable, Unlisted
from adapters.uftp.discovery.config import Admit, DiscoveryConfig
from datamodels import Participant, ParticipantKey, ParticipantStatus, Role

__all__ = ["Resolver"]

_MOST_REMEMBERED = 1024
_Place = tuple[str, Role]

log = logging.getLogger(__name__)


class Resolver:
    """Finds peers for one adapter.

    Args:
        participants: live; keys may rotate at any time.
        learn: see `adapters.ports.Ports`; None where nobody is to be discovered.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        directory: Directory,
        participants: Mapping[str, Participant],
        learn: Callable[[Participant], Awaitable[Participant]] | None,
        clock: Clock,
    ) -> None:
        self._config = config
        self._directory = directory
        self._participants = participants
        self._learn = learn
        self._clock = clock
        self._answers: OrderedDict[_Place, tuple[datetime, Found | DirectoryError]] = OrderedDict()
        self._running: dict[_Place, asyncio.Task[Found]] = {}
        self._refreshed: dict[_Place, datetime] = {}
        self._strangers = Bucket(config.lookups_per_s)

    async def close(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._directory.close()

    async def open(self, sealed: envelope.Envelope) -> tuple[Participant, bytes]:
        """The proved sender of an envelope, and its payload.

        Raises:
            TransportFault: 419, no key can be found for the sender; 401, none of its keys opens the body.
        """
        domain, role = sealed.sender_domain, sealed.sender_role
        sender = await self._sender(domain, role)
        try:
            payload = envelope.verify(sealed.body, sender.keys, self._clock.now())
        except TransportFault:
            fresh = await self._rotated(sender)
            if fresh is None:
                raise
            sender, payload = fresh, envelope.verify(sealed.body, fresh.keys, self._clock.now())
        if self._listed(domain) is None:
            sender = await self._take_up(sender)  # only now: it has proved to be whom the directory vouches for
        return sender, payload

    async def recipient(self, peer: Participant) -> Participant:
        """A peer with an address that holds now, as far as anybody knows one.

        Raises:
            DirectoryError: there was one, or there should be, but it cannot be found.
        """
        known = self._listed(peer.domain)
        if known is None:
            raise Unlisted(f"{peer.domain} may not speak with us any more")
        holds = known.endpoint_until is None or self._clock.now() < known.endpoint_until
        if (known.endpoint and holds) or self._learn is None:
            return known
        found = await self._look_up((known.domain, known.role))
        return await self._take_up(self._as_participant(known.domain, known.role, found))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _listed(self, domain: str) -> Participant | None:
        """A peer that may speak with us, as far as it is known already."""
        known = self._participants.get(domain)
        if known is None or (known.status is ParticipantStatus.DISCOVERED and self._config.admit is Admit.LISTED):
            return None
        return known

    async def _sender(self, domain: str, role: Role) -> Participant:
        known = self._listed(domain)
        barred = known is not None and known.status is ParticipantStatus.BARRED
        if known is not None and known.role is role and known.keys:
            now = self._clock.now()
            if self._learn is None or barred or any(key.is_valid(now) for key in known.keys):
                return known
        try:
            if known is None and self._config.admit is Admit.LISTED:
                raise Unlisted(f"{domain} is not listed")
            if known is not None and (barred or known.role is not role):
                raise Unlisted(f"{domain} is no {role} that may speak with us")
            found = await self._look_up((domain, role), stranger=known is None)
        except DirectoryError as error:
            log.info("no key of %s as %s: %s", domain, role, error)
            raise TransportFault(419, "uftp.sender", f"no key is known for this domain as {role}") from error
        sender = self._as_participant(domain, role, found)
        return sender if known is None else await self._take_up(sender)

    async def _rotated(self, sender: Participant) -> Participant | None:
        """The sender with keys that were not tried yet; None where there are none."""
        place, now = (sender.domain, sender.role), self._wall()
        last = self._refreshed.get(place)
        lately = last is not None and now - last < timedelta(seconds=self._config.refresh_s)
        listed_keys = all(key.not_after is None for key in sender.keys)
        if self._learn is None or lately or listed_keys or sender.status is ParticipantStatus.BARRED:
            return None
        stranger = self._listed(sender.domain) is None
        if len(self._refreshed) >= _MOST_REMEMBERED:
            self._refreshed.clear()
        self._refreshed[place] = now
        try:
            found = await self._look_up(place, anew=True, stranger=stranger)
        except DirectoryError:
            return None
        fresh = self._as_participant(sender.domain, sender.role, found)
        if not stranger:
            fresh = await self._take_up(fresh)
        tried = {key.public_key for key in sender.keys}
        return fresh if any(key.public_key not in tried for key in fresh.keys) else None

    async def _look_up(self, place: _Place, *, anew: bool = False, stranger: bool = False) -> Found:
        """Ask the directory, unless its last answer still holds. `anew` asks all the same."""
        until, answer = self._answers.get(place, (None, None))
        if until is not None and self._wall() < until and not anew:
            if isinstance(answer, Found):
                return answer
            assert answer is not None
            raise answer
        task = self._running.get(place)
        if task is None:
            if stranger and not self._strangers.take("", asyncio.get_running_loop().time()):
                raise Unavailable("too many strangers are looked up")
            task = self._running[place] = asyncio.create_task(self._ask(place), name=f"look up {place[0]}")
            task.add_done_callback(lambda _: self._running.pop(place, None))
        return await asyncio.shield(task)

    async def _ask(self, place: _Place) -> Found:
        try:
            # A name may be asked for several times, so a look-up may take longer than one question.
            async with asyncio.timeout(3 * self._config.timeout_s):
                found = await self._directory.find(*place)
        except TimeoutError:
            failure: DirectoryError = Unavailable("the directory does not answer in time")
        except DirectoryError as error:
            failure = error
        else:
            self._remember(place, found.expires, found)
            return found
        known = self._answers.get(place)
        if known is None or not isinstance(known[1], Found) or self._wall() >= known[0]:
            self._remember(place, self._wall() + timedelta(seconds=self._config.negative_s), failure)
        raise failure

    def _remember(self, place: _Place, until: datetime, answer: Found | DirectoryError) -> None:
        self._answers[place] = until, answer
        self._answers.move_to_end(place)
        while len(self._answers) > _MOST_REMEMBERED:
            self._answers.popitem(last=False)

    def _as_participant(self, domain: str, role: Role, found: Found) -> Participant:
        """What was found, in the words of the market; its time in market time."""
        until = self._clock.from_wall(found.expires)
        base = Participant(domain, role, status=ParticipantStatus.DISCOVERED)
        return replace(
            base,
            endpoint=found.endpoint,
            endpoint_until=until if found.endpoint else None,
            keys=tuple(ParticipantKey(key, None, until) for key in found.keys),
            uftp_versions=found.versions or base.uftp_versions,
        )

    async def _take_up(self, found: Participant) -> Participant:
        assert self._learn is not None
        return await self._learn(found)

    def _wall(self) -> datetime:
        return self._clock.to_wall(self._clock.now())
