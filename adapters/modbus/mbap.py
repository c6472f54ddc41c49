"""Modbus/TCP client connection: strict framing, transactions matched by id (TCPG V1.0b sections 3.1.3 and 4.2).

One connection keeps one deadline sweep, not a timer per request; requests due together leave in one write, and all
frames of one receive are taken at once. At most `max_in_flight` requests are outstanding (1 unless a device is known
to take more: many answer only one of two pipelined requests), the others wait their turn.

A frame with a wrong protocol identifier or an impossible length ends the connection: re-synchronising would be
guesswork. An answer nobody waits for (late, duplicate) is dropped by its id.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from adapters.modbus.errors import Disconnected, MalformedAnswer, ModbusError, Silence
from adapters.modbus.pdu import MAX_PDU, Request
from adapters.ports import Direction, Trace

__all__ = ["MbapClient", "Reply", "frame"]

T = TypeVar("T")
_HEADER = struct.Struct(">HHHB")


def frame(tid: int, unit: int, pdu: bytes) -> bytes:
    """An application data unit: MBAP header and PDU."""
    return _HEADER.pack(tid, 0, len(pdu) + 1, unit) + pdu


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """What a request brought, and the wall times (s since the epoch) at which it left and its answer came."""

    value: T
    sent: float
    received: float


@dataclass(slots=True)
class _Transaction:
    unit: int
    request: Request[Any]
    done: asyncio.Future[Reply[Any]]
    sent: float = 0.0
    deadline: float = field(default=0.0)


class MbapClient(asyncio.Protocol):
    """One connection to one device or gateway. Made by `connect`."""

    def __init__(self, peer: str, timeout_s: float, trace: Trace, max_in_flight: int) -> None:
        self.peer = peer
        self._timeout_s = timeout_s
        self._trace = trace
        self._max_in_flight = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed: ModbusError | None = None
        self._waiting: deque[_Transaction] = deque()
        self._pending: dict[int, _Transaction] = {}
        self._buffer = bytearray()
        self._last_tid = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._flush: asyncio.Handle | None = None
        self.dropped = 0
        """Answers nobody waited for."""

    @classmethod
    async def connect(
        cls, host: str, port: int, *, timeout_s: float, trace: Trace, max_in_flight: int = 1
    ) -> MbapClient:
        """Open a connection.

        Raises:
            Disconnected: refused, unreachable, or not open within `timeout_s`.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, client = await loop.create_connection(
                    lambda: cls(f"{host}:{port}", timeout_s, trace, max_in_flight), host, port
                )
        except TimeoutError:
            raise Disconnected(f"no connection within {timeout_s} s") from None
        except OSError as error:
            raise Disconnected(os.strerror(error.errno) if error.errno else str(error)) from None
        return client

    @property
    def is_open(self) -> bool:
        return self._closed is None

    async def call(self, unit: int, request: Request[T]) -> T:
        """`exchange`, for its value only."""
        return (await self.exchange(unit, request)).value

    async def exchange(self, unit: int, request: Request[T]) -> Reply[T]:
        """Send a request and return its answer.

        Raises:
            DeviceException, MalformedAnswer, Silence, Disconnected.
        """
        if self._closed is not None:
            raise Disconnected(str(self._closed))
        transaction = _Transaction(unit, request, self._loop.create_future())
        self._waiting.append(transaction)
        if self._flush is None:
            self._flush = self._loop.call_soon(self._send)
        return await transaction.done

    def close(self) -> None:
        """End the connection; whoever still waits gets Disconnected."""
        self._end(Disconnected("closed"))

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Other event loops (uvloop) have transports of their own, which are no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Disconnected(f"connection lost: {exc}" if exc else "the device closed the connection"))

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 7:
            tid, protocol, length, unit = _HEADER.unpack_from(buffer, at)
            if protocol != 0 or not 2 <= length <= MAX_PDU + 1:
                self._trace("modbus", self.peer, Direction.IN, "not Modbus", bytes(buffer[at:]), "connection dropped")
                self._end(MalformedAnswer(f"protocol {protocol}, length {length} is not Modbus/TCP"))
                return
            if len(buffer) - at < 6 + length:
                break
            adu = bytes(buffer[at : at + 6 + length])
            at += 6 + length
            self._answer(tid, unit, adu, now)
        del buffer[:at]
        self._send()

    # --- transactions -----------------------------------------------------------------------------------------------

    def _answer(self, tid: int, unit: int, adu: bytes, now: float) -> None:
        transaction = self._pending.pop(tid, None)
        if transaction is None or transaction.done.done():
            self.dropped += 1
            self._trace("modbus", self.peer, Direction.IN, "unasked", adu, "dropped")
            return
        try:
            if unit != transaction.unit:
                raise MalformedAnswer(f"unit {unit} answers for unit {transaction.unit}")
            value = transaction.request.accept(adu[7:])
        except ModbusError as error:
            self._trace("modbus", self.peer, Direction.IN, _kind(transaction.request), adu, str(error))
            transaction.done.set_exception(error)
        else:
            self._trace("modbus", self.peer, Direction.IN, _kind(transaction.request), adu)
            transaction.done.set_result(Reply(value, transaction.sent, now))

    def _send(self) -> None:
        self._flush = None
        if self._transport is None or self._closed is not None:
            return
        frames = []
        now = self._loop.time()
        while self._waiting and len(self._pending) < self._max_in_flight:
            transaction = self._waiting.popleft()
            if transaction.done.done():  # its caller was cancelled
                continue
            tid = self._next_tid()
            adu = frame(tid, transaction.unit, transaction.request.encode())
            self._trace("modbus", self.peer, Direction.OUT, _kind(transaction.request), adu)
            transaction.sent, transaction.deadline = time.time(), now + self._timeout_s
            self._pending[tid] = transaction
            frames.append(adu)
        if frames:
            self._transport.write(b"".join(frames))
            if self._sweep is None:
                self._sweep = self._loop.call_at(now + self._timeout_s, self._expire)

    def _next_tid(self) -> int:
        while True:
            self._last_tid = self._last_tid + 1 & 0xFFFF
            if self._last_tid not in self._pending:
                return self._last_tid

    def _expire(self) -> None:
        """Fail what is overdue; pending transactions stand in the order of their deadlines."""
        self._sweep = None
        now = self._loop.time()
        while self._pending:
            tid, transaction = next(iter(self._pending.items()))
            if transaction.deadline > now:
                self._sweep = self._loop.call_at(transaction.deadline, self._expire)
                break
            del self._pending[tid]
            if not transaction.done.done():
                transaction.done.set_exception(Silence(f"no answer within {self._timeout_s} s"))
        self._send()

    def _end(self, reason: ModbusError) -> None:
        if self._closed is not None:
            return
        self._closed = reason
        if self._sweep is not None:
            self._sweep.cancel()
        if self._transport is not None:
            self._transport.abort()
        for transaction in (*self._pending.values(), *self._waiting):
            if not transaction.done.done():
                transaction.done.set_exception(reason)
        self._pending.clear()
        self._waiting.clear()


def _kind(request: Request[Any]) -> str:
    return type(request).__name__
