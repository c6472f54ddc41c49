"""Discovery by an HTTP address book (U-31), and the tokens it wants."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest
from support.addressbook import CLIENT, SECRET, AddressBookServer

from adapters.uftp.access import Access, Credentials
from adapters.uftp.discovery import AddressBook, Unavailable, Unlisted
from adapters.uftp.oauth2 import ClientCredentials, TokenError
from datamodels import Role

DOMAIN = "dso.example.org"


@pytest.fixture
async def server(world: ModuleType) -> AsyncIterator[AddressBookServer]:
    key = base64.b64encode(world.KEYS[world.DSO].public).decode()
    async with AddressBookServer({DOMAIN: {"domain": DOMAIN, "publicKey": key}}, {("C-1", "DSO"): DOMAIN}) as server:
        yield server


@pytest.fixture
async def book(world: ModuleType, server: AddressBookServer, tmp_path: Path) -> AsyncIterator[AddressBook]:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    access = Access("address-book", f"{server.url}/oauth/token", CLIENT, secret)
    credentials = Credentials.load(access, None, None, None)
    book = AddressBook(lambda: world.NOW, server.url, credentials, "https://broker.example.net/m", 600.0, 1.0)
    yield book
    await book.close()


async def test_a_key_is_found(world: ModuleType, server: AddressBookServer, book: AddressBook) -> None:
    """U-31."""
    found = await book.find(DOMAIN, Role.DSO)
    assert found.keys == (world.KEYS[world.DSO].public,)
    assert found.endpoint == "https://broker.example.net/m"
    assert found.expires == world.NOW + timedelta(seconds=600)
    assert await book.find_party("C-1", Role.DSO) == (DOMAIN, found)
    assert server.asked == [f"/{DOMAIN}", "/contracts/C-1/roles/DSO"]
    assert server.tokens == 1


async def test_an_unknown_domain_and_contract_are_unlisted(book: AddressBook) -> None:
    """U-31."""
    with pytest.raises(Unlisted):
        await book.find("other.example.org", Role.DSO)
    with pytest.raises(Unlisted):
        await book.find_party("C-1", Role.AGR)


async def test_an_expired_token_is_renewed_once(server: AddressBookServer, book: AddressBook) -> None:
    """U-31."""
    assert (await book.find(DOMAIN, Role.DSO)).keys
    server.valid.clear()
    assert (await book.find(DOMAIN, Role.DSO)).keys
    assert server.tokens == 2


async def test_a_token_that_is_never_taken_ends_in_a_temporary_error(
    server: AddressBookServer, book: AddressBook
) -> None:
    """U-31."""
    server.status = 401
    with pytest.raises(Unavailable, match="401"):
        await book.find(DOMAIN, Role.DSO)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [302, 403, 429, 500, 503])
async def test_a_server_in_trouble_is_temporary(server: AddressBookServer, book: AddressBook, status: int) -> None:
    """U-31."""
    server.status = status
    with pytest.raises(Unavailable, match=str(status)):
        await book.find(DOMAIN, Role.DSO)


async def test_a_server_that_is_down_is_temporary(world: ModuleType) -> None:
    """U-31."""
    async with AddressBookServer() as gone:
        pass
    book = AddressBook(lambda: world.NOW, gone.url, Credentials(), timeout_s=1.0)
    with pytest.raises(Unavailable):
        await book.find(DOMAIN, Role.DSO)
    await book.close()


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"domain": "other.example.org", "publicKey": "A" * 43 + "="}, Unavailable),
        ({"domain": DOMAIN}, Unavailable),
        ({"domain": DOMAIN, "publicKey": "no key"}, Unavailable),
        ({"domain": DOMAIN, "publicKey": "A" * 43 + "=", "role": "AGR"}, Unlisted),
        ({"domain": DOMAIN, "publicKey": "A" * 100_000}, Unavailable),
    ],
)
async def test_an_entry_that_is_none(
    server: AddressBookServer, book: AddressBook, entry: dict[str, str], error: type[Exception]
) -> None:
    """U-31."""
    server.entries[DOMAIN] = entry
    with pytest.raises(error):
        await book.find(DOMAIN, Role.DSO)


# --- tokens -------------------------------------------------------------------------------------------------------


async def test_a_token_is_kept_until_shortly_before_its_end(server: AddressBookServer, tmp_path: Path) -> None:
    secret, clock = tmp_path / "secret", [0.0]
    secret.write_text(SECRET)
    account = ClientCredentials(f"{server.url}/oauth/token", CLIENT, secret, "read", monotonic=lambda: clock[0])
    async with aiohttp.ClientSession() as session:
        first = await account.token(session)
        clock[0] = 3600 - 61
        assert await account.token(session) == first
        clock[0] = 3600 - 59
        second = await account.token(session)
        assert second != first
        account.drop(first)
        assert await account.token(session) == second
        account.drop(second)
        assert await account.token(session) not in (first, second)


async def test_a_wrong_secret_and_a_dead_token_server(server: AddressBookServer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    refused = ClientCredentials(f"{server.url}/oauth/token", CLIENT, secret)
    no_json = ClientCredentials(f"{server.url}/uftp-participants/v3/participants/x", CLIENT, secret)
    async with AddressBookServer() as gone:
        pass
    dead = ClientCredentials(f"{gone.url}/oauth/token", CLIENT, secret)
    async with aiohttp.ClientSession() as session:
        for account, text in ((refused, "401"), (no_json, "405"), (dead, "reached")):
            with pytest.raises(TokenError, match=text) as error:
                await account.token(session)
            assert "wrong" not in str(error.value)


def test_an_empty_secret_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValueError, match="no client secret"):
        ClientCredentials("https://x.example.org", CLIENT, tmp_path / "secret")
