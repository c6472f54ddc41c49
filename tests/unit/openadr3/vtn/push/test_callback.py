"""Callback URLs: the echo, and addresses that must not be called."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from support.openadr3_push import Receiver

from adapters.openadr3.vtn.push.callback import Callbacks, may_call
from adapters.openadr3.vtn.push.config import WebhookConfig

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]
NEVER = [
    *("127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *(
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "fd00:ec2::254",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ),
    *(
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001::1",
    ),
    *("198.18.0.1", "192.0.2.1", "240.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_call(address)


@pytest.mark.parametrize("address", NEVER)
def test_other_addresses_may_not(address: str) -> None:
    assert not may_call(address)


def test_networks_of_the_operator_may() -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/16")]
    assert may_call("10.1.2.3", networks)
    assert may_call("fd00::1", networks)
    assert not may_call("192.168.1.1", networks)


@dataclass
class Paper:
    ca: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    return Paper(path, server)


async def verify(
    url: str, paper: Paper, networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128"), bearer: str = ""
) -> str:
    callbacks = Callbacks(WebhookConfig(ca=str(paper.ca), networks=networks, timeout_s=0.5))
    await callbacks.start()
    try:
        return await callbacks.verify(url, bearer)
    finally:
        await callbacks.stop()


async def test_an_echo_verifies(paper: Paper) -> None:
    async with Receiver(tls=paper.server) as receiver:
        assert await verify(receiver.url("cb?x=1"), paper, bearer="T") == ""
        assert await verify(receiver.url("cb"), paper) == ""
    asked = [(r.method, dict(r.query), r.headers.get("Authorization")) for r in receiver.asked]
    assert [method for method, _, _ in asked] == ["GET", "GET"]
    assert asked[0][1]["x"] == "1"
    assert asked[0][2] == "Bearer T"
    assert asked[0][1]["echo"] != asked[1][1]["echo"]


async def refused(url: str, paper: Paper, networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")) -> str:
    said = await verify(url, paper, networks)
    assert said
    return said


def _redirected(text: str) -> web.Response:
    return web.Response(status=302, headers={"Location": f"/elsewhere?echo={text}"})


@pytest.mark.parametrize(
    "echo",
    [
        lambda text: web.Response(text="something else"),
        lambda text: web.Response(text=f"{text} and more"),
        lambda text: web.Response(text=text, status=404),
        lambda text: web.Response(text=text * 1000),
        _redirected,
    ],
)
async def test_anything_else_does_not(paper: Paper, echo: Callable[[str], web.Response]) -> None:
    async with Receiver(echo=echo, tls=paper.server) as receiver:
        await refused(receiver.url(), paper)
        assert len(receiver.asked) == 1


async def test_a_closed_port_and_a_wrong_certificate_do_not(paper: Paper) -> None:
    async with Receiver(tls=paper.server) as receiver:
        url = receiver.url()
    told = await refused(url, paper)
    assert url not in told
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server)
    async with Receiver(tls=server) as receiver:
        assert await refused(receiver.url(), paper) == told
        assert not receiver.asked


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/cb", "ftp://a/b", "https:///cb", "no url", "https://a:b@c/d", "https://["]
)
async def test_only_https_urls(paper: Paper, url: str) -> None:
    assert "https" in await refused(url, paper)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_the_address_that_is_connected_to_is_judged_whatever_it_is_called(paper: Paper, host: str) -> None:
    async with Receiver(tls=paper.server) as receiver:
        await refused(f"https://{host}:{receiver.port}/cb", paper, networks=())
        assert not receiver.asked


async def test_posts_are_guarded_and_do_not_follow_redirects(paper: Paper) -> None:
    async with Receiver(lambda path: 302, tls=paper.server) as receiver:
        open_ = Callbacks(WebhookConfig(ca=str(paper.ca), networks=("127.0.0.0/8",)))
        closed = Callbacks(WebhookConfig(ca=str(paper.ca)))
        await open_.start()
        await closed.start()
        try:
            assert await open_.post(receiver.url(), b"{}", {}) == 302
            with pytest.raises(OSError, match="callbacks may"):
                await closed.post(receiver.url(), b"{}", {})
        finally:
            await open_.stop()
            await closed.stop()


async def test_the_laboratory_asks_no_echo_and_takes_plain_http() -> None:
    callbacks = Callbacks(WebhookConfig(), lab=True)
    assert await callbacks.verify("http://127.0.0.1:9/cb") == ""
    assert await callbacks.verify("file:///etc/passwd")
