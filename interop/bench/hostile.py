"""Hostile input at the listener: how long it takes to be refused, and whether memory stays flat."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from adapters.uftp import SigningKey
from adapters.uftp.envelope import sign
from interop.bench.report import CannotMeasure

__all__ = ["bodies", "refusals", "resident_mb"]


def bodies(good: bytes, domain: str, key: SigningKey) -> Mapping[str, bytes]:
    """Envelopes to be refused, made from a good FlexRequest payload; most attack from behind a good signature."""
    entities = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 9))
    isp = b'<ISP MinPower="0" MaxPower="1" Start="1"/>'
    inner = {
        "doctype": good.replace(b"<FlexRequest", b'<!DOCTYPE a [<!ENTITY a "b">]><FlexRequest', 1),
        "billion laughs": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + entities + b"]><a>&l8;</a>",
        "processing instruction": good.replace(b"<ISP", b"<?php x?><ISP", 1),
        "nesting": b"<FlexRequest>" * 5000 + b"</FlexRequest>" * 5000,
        "elements": good.replace(b"</FlexRequest>", isp * 100_000 + b"</FlexRequest>"),
        "attributes": b"<FlexRequest " + b" ".join(b'a%d="1"' % n for n in range(50_000)) + b"/>",
        "other encoding": good.decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        "NUL": good.replace(b"ISP", b"IS\x00", 1),
        "unknown attribute": good.replace(b"Start=", b"Stop=", 1),
        "not XML": b"\x00\xff" * 5000,
    }
    sealed = {name: _envelope(sign(payload, key), domain) for name, payload in inner.items()}
    return sealed | {
        "wrong signature": _envelope(b"\x00" * 64 + good, domain),
        "unknown sender": _envelope(sign(good, key), "nobody.example.org"),
        "no base64": _envelope(sign(good, key), domain).replace(b'Body="', b'Body="*', 1),
        "bare payload": good,
    }


def _envelope(body: bytes, domain: str) -> bytes:
    text = base64.b64encode(body).decode()
    return f'<SignedMessage SenderDomain="{domain}" SenderRole="DSO" Body="{text}"/>'.encode()


async def refusals(url: str, attacks: Mapping[str, bytes], rounds: int) -> dict[str, float]:
    """The longest time in seconds until each was refused, one connection, one after the other.

    Raises:
        CannotMeasure: one was not refused with a 4xx.
    """
    longest = dict.fromkeys(attacks, 0.0)
    async with aiohttp.ClientSession(headers={"Content-Type": "text/xml"}) as session:
        for _ in range(rounds):
            for name, body in attacks.items():
                began = time.perf_counter()
                async with session.post(url, data=io.BytesIO(body)) as response:
                    await response.read()
                longest[name] = max(longest[name], time.perf_counter() - began)
                if not 400 <= response.status < 500:
                    raise CannotMeasure(f"{name} is answered with {response.status}")
    return longest


def resident_mb(pid: int) -> float:
    """Memory that a process holds.

    Raises:
        CannotMeasure: there is no /proc.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CannotMeasure(f"the memory of process {pid} cannot be read (Linux only): {error}") from error
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024
