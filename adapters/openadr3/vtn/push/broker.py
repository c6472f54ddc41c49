"""The embedded MQTT broker (3.1.1, by amqtt), behind a door of our own.

The door reads CONNECT itself: who has no token never reaches the broker, and each client's session ids get a name space
of its own, so that nobody can take over another's session. Clients may subscribe to what they are entitled to, and
publish nothing, not even as a last will. The end of a token is the end of its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.contexts import Action, BaseContext, BrokerConfig, ListenerConfig, ListenerType
from amqtt.errors import AMQTTError
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from adapters.openadr3.vtn.access import Viewer
from adapters.openadr3.vtn.push.config import MqttConfig
from adapters.tls import server_context

__all__ = ["Door", "Ticket"]

_PROTOCOL, _IDENTIFIER, _UNAVAILABLE, _CREDENTIALS, _FORBIDDEN = 1, 2, 3, 4, 5
"""Return codes of CONNACK (MQTT 3.1.1, 3.2.2.3)."""
_CONNECT = 0x10
_WILL, _PASSWORD, _USER = 0x04, 0x40, 0x80
_LEVEL = 4
_PATIENCE_S = 10.0
_LARGEST = 16 * 1024
_MOST_CONNECTIONS = 5000
_MOST_SESSIONS = 8
_MOST_UNREAD = 1 << 20
_MOST_OPEN = 2000
_EXPIRY_S = 3600
_FAR_S = 1e6
_AT_ONCE = 20
_LISTENER = "default"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Whom a token stands for, and until when (wall seconds since the epoch)."""

    viewer: Viewer
    until: float


Authenticate: TypeAlias = Callable[[str], Awaitable[Ticket | None]]


class Door:
    """`authenticate` judges a token, `may` a topic filter for a viewer. `refused` hears of those sent away."""

    def __init__(
        self,
        config: MqttConfig,
        authenticate: Authenticate,
        may: Callable[[str, Viewer], bool],
        refused: Callable[[str, str], None],
    ) -> None:
        self._config = config
        self._authenticate = authenticate
        self.may = may
        self._refused = refused
        self._server: asyncio.Server | None = None
        self._broker: Broker | None = None
        self._gate: Gate | None = None
        self._serving: set[asyncio.Task[Any]] = set()
        self._handing: set[asyncio.Task[Any]] = set()
        self.guests: dict[str, Ticket] = {}
        self._open: dict[str, asyncio.StreamWriter] = {}
        self._sessions: dict[str, set[str]] = {}

    async def start(self) -> None:
        """Raises OSError or ssl.SSLError where it cannot listen as configured."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)  # they tell every packet and every client's mistake
        listener = ListenerConfig(type=ListenerType.EXTERNAL, bind="door:0")
        gate = f"{Gate.__module__}.{Gate.__name__}"
        plugins: dict[str, dict[str, str]] = {gate: {}, f"{_Let.__module__}.{_Let.__name__}": {}}
        config = BrokerConfig({_LISTENER: listener}, session_expiry_interval=_EXPIRY_S, plugins=plugins)
        self._broker = Broker(config)
        self._gate = self._broker.plugins_manager.get_plugin(Gate.__name__)
        self._gate.door = self
        await self._broker.start()
        certificate, key = self._config.tls_certificate, self._config.tls_key
        tls = server_context(Path(certificate), Path(key), None) if certificate else None
        self._server = await asyncio.start_server(self._connected, *self._config.address, ssl=tls, limit=_LARGEST)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._handing):
            task.cancel()
        await asyncio.gather(*self._handing, return_exceptions=True)
        for writer in list(self._open.values()):
            writer.transport.abort()
        if self._broker is not None:
            await self._broker.shutdown()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=_PATIENCE_S / 5)
            if late:
                log.warning("openadr3: %d MQTT connections do not end", len(late))
        self._server = self._broker = self._gate = None

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Hand messages to whoever is subscribed; who is away and left a session gets them when he is back.

        The broker itself would compare each message with each subscription. Here a topic can only be subscribed to by
        its name, or with the operation as a wildcard.
        """
        assert self._gate is not None, "the broker was not started"
        subscriptions = self._gate.context.subscriptions
        for n, (topic, body) in enumerate(messages, 1):
            # Who is subscribed to both gets one copy, at the better of the two.
            heard: dict[str, tuple[Session, int]] = {}
            for filter in (topic, f"{topic.rpartition('/')[0]}/+"):
                for session, qos in subscriptions.get(filter, ()):
                    _, other = heard.get(session.client_id, (session, 0))
                    heard[session.client_id] = session, max(qos, other)
            for session, qos in heard.values():
                await self._hand(session, topic, body, qos)
            if n % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _hand(self, session: Session, topic: str, body: bytes, qos: int) -> None:
        assert self._broker is not None, "it publishes while it runs"
        if session.transitions.state == "connected":
            _, handler = self._broker.sessions.get(session.client_id or "", (None, None))
            if handler is not None and self.keeps_up(session):
                task = asyncio.create_task(handler.mqtt_publish(topic, body, qos, retain=False))
                self._handing.add(task)
                task.add_done_callback(self._handed)
        elif not session.clean_session and qos > 0 and session.retained_messages.qsize() < _MOST_OPEN:
            await session.retained_messages.put(RetainedApplicationMessage(None, topic, body, qos))

    def _handed(self, task: asyncio.Task[Any]) -> None:
        self._handing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("openadr3: an MQTT message was not taken: %s", error)

    # --- the door ---

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                packet = await _connect_packet(reader)
            answer = await self._judge(packet, writer)
            if isinstance(answer, int):
                writer.write(bytes((0x20, 2, 0, answer)))
                return
            await self._serve(answer, reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, AMQTTError) as error:
            log.debug("openadr3: an MQTT connection ended: %s", error or type(error).__name__)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await writer.wait_closed()

    async def _judge(self, packet: bytes, writer: asyncio.StreamWriter) -> int | _Connect:
        """A CONNECT with the session id that it gets, or the code with which it is refused."""
        asked = _Connect.read(packet)
        if asked is None:
            return _PROTOCOL
        anonymous = self._config.anonymous and not asked.password
        ticket = Ticket(Viewer(), float("inf")) if anonymous else await self._authenticate(asked.password)
        address = (writer.get_extra_info("peername") or ("?",))[0]
        if ticket is None or asked.user != ticket.viewer.client:
            self._refused(str(address), "MQTT: no token that holds, or not this client's")
            return _CREDENTIALS
        if asked.will:
            self._refused(ticket.viewer.client, "MQTT: a last will would publish")
            return _FORBIDDEN
        asked.session = f"{ticket.viewer.client}|{asked.session or secrets.token_hex(8)}"
        sessions = self._sessions.setdefault(ticket.viewer.client, set())
        sessions -= {session for session in sessions if not self._is_known(session)}
        if asked.session not in sessions and len(sessions) >= _MOST_SESSIONS and not anonymous:
            return _IDENTIFIER
        if len(self._open) >= _MOST_CONNECTIONS:
            return _UNAVAILABLE
        if len(self.guests) > 2 * _MOST_CONNECTIONS:
            self.guests = {session: guest for session, guest in self.guests.items() if self._is_known(session)}
        sessions.add(asked.session)
        self.guests[asked.session] = ticket
        return asked

    def _is_known(self, session: str) -> bool:
        return session in self._open or (self._broker is not None and session in self._broker.sessions)

    async def _serve(self, asked: _Connect, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._broker is not None, "it serves while it runs"
        ticket = self.guests[asked.session]
        left = ticket.until - time.time()
        loop = asyncio.get_running_loop()
        end = loop.call_later(left, writer.close) if left < _FAR_S else None
        self._open[asked.session] = writer
        try:
            first = _Reader(asked.packet(), reader)
            await self._broker.external_connected(first, StreamWriterAdapter(writer), _LISTENER)
        finally:
            if end is not None:
                end.cancel()
            if self._open.get(asked.session) is writer:
                del self._open[asked.session]

    def keeps_up(self, session: Session) -> bool:
        """Whether a client reads what it gets; one that does not is sent away."""
        writer = self._open.get(session.client_id or "")
        if writer is None:
            return True
        if writer.transport.get_write_buffer_size() > _MOST_UNREAD or len(session.inflight_out) > _MOST_OPEN:
            writer.transport.abort()
            return False
        return True


class _Let(BaseAuthPlugin):  # type: ignore[misc]
    """Whoever came through the door is in."""

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)

    async def authenticate(self, *, session: Session) -> bool | None:
        return True


class Gate(BaseTopicPlugin):  # type: ignore[misc]
    """Who may have which topic."""

    door: Door | None = None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        if self.door is None or session is None or topic is None:
            return False
        ticket = self.door.guests.get(session.client_id or "")
        if ticket is None:
            return False
        return action == Action.SUBSCRIBE and self.door.may(topic, ticket.viewer)


# --- CONNECT ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Connect:
    """What of a CONNECT counts (MQTT 3.1.1, 3.1)."""

    flags: int
    keep_alive: bytes
    session: str
    user: str
    password: str
    will: bool

    @classmethod
    def read(cls, packet: bytes) -> _Connect | None:
        """None where another protocol is spoken (ValueError, IndexError: no CONNECT at all)."""
        texts = _Texts(packet)
        if texts.next() != b"MQTT":
            return None
        level, flags = texts.take(1)[0], 0
        if level != _LEVEL:
            return None
        flags, keep_alive = texts.take(1)[0], texts.take(2)
        session = texts.next().decode()
        will = bool(flags & _WILL)
        if will:
            texts.next()
            texts.next()
        user = texts.next().decode() if flags & _USER else ""
        password = texts.next().decode() if flags & _PASSWORD else ""
        return cls(flags, keep_alive, session, user, password, will)

    def packet(self) -> bytes:
        """The same, as the broker is to read it: with the session's id, and without credentials."""
        body = (
            _text("MQTT") + bytes((_LEVEL, self.flags & ~(_USER | _PASSWORD))) + self.keep_alive + _text(self.session)
        )
        length, out = len(body), bytearray((_CONNECT,))
        while True:
            length, digit = divmod(length, 128)
            out.append(digit | (0x80 if length else 0))
            if not length:
                return bytes(out) + body


class _Texts:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise ValueError("the packet ends too early")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def next(self) -> bytes:
        return self.take(int.from_bytes(self.take(2)))


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


async def _connect_packet(reader: asyncio.StreamReader) -> bytes:
    if (await reader.readexactly(1))[0] != _CONNECT:
        raise ValueError("the first packet is no CONNECT")
    length = 0
    for place in range(4):
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << (7 * place)
        if digit < 0x80:
            break
    if length > _LARGEST:
        raise ValueError(f"CONNECT of {length} bytes")
    return await reader.readexactly(length)


class _Reader(ReaderAdapter):  # type: ignore[misc]
    """The rewritten CONNECT, then what the client sends; nothing larger than a client has reason for."""

    def __init__(self, first: bytes, reader: asyncio.StreamReader) -> None:
        self._first = first
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        if self._first:
            taken, self._first = self._first[:n], self._first[n:]
            return taken
        if not 0 <= n <= _LARGEST:
            raise ConnectionResetError(f"a packet of {n} bytes")
        try:
            return await self._reader.readexactly(n)
        except asyncio.IncompleteReadError:
            return b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()
