"""Signed polls over TLS, RSA-2048 on both sides: the high security level of OpenADR 2.0b."""

from __future__ import annotations

import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from adapters.openadr2 import codec, model
from adapters.openadr2.dsig import Signer
from interop.bench.certificates import Authority
from interop.bench.measure import Contestant, Sample, cpu_s, in_turn, post_all
from interop.bench.process import process, serve
from interop.bench.registry import bench
from interop.bench.report import CannotMeasure, Report, Row, Scale, Target

__all__ = ["openadr2_signed"]

_VEN, _VEN_ID = "bench", "ven1"
_CONNECTIONS = 4
_PEER = "openleadr's VTN"
_PER_S, _TIMES = 400.0, 30.0
_HOW = (
    "oadrPoll of a registered VEN whose queue is empty, over {connections} keep-alive TLS connections on loopback with "
    "client certificates; every poll and every answer is signed (RSA-2048, SHA-256) and verified, nonces and time "
    "stamps are checked, and ours survive a kill. {ours} polls of ours, {peer} of the peer in {rounds} turns. Ours "
    "are signed before the clock runs (our VTN is told to take time stamps of ten minutes ago for that), the peer's "
    "one by one, since it takes none older than five seconds. Ours is `gridparley "
    "serve` with its store on disk. Peer: openleadr 0.5's OpenADRServer. CPU is that of the serving process."
)


@bench("openadr2-signed")
async def openadr2_signed(scale: Scale) -> Report:
    """Signed polls over TLS a second, against openleadr."""
    rounds, ours, peer = scale.pick(3, 1), scale.pick(500, 40), scale.pick(20, 5)
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="gridparley-bench-")))
        authority = Authority(folder)
        vtn, ven = authority.issue("vtn"), authority.issue("ven")
        signer = Signer.read(ven.certificate, ven.key)
        tls = authority.client(ven)
        config = (
            *("[party]", 'domain = "agr.example.org"', 'role = "AGR"', "[adapters.openadr2]"),
            *('listen = "127.0.0.1:0"', 'security = "high"', "signature_tolerance_s = 600", "requests_per_s = 0"),
            *(f'tls_certificate = "{vtn.certificate}"', f'tls_key = "{vtn.key}"', f'tls_client_ca = "{authority.ca}"'),
            *("[[adapters.openadr2.vens]]", f'ven_name = "{_VEN}"', f'ven_id = "{_VEN_ID}"'),
            f'fingerprint = "{signer.fingerprint}"',
        )
        party = await opened.enter_async_context(serve(folder, config))
        foreign = await opened.enter_async_context(
            process(
                *(sys.executable, "-m", "interop.bench.openleadr_vtn", str(authority.ca)),
                *(str(vtn.certificate), str(vtn.key), str(ven.certificate)),
                errors=folder / "openleadr_vtn.log",
            )
        )
        url = f"{party.adapters['openadr2']}/OpenADR2/Simple/2.0b"
        await _register(url, signer, tls)
        taken = await in_turn(
            {
                "ours": _contestant(url, party.pid, ours, signer, tls, ahead=True),
                "peer": _contestant(str(foreign.ready["url"]), foreign.pid, peer, signer, tls, ahead=False),
            },
            rounds,
        )
    how = _HOW.format(connections=_CONNECTIONS, ours=ours * rounds, peer=peer * rounds, rounds=rounds)
    mine, theirs = taken["ours"], taken["peer"]
    cpu = (mine.cpu_each_s * 1e6, theirs.cpu_each_s * 1e6)
    return Report(
        "openadr2-signed",
        how,
        (
            Row("signed polls, wall", "polls/s", mine.per_s, target=Target(">=", _PER_S, "ours")),
            Row("signed polls, wall", "polls/s", mine.per_s, theirs.per_s, _PEER, Target(">=", _TIMES, "ratio")),
            Row("a signed poll, CPU", "µs/poll", *cpu, _PEER),
        ),
    )


def _contestant(url: str, pid: int, count: int, signer: Signer, tls: ssl.SSLContext, *, ahead: bool) -> Contestant:
    async def contestant() -> Sample:
        polls = _polls(count, signer)
        ready = list(polls) if ahead else polls
        cpu, wall = cpu_s(pid), time.perf_counter()
        latencies = await post_all(
            f"{url}/OadrPoll", ready, _CONNECTIONS, "application/xml", expect=b"responseCode>200<", tls=tls
        )
        return Sample(count, time.perf_counter() - wall, cpu_s(pid) - cpu, latencies)

    return contestant


def _polls(count: int, signer: Signer) -> Iterator[bytes]:
    poll = codec.encode(model.OadrPoll(_VEN_ID))
    for _ in range(count):
        yield signer.sign(poll, datetime.now(UTC))


async def _register(url: str, signer: Signer, tls: ssl.SSLContext) -> None:
    message = model.OadrCreatePartyRegistration("1", "2.0b", "simpleHttp", False, True, ven_name=_VEN)
    body = signer.sign(codec.encode(message), datetime.now(UTC))
    headers = {"Content-Type": "application/xml"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/EiRegisterParty", data=body, headers=headers, ssl=tls) as response,
    ):
        answer = await response.read()
    if b"responseCode>200<" not in answer:
        raise CannotMeasure(f"{url} does not register the VEN: {answer[:300]!r}")
