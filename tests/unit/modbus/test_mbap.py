"""The client connection against a peer whose bytes are scripted."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.modbus.errors import Disconnected, MalformedAnswer, Silence
from adapters.modbus.mbap import MbapClient, frame
from adapters.modbus.pdu import ReadRegisters
from adapters.ports import Direction

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ONE = ReadRegisters(7, 1)


class Tap:
    def __init__(self) -> None:
        self.seen: list[tuple[Direction, str, bytes, str]] = []

    def __call__(self, adapter: str, peer: str, direction: Direction, kind: str, raw: bytes, note: str = "") -> None:
        assert adapter == "modbus"
        self.seen.append((direction, kind, raw, note))


@asynccontextmanager
async def connected(serve: Serve, **options: Any) -> AsyncIterator[tuple[MbapClient, Tap]]:
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tap = Tap()
    client = await MbapClient.connect("127.0.0.1", port, **{"timeout_s": 0.15, "trace": tap, **options})
    try:
        yield client, tap
    finally:
        client.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
    return tid, unit, await reader.readexactly(length - 1)


def value(number: int) -> bytes:
    return b"\x03\x02" + struct.pack(">H", number)


async def test_answers_and_the_tap_sees_both_directions() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, pdu = await request(reader)
        assert (unit, pdu) == (9, ONE.encode())
        writer.write(frame(tid, unit, value(5)))

    async with connected(serve) as (client, tap):
        reply = await client.exchange(9, ONE)
    assert reply.value == b"\0\x05"
    assert reply.sent <= reply.received
    assert [(d, k) for d, k, _, _ in tap.seen] == [(Direction.OUT, "ReadRegisters"), (Direction.IN, "ReadRegisters")]


@pytest.mark.parametrize("size", [1, 3, 8])
async def test_answer_in_small_segments(size: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, _ = await request(reader)
        answer = frame(tid, unit, value(5))
        for k in range(0, len(answer), size):
            writer.write(answer[k : k + size])
            await writer.drain()
            await asyncio.sleep(0)

    async with connected(serve) as (client, _):
        assert await client.call(1, ONE) == b"\0\x05"


async def test_pipelined_answers_out_of_order_in_one_segment() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = [await request(reader) for _ in range(4)]
        writer.write(b"".join(frame(tid, unit, value(pdu[2])) for tid, unit, pdu in reversed(asked)))

    async with connected(serve, max_in_flight=4) as (client, tap):
        answers = await asyncio.gather(*(client.call(1, ReadRegisters(k, 1)) for k in range(4)))
    assert answers == [struct.pack(">H", k) for k in range(4)]
    assert [d for d, *_ in tap.seen[:4]] == [Direction.OUT] * 4


async def test_one_in_flight_is_the_default() -> None:
    outstanding = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            tid, unit, _ = await request(reader)
            await asyncio.sleep(0.01)
            outstanding.append(len(reader._buffer))  # type: ignore[attr-defined]
            writer.write(frame(tid, unit, value(1)))

    async with connected(serve) as (client, _):
        await asyncio.gather(*(client.call(1, ONE) for _ in range(3)))
    assert outstanding == [0, 0, 0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(lambda t, u: frame(t, u + 1, value(1)), MalformedAnswer, id="another unit"),
        pytest.param(lambda t, u: frame(t + 1, u, value(1)), Silence, id="another transaction"),
        pytest.param(lambda t, u: struct.pack(">HHHB", t, 1, 5, u) + value(1), MalformedAnswer, id="protocol 1"),
        pytest.param(lambda t, u: struct.pack(">HHHB", t, 0, 0, u) + value(1), MalformedAnswer, id="length 0"),
        pytest.param(lambda t, u: struct.pack(">HHHB", t, 0, 1, u) + value(1), MalformedAnswer, id="length 1"),
        pytest.param(lambda t, u: struct.pack(">HHHB", t, 0, 255, u) + value(1), MalformedAnswer, id="length 255"),
        pytest.param(lambda t, u: struct.pack(">HHHB", t, 0, 65535, u) + value(1), MalformedAnswer, id="length 65535"),
        pytest.param(lambda t, u: frame(t, u, b"\x03\x04\0\0\0\0"), MalformedAnswer, id="too many registers"),
        pytest.param(lambda t, u: b"", Silence, id="nothing"),
    ],
)
async def test_faulty_frames_are_refused(answer: Callable[[int, int], bytes], error: type[Exception]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, _ = await request(reader)
        writer.write(answer(tid, unit))

    async with connected(serve) as (client, _):
        with pytest.raises(error):
            await client.call(1, ONE)


async def test_broken_framing_ends_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n")

    async with connected(serve) as (client, _):
        with pytest.raises(MalformedAnswer):
            await client.call(1, ONE)
        assert not client.is_open
        with pytest.raises(Disconnected):
            await client.call(1, ONE)


async def test_late_and_duplicate_answers_are_dropped() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        late, unit, _ = await request(reader)
        tid, _, _ = await request(reader)
        writer.write(frame(late, unit, value(1)) + frame(tid, unit, value(2)) + frame(tid, unit, value(3)))

    async with connected(serve) as (client, _):
        with pytest.raises(Silence):
            await client.call(1, ONE)
        assert await client.call(1, ONE) == b"\0\x02"
        assert client.dropped == 2


async def test_silence_fails_only_what_is_overdue() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        tid, unit, _ = await request(reader)
        writer.write(frame(tid, unit, value(2)))

    async with connected(serve, max_in_flight=2) as (client, _):
        first = asyncio.ensure_future(client.call(1, ONE))
        await asyncio.sleep(0.05)
        assert await client.call(2, ONE) == b"\0\x02"
        with pytest.raises(Silence):
            await first


async def test_connection_lost_in_mid_answer_fails_at_once() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tid, unit, _ = await request(reader)
        writer.write(frame(tid, unit, value(1))[:8])
        await writer.drain()
        writer.close()

    async with connected(serve, timeout_s=5.0) as (client, _):
        waiting = [asyncio.ensure_future(client.call(1, ONE)) for _ in range(2)]
        done, _ = await asyncio.wait(waiting, timeout=2)
        assert [type(t.exception()) for t in done] == [Disconnected, Disconnected]


async def test_cancelled_caller_leaves_no_trace() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            tid, unit, _ = await request(reader)
            await asyncio.sleep(0.02)
            writer.write(frame(tid, unit, value(4)))

    async with connected(serve) as (client, _):
        first = asyncio.ensure_future(client.call(1, ONE))
        second = asyncio.ensure_future(client.call(1, ONE))
        await asyncio.sleep(0.01)
        first.cancel()
        second.cancel()
        assert await client.call(1, ONE) == b"\0\x04"


async def test_no_connection_is_a_clear_error(unused_port: int) -> None:
    with pytest.raises(Disconnected, match="refused"):
        await MbapClient.connect("127.0.0.1", unused_port, timeout_s=1.0, trace=Tap())


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
