"""The adapter: market messages over UFTP, to the hub as both `Adapter` and `Messenger`."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import uuid

from adapters import xml
from adapters.errors import Rejection, TransportFault
from adapters.ports import (
    AdapterStatus,
    Delivery,
    DeliveryStatus,
    Direction,
    Enclosed,
    Encoded,
    History,
    Interpretation,
    Ports,
    Received,
)
from adapters.tls import server_context
from adapters.uftp import envelope
from adapters.uftp.access import Access, Credentials
from adapters.uftp.check import Reading, check, read_payload
from adapters.uftp.client import Client
from adapters.uftp.codec import InvalidMessage, decode, encode
from adapters.uftp.config import UftpConfig
from adapters.uftp.discovery import DirectoryError, Provider, Resolver, Unlisted, make_directory
from adapters.uftp.elements import Element
from adapters.uftp.keyfile import KeyFile
from adapters.uftp.mapping import to_canonical, to_wire
from adapters.uftp.profiles import obey
from adapters.uftp.schema import CANONICAL, MESSAGES
from adapters.uftp.server import NAME, Accepted, Server
from datamodels import Acknowledgement, Head, MarketMessage, Participant, ParticipantStatus, Problem

__all__ = ["UftpAdapter"]

_TEST_ANSWER = uuid.UUID("6f5b0e2e-3a58-4f0c-9a53-5d1a1b6e7c11")
_TEST_TRIES_S = (0.0, 1.0, 5.0)

log = logging.getLogger(__name__)


class UftpAdapter:
    """One participant's end of UFTP. Participants are looked up at each message: keys may rotate at any time."""

    name = NAME

    def __init__(self, config: UftpConfig, ports: Ports) -> None:
        """Read keys, certificates and secrets.

        Raises:
            OSError, ValueError: one of them is missing or does not hold what it should.
        """
        self.config = config
        self._ports = ports
        self._keys = KeyFile(config.signing_key_file)
        tls = None
        if config.tls_certificate and config.tls_key:
            tls = server_context(config.tls_certificate, config.tls_key, config.tls_client_ca)
        discovers = config.discovery.provider is not Provider.STATIC
        if discovers and ports.learn is None:
            raise ValueError("discovery needs somebody who keeps what is found: Ports.learn is missing")
        clock = ports.clock
        self._resolver = Resolver(
            config.discovery,
            make_directory(config.discovery, ports.participants, lambda: clock.to_wall(clock.now())),
            ports.participants,
            ports.learn if discovers else None,
            clock,
        )
        self._discovers = discovers
        self._server = Server(config, ports, tls, self._resolver, self._accepted)
        self._client = _client(config)
        self._limits = xml.Limits(size=config.max_body_bytes)
        self._answers: set[asyncio.Task[None]] = set()

    @property
    def public_key(self) -> bytes:
        """The public key that opens what we sign now, 32 bytes."""
        return self._keys.signing(self._ports.clock.now()).public

    # --- Adapter ---

    async def start(self) -> None:
        await self._client.start()
        try:
            await self._server.start()
        except OSError:
            await self._client.stop()
            raise

    async def stop(self) -> None:
        await self._server.stop()
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self._resolver.close()
        await self._client.stop()

    def status(self) -> AdapterStatus:
        listening = self._server.listening
        peers: dict[str, str] = {}
        problems: list[Problem] = []
        for domain, peer in self._ports.participants.items():
            lacks = [what for what, there in (("endpoint", peer.endpoint), ("key", peer.keys)) if not there]
            state = f"its {' and '.join(lacks)} are looked up" if self._discovers else f"lacks {' and '.join(lacks)}"
            peers[domain] = state if lacks else str(peer.status)
        if not listening:
            hint = f"is another program using {self.config.listen}?"
            problems.append(Problem("uftp.listen", self.config.listen, "not listening", hint=hint))
        return AdapterStatus(bool(listening), listening, tuple(problems), peers)

    # --- Messenger ---

    def interpret(self, received: Received, history: History) -> Interpretation:
        """Judge and translate a stored envelope. Its signature was checked before it was stored, and keys may have
        rotated since: it is not checked again. What was read then is used, unless the process was restarted since."""
        match received.read:
            case (envelope.Envelope() as sealed, Reading() as reading):
                pass
            case _:
                sealed = envelope.read(received.raw, self._limits)
                sender = self._ports.participants.get(sealed.sender_domain)
                reading = read_payload(sealed.payload, sender, self._limits)
        verdict = check(
            reading,
            sealed.sender_domain,
            sealed.sender_role,
            history,
            self._ports.terms,
            self._ports.participants,
            self._ports.clock.now(),
            self.config.domain,
            self.config.role,
            self.config.versions,
        )
        return Interpretation(
            verdict.message,
            verdict.problems,
            verdict.losses,
            verdict.needs_answer,
            verdict.element["MessageID"],
            verdict.kind,
        )

    def encode(self, message: MarketMessage, recipient: Participant, history: History) -> Encoded:
        """Translate, serialise and sign.

        Raises:
            Rejection: UFTP, the version that the recipient speaks, or its profile cannot say it.
        """
        try:
            version = self._version(message, recipient)
            element, losses = to_wire(message, version, self._ports.terms)
            element, more = obey(element, recipient.profile, history)
            body = self._seal(encode(element))
        except ValueError as error:
            kind = type(message).__name__
            hint = "change the message, or the recipient's uftp_versions"
            raise Rejection([Problem("uftp.encode", kind, str(error), hint=hint)]) from error
        return Encoded(body, losses + more)

    def enclose(self, payload: bytes) -> Enclosed:
        try:
            element = decode(payload, self._limits)
            if element.name == "SignedMessage":
                raise TransportFault(400, "uftp.root", "a payload is wanted, without its envelope")
            message, _ = to_canonical(element, self._ports.terms.calendar)
        except InvalidMessage as error:
            raise Rejection(error.problems) from error
        except TransportFault as error:
            raise Rejection([Problem(error.rule, "payload", error.message)]) from error
        except (ValueError, OverflowError) as error:
            raise Rejection([Problem("uftp.mapping", "payload", str(error))]) from error
        head = Head(
            element["SenderDomain"],
            element["RecipientDomain"],
            element["MessageID"],
            element["ConversationID"],
            self._ports.clock.now(),
            element["Version"],
        )
        return Enclosed(self._seal(payload), head, CANONICAL.get(element.name, element.name), message)

    async def deliver(self, recipient: Participant, body: bytes) -> Delivery:
        """Post once to where the recipient listens now."""
        try:
            current = await self._resolver.recipient(recipient)
        except Unlisted as error:
            return Delivery(DeliveryStatus.PERMANENT, 0, str(error))
        except DirectoryError as error:
            return Delivery(DeliveryStatus.TEMPORARY, 0, str(error))
        delivery = await self._client.post(current.endpoint, body, recipient.domain)
        note = f"{delivery.code} {delivery.status}"
        self._ports.trace(NAME, recipient.domain, Direction.OUT, _kind(body), body, note)
        return delivery

    # --- inside ---

    def _seal(self, payload: bytes) -> bytes:
        key = self._keys.signing(self._ports.clock.now())
        return envelope.seal(payload, self.config.domain, self.config.role, key)

    def _version(self, message: MarketMessage, recipient: Participant) -> str:
        """An answer goes out in the version of the request; else the newest that both sides speak."""
        spoken = self.config.versions
        if isinstance(message, Acknowledgement) and message.head.version in spoken:
            return message.head.version
        common = [v for v in spoken if v in recipient.uftp_versions]
        if isinstance(message, Acknowledgement) and not common:
            return spoken[0]
        if not common:
            theirs = ", ".join(recipient.uftp_versions) or "none"
            raise ValueError(f"{recipient.domain} speaks UFTP {theirs}, we speak {', '.join(spoken)}")
        return common[0]

    async def _accepted(self, accepted: Accepted) -> None:
        if accepted.element.name != "TestMessage":
            return
        sender, element = accepted.sender, accepted.element
        if element["SenderDomain"] != sender.domain or element["RecipientDomain"] != self.config.domain:
            self._ports.inbound.refused(NAME, sender.domain, "R27", "a test message with a foreign sender or recipient")
        elif sender.status is ParticipantStatus.BARRED:
            self._ports.inbound.refused(NAME, sender.domain, "R1", "a test message of a barred sender")
        else:
            task = asyncio.create_task(self._answer_test(accepted))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer_test(self, accepted: Accepted) -> None:
        """Answer a TestMessage: it touches no market state, so the adapter does it alone, in a few tries."""
        asked = accepted.element
        version = asked["Version"] if asked["Version"] in self.config.versions else self.config.versions[0]
        attributes = {
            "Version": version,
            "SenderDomain": self.config.domain,
            "RecipientDomain": accepted.sender.domain,
            "TimeStamp": self._ports.clock.now().replace(microsecond=0),
            "MessageID": str(uuid.uuid5(_TEST_ANSWER, asked["MessageID"])),
            "ConversationID": asked["ConversationID"],
        }
        answer = encode(Element(MESSAGES["TestMessage"].response, attributes))
        body = self._seal(answer)
        for pause in _TEST_TRIES_S:
            await asyncio.sleep(pause)
            delivery = await self.deliver(accepted.sender, body)
            if delivery.status is not DeliveryStatus.TEMPORARY:
                return
        log.warning("no TestMessageResponse could be delivered to %s", accepted.sender.domain)


def _client(config: UftpConfig) -> Client:
    shared = (config.tls_ca, config.client_tls_certificate, config.client_tls_key)
    return Client(
        {access.domain: Credentials.load(access, *shared) for access in config.access},
        Credentials.load(Access(""), *shared),
        config.connect_timeout_s,
        config.read_timeout_s,
    )


def _kind(body: bytes) -> str:
    """Root of the payload in an envelope of our own, for the trace: it stands near the beginning."""
    begin = _BODY.search(body)
    root = _ROOT.search(base64.b64decode(begin[1])) if begin else None
    return root[1].decode("ascii") if root else ""


_BODY = re.compile(rb' Body="((?:[A-Za-z0-9+/]{4}){1,128})')
_ROOT = re.compile(rb"<([A-Za-z][A-Za-z-]*) ")
