"""Discovery: who speaks for a domain, with what keys, and where it listens (UFTP 3.1.0 appendix 4).

A `Directory` answers one question, `find(domain, role)`. There are three: what the operator listed (`Listed`), DNS with
DNSSEC (`Dns`), and an HTTP address book (`AddressBook`). `Resolver` asks it when a message or a delivery needs it, and
decides who is let in.
"""

from __future__ import annotations

from adapters.uftp.discovery.addressbook import AddressBook
from adapters.uftp.discovery.base import Directory, DirectoryError, Found, Unavailable, Unlisted
from adapters.uftp.discovery.config import DISCOVERY, Admit, DiscoveryConfig, Provider, make_directory
from adapters.uftp.discovery.dns import Dns
from adapters.uftp.discovery.listed import Listed
from adapters.uftp.discovery.resolver import Resolver

__all__ = [
    "DISCOVERY",
    "AddressBook",
    "Admit",
    "Directory",
    "DirectoryError",
    "DiscoveryConfig",
    "Dns",
    "Found",
    "Listed",
    "Provider",
    "Resolver",
    "Unavailable",
    "Unlisted",
    "make_directory",
]
