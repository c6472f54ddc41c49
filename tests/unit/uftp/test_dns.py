"""Discovery by DNS against a real name server on loopback (U-08, U-09)."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from types import ModuleType

import dns.rcode
import pytest
from support.dns import DnsServer

from adapters.uftp.discovery import Dns, Unavailable, Unlisted
from adapters.uftp.keys import dns_records, public_key_string
from datamodels import Role

DOMAIN = "dso.example.org"


@pytest.fixture
async def server(world: ModuleType) -> AsyncIterator[DnsServer]:
    async with DnsServer() as server:
        server.publish(DOMAIN, "DSO", public_key_string(world.KEYS[world.DSO].public))
        yield server


def _dns(world: ModuleType, server: DnsServer, **more: object) -> Dns:
    return Dns(lambda: world.NOW, [server.address], **({"timeout_s": 2.0} | more))  # type: ignore[arg-type]


async def test_keys_address_and_versions_are_found_and_hold_for_their_time(
    world: ModuleType, server: DnsServer
) -> None:
    """U-09: the three records of appendix 4."""
    found = await _dns(world, server).find(DOMAIN, Role.DSO)
    assert found.keys == (world.KEYS[world.DSO].public,)
    assert found.endpoint == "https://uftp.example.net/shapeshifter/api/v3/message"
    assert found.versions == ("3.1.0",)
    assert found.expires == world.NOW + timedelta(seconds=300)


@pytest.mark.parametrize(("ttl", "holds_s"), [(0, 60), (7200, 7200), (10**6, 24 * 3600)])
async def test_the_time_is_kept_within_reason(world: ModuleType, server: DnsServer, ttl: int, holds_s: int) -> None:
    """U-09: neither a look-up for each message nor a key that is trusted for ever."""
    server.ttl = ttl
    found = await _dns(world, server).find(DOMAIN, Role.DSO)
    assert found.expires == world.NOW + timedelta(seconds=holds_s)


async def test_two_keys_in_one_record(world: ModuleType, server: DnsServer) -> None:
    """U-08: a rotation publishes two keys, cs1 or bare, apart by a space; a record may be split into strings."""
    new = world.KEYS[world.AGR2].public
    old = base64.b64encode(world.KEYS[world.DSO].public).decode()
    server.records[f"_dso._usef.{DOMAIN}.", "TXT"] = [f'"{old} " "{public_key_string(new)}"']
    found = await _dns(world, server).find(DOMAIN, Role.DSO)
    assert found.keys == (world.KEYS[world.DSO].public, new)


@pytest.mark.parametrize("text", ["", "nonsense", "cs1.AAAA", "cs2." + "A" * 86 + "==", " ".join(["A" * 43 + "="] * 3)])
async def test_content_that_is_no_key_is_temporary(world: ModuleType, server: DnsServer, text: str) -> None:
    """U-08, U-09."""
    server.records[f"_dso._usef.{DOMAIN}.", "TXT"] = [f'"{text}"']
    with pytest.raises(Unavailable, match="key"):
        await _dns(world, server).find(DOMAIN, Role.DSO)


async def test_a_missing_ad_flag_is_temporary(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    server.proved = False
    with pytest.raises(Unavailable, match="DNSSEC"):
        await _dns(world, server).find(DOMAIN, Role.DSO)
    assert (await _dns(world, server, dnssec=False).find(DOMAIN, Role.DSO)).keys


@pytest.mark.parametrize("code", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL, dns.rcode.REFUSED])
@pytest.mark.parametrize("name", ["_usef.", "_dso._usef.", "_http._dso._usef."])
async def test_what_cannot_be_looked_up_is_temporary(
    world: ModuleType, server: DnsServer, name: str, code: dns.rcode.Rcode
) -> None:
    """U-09."""
    server.codes[f"{name}{DOMAIN}."] = code
    with pytest.raises(Unavailable):
        await _dns(world, server, timeout_s=0.5).find(DOMAIN, Role.DSO)


@pytest.mark.parametrize("name", ["_usef.", "_dso._usef.", "_http._dso._usef."])
async def test_a_missing_record_is_temporary(world: ModuleType, server: DnsServer, name: str) -> None:
    """U-09: the name is there, but not the record."""
    del server.records[f"{name}{DOMAIN}.", "CNAME" if "http" in name else "TXT"]
    server.records[f"below.{name}{DOMAIN}.", "A"] = ["192.0.2.1"]
    with pytest.raises(Unavailable):
        await _dns(world, server).find(DOMAIN, Role.DSO)


async def test_a_version_that_is_none_is_temporary(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    server.records[f"_usef.{DOMAIN}.", "TXT"] = ['"latest"']
    with pytest.raises(Unavailable, match="version"):
        await _dns(world, server).find(DOMAIN, Role.DSO)


async def test_a_chain_of_aliases_is_followed(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    server.records["uftp.example.net.", "CNAME"] = ["a.example.net."]
    server.records["a.example.net.", "CNAME"] = ["b.example.com."]
    server.records["b.example.com.", "A"] = ["192.0.2.7"]
    found = await _dns(world, server).find(DOMAIN, Role.DSO)
    assert found.endpoint == "https://b.example.com/shapeshifter/api/v3/message"


async def test_a_loop_of_aliases_and_a_chain_without_end_are_temporary(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    server.records["uftp.example.net.", "CNAME"] = ["a.example.net."]
    server.records["a.example.net.", "CNAME"] = ["uftp.example.net."]
    with pytest.raises(Unavailable, match="circle"):
        await _dns(world, server).find(DOMAIN, Role.DSO)
    for n in range(20):
        server.records[f"{n}.example.net.", "CNAME"] = [f"{n + 1}.example.net."]
    server.records["uftp.example.net.", "CNAME"] = ["0.example.net."]
    with pytest.raises(Unavailable, match="too far"):
        await _dns(world, server).find(DOMAIN, Role.DSO)


async def test_a_loop_of_aliases_at_the_keys_is_temporary(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    del server.records[f"_dso._usef.{DOMAIN}.", "TXT"]
    server.records[f"_dso._usef.{DOMAIN}.", "CNAME"] = ["x.example.net."]
    server.records["x.example.net.", "CNAME"] = [f"_dso._usef.{DOMAIN}."]
    with pytest.raises(Unavailable):
        await _dns(world, server, timeout_s=0.5).find(DOMAIN, Role.DSO)


async def test_silence_is_temporary_and_short(world: ModuleType, server: DnsServer) -> None:
    """U-09."""
    server.silent = True
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        await _dns(world, server, timeout_s=0.2).find(DOMAIN, Role.DSO)
    assert time.monotonic() - begun < 2


async def test_only_domains_below_a_suffix_are_asked_for(world: ModuleType, server: DnsServer) -> None:
    directory = _dns(world, server, suffixes=["example.org"])
    assert (await directory.find(DOMAIN, Role.DSO)).keys
    asked = len(server.asked)
    for other in ("dso.example.com", "dso.notexample.org"):
        with pytest.raises(Unlisted):
            await directory.find(other, Role.DSO)
    assert len(server.asked) == asked


async def test_what_we_publish_is_found_again(world: ModuleType, server: DnsServer) -> None:
    """U-08: `uftp keys show` prints records that discovery reads."""
    keys = [world.KEYS[world.AGR].public, world.KEYS[world.AGR2].public]
    server.records.clear()
    for line in dns_records("agr.example.org", Role.AGR, keys, ("3.1.0", "3.0.0"), "uftp.example.org"):
        name, _, _, kind, value = line.split(" ", 4)
        server.records[name.lower(), kind] = [value]
    server.records["uftp.example.org.", "A"] = ["192.0.2.1"]
    found = await _dns(world, server).find("agr.example.org", Role.AGR)
    assert (found.keys, found.versions) == (tuple(keys), ("3.1.0", "3.0.0"))
    assert found.endpoint.startswith("https://uftp.example.org/")
