"""A DNS server on loopback: a table of records, a flag that says they are proved, and whatever else a test wants."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class DnsServer:
    """`records` by (name, type); `codes` by name; without `proved` the AD flag is missing; `silent` answers nothing."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    codes: dict[str, dns.rcode.Rcode] = field(default_factory=dict)
    proved: bool = True
    silent: bool = False
    ttl: int = 300
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

    def publish(
        self, domain: str, role: str, keys: str, version: str = "3.1.0", host: str = "uftp.example.net"
    ) -> None:
        """What a participant publishes; a second call replaces the first."""
        self.records[f"_usef.{domain}.", "TXT"] = [f'"{version}"']
        self.records[f"_{role.lower()}._usef.{domain}.", "TXT"] = [f'"{keys}"']
        self.records[f"_http._{role.lower()}._usef.{domain}.", "CNAME"] = [f"{host}."]
        self.records[f"{host}.", "A"] = ["192.0.2.1"]

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self), ("127.0.0.1", 0))
        host, port = self._transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._transport.close()

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        (question,) = query.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query, recursion_available=True)
        response.set_rcode(self.codes.get(name, self._code(name)))
        if self.proved and query.flags & dns.flags.AD:
            response.flags |= dns.flags.AD
        while response.rcode() == dns.rcode.NOERROR:
            found = self.records.get((name, kind))
            if found is not None:
                response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", kind, *found))
            alias = self.records.get((name, "CNAME"))
            if found is not None or alias is None or len(response.answer) > 20:
                break
            response.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "CNAME", *alias))
            name = alias[0]
        return response

    def _code(self, name: str) -> dns.rcode.Rcode:
        known = any(known == name or known.endswith(f".{name}") for known, _ in self.records)
        return dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.answer(dns.message.from_wire(data))
        if not self._server.silent:
            self._transport.sendto(response.to_wire(), addr)  # type: ignore[attr-defined]
