"""AUTH: tokens, scopes, secrets, issuers, profiles and TLS of the listener (conformance cases of these names)."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.openadr3_server import NEW, OLD, Client, Running, bodies, token, vtn

from adapters.errors import TransportFault
from adapters.openadr3.vtn import auth

VERSIONS = (OLD, NEW)
SECRET = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "me-secret"}


def forged(running: Running, **changes: Any) -> dict[str, str]:
    """Tokens that are nearly good."""
    claims = jwt.decode(running.tokens["grid"], options={"verify_signature": False}) | changes
    other = rsa.generate_private_key(65537, 2048)
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "another key": jwt.encode(claims, pem, "RS256"),
        "no signature": jwt.encode(claims, None, "none"),
        "a public key as secret": jwt.encode(claims, "x" * 32, "HS256"),
    }


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_token_is_needed_and_must_be_good(running: Running, version: str) -> None:
    client = running.as_("", version)
    bad = {"": "", "text": "text", "cut": running.tokens["grid"][:-9], **forged(running)}
    for name, text in bad.items():
        client.token = text
        reply = await client.get("/programs")
        assert (reply.status, reply.data["status"]) == (401, 401), name
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    client.token = running.tokens["me"]
    assert (await client.get("/programs")).status == 200
    assert (await client.get("/programs", headers={"Authorization": "Basic bWU6bWUtc2VjcmV0"})).status == 401


async def test_tokens_are_worth_nothing_when_they_expire_or_their_client_changes() -> None:
    clock = [time.time()]
    clients = [auth.Client(id, f"{id}-secret", auth.ROLES["ven"]) for id in ("a", "b")]
    tokens = auth.Tokens(clients, auth.new_key(), "us", 60, lambda: clock[0])
    texts = []
    for id in ("a", "b"):
        form = {"grant_type": "client_credentials", "client_id": id, "client_secret": f"{id}-secret"}
        texts.append((await tokens.grant(form, "", "1.1.1.1"))["access_token"])
        assert tokens.verify(texts[-1])[0].viewer.client == id
    tokens.clients["a"] = auth.Client("a", auth.hashed("new"), auth.ROLES["ven"])  # AUTH09: rotated
    del tokens.clients["b"]
    for text in texts:
        with pytest.raises(TransportFault, match="withdrawn"):
            tokens.verify(text)
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "new"}
    text = (await tokens.grant(form, "", "1.1.1.1"))["access_token"]
    assert tokens.verify(text)
    clock[0] += 61
    with pytest.raises(TransportFault, match="expired"):
        tokens.verify(text)


@pytest.mark.parametrize("version", VERSIONS)
async def test_each_operation_asks_for_its_scope(running: Running, version: str, tmp_path: Path) -> None:
    made = await bodies(running, version)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "secret").write_text("s")
    none = {"id": "none", "scopes": ["write_reports"], "secret_file": str(tmp_path / "bare" / "secret")}
    async with vtn(tmp_path / "bare", tokens=False, clients=[none]) as bare:
        form = {"grant_type": "client_credentials", "client_id": "none", "client_secret": "s"}
        reply = await bare.as_("").ask("POST", "/auth/token", body=form)
        client = Client(bare.session, f"{bare.url}/{version}", reply.data["access_token"])
        for name, (_, path, data) in made.items():
            assert (await client.get(path)).status == 403, name
            assert (await client.get(f"{path}/x")).status == 403, name
            for method in ("POST", "PUT", "DELETE"):
                if name != "reports":
                    item = path if method == "POST" else f"{path}/x"
                    assert (await client.ask(method, item, data)).status == 403, (name, method)
    me = running.as_("me", version)  # AUTH03
    for path in ("/programs", "/events", *(("/resource_groups",) if version == NEW else ())):
        assert (await me.post(path, {})).status == 403
        assert (await me.delete(f"{path}/x")).status == 403
    plain = running.as_("grid", version)
    report = await running.as_("me", version).post("/reports", made["reports"][2])
    assert (await plain.delete(f"/reports/{report.id}")).status == 200  # decided by scope alone (errata 29)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_answer_to_a_good_secret(running: Running, version: str) -> None:
    client = running.as_("", version)
    reply = await client.ask("POST", "/auth/token", body=SECRET | {"scope": "read_all write_events nonsense"})
    assert reply.headers["Cache-Control"] == "no-store"
    assert (reply.data["token_type"], reply.data["expires_in"]) == ("Bearer", 3600)
    assert set(reply.data["scope"].split()) == auth.ROLES["ven"]  # none of those asked for is held
    narrow = await client.ask("POST", "/auth/token", body=SECRET | {"scope": "read_targets"})
    assert narrow.data["scope"] == "read_targets"
    client.token = narrow.data["access_token"]
    assert (await client.get("/events")).status == 200
    assert (await client.post("/vens", {"venName": "v"})).status == 403
    server = await running.as_("", version).get("/auth/server")
    async with running.session.post(server.data["tokenURL"], data=SECRET) as used:
        assert used.status == 200
    keys = jwt.PyJWKSet.from_dict((await running.as_("", version).get("/auth/jwks")).data)
    claims = jwt.decode(reply.data["access_token"], keys.keys[0].key, ["EdDSA"], issuer="gridparley")
    assert claims["client_id"] == "me"


async def test_what_rfc_6749_says_of_bad_requests(running: Running) -> None:
    client = running.as_()
    for changes, status, error in (
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": "", "client_secret": ""}, 400, "invalid_request"),
    ):
        reply = await client.ask("POST", "/auth/token", body=SECRET | changes)
        assert (reply.status, reply.data["error"], reply.data["status"]) == (status, error, status)
        assert reply.headers["Cache-Control"] == "no-store"
    for body, kind, status in (
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"grant_type":"client_credentials","client_id":7,"client_secret":[]}', "application/json", 400),
        (b"x", "text/plain", 415),
        (b"\xff", "application/x-www-form-urlencoded", 400),
    ):
        reply = await client.ask("POST", "/auth/token", body=body, headers={"Content-Type": kind})
        assert reply.status == status, body
    header = {"Authorization": "Basic !"}
    assert (await client.ask("POST", "/auth/token", body=SECRET, headers=header)).status == 400


async def test_guessing_is_slowed_down(running: Running) -> None:
    client = running.as_()
    for _ in range(10):
        assert (await client.ask("POST", "/auth/token", body=SECRET | {"client_secret": "guess"})).status == 401
    reply = await client.ask("POST", "/auth/token", body=SECRET)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "60")
    await token(running, "other")  # nobody else is hurt


async def test_hashed_secrets(tmp_path: Path) -> None:
    clients = [{"id": "me", "secret_hash": auth.hashed("me-secret")}]
    async with vtn(tmp_path, tokens=False, clients=clients) as running:
        assert await token(running, "me")
        reply = await running.as_().ask("POST", "/auth/token", body=SECRET | {"client_secret": "me-secret "})
        assert reply.status == 401
    async with vtn(tmp_path, tokens=False, clients=clients) as again:
        assert await token(again, "me")


async def test_tokens_survive_a_restart(tmp_path: Path) -> None:
    async with vtn(tmp_path) as running:
        program, held = await running.program(), running.tokens
    async with vtn(tmp_path, tokens=False) as again:
        again.tokens |= held
        for version in VERSIONS:  # AUTH13: one identity at both bases
            assert (await again.as_("grid", version).get(f"/programs/{program}")).status == 200


async def test_an_issuer_outside(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    jwk = jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key(), as_dict=True) | {"kid": "k", "use": "sig"}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    issuer = {
        "issuer": "https://id.example.org",
        "token_url": "https://id.example.org/token",
        "jwks_file": str(tmp_path / "jwks.json"),
        "audience": "vtn",
        "client_claim": "azp",
    }

    def signed(kid: str = "k", **changes: Any) -> str:
        claims = {"iss": issuer["issuer"], "aud": "vtn", "azp": "me", "scope": "read_targets", "exp": time.time() + 60}
        return jwt.encode(claims | changes, pem, "RS256", {"kid": kid})

    async with vtn(tmp_path, tokens=False, clients=[], issuer=issuer) as running:
        client = running.as_()
        assert (await client.get("/auth/server")).data == {"tokenURL": issuer["token_url"]}
        assert (await client.ask("POST", "/auth/token", body=SECRET)).status == 501  # AUTH08
        for text, status in (
            (signed(), 200),
            (signed(scope="write_reports"), 403),
            (signed(iss="https://other.example.org"), 401),
            (signed(aud="other"), 401),
            (signed(azp=None), 401),
            (signed(exp=time.time() - 1), 401),
            (signed(kid="unknown"), 401),
        ):
            client.token = text
            assert (await client.get("/events")).status == status


async def test_an_open_vtn_is_read_by_anybody_and_written_by_nobody(tmp_path: Path) -> None:
    async with vtn(tmp_path, profile="open") as running:
        program = await running.program()
        event, _ = await running.event(program), await running.event(program, targets=["t"])
        client = running.as_()
        assert [e["id"] for e in (await client.get("/events")).data] == [event]
        assert (await client.get("/vens")).status == 403
        assert (await client.post("/programs", {"programName": "q"})).status == 403
        client.token = "bad"
        assert (await client.get("/events")).status == 401


async def test_tls_1_2_and_later_only(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    files = {"tls_certificate": str(tmp_path / "pem"), "tls_key": str(tmp_path / "pem")}
    settings = {"profile": "production", "insecure": False, **files}
    async with vtn(tmp_path, tokens=False, **settings) as running:
        assert running.url.startswith("https://")
        for maximum, minimum, good in (
            (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, True),
            (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, True),
        ):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            authority.configure_trust(context)
            context.minimum_version, context.maximum_version = minimum, maximum
            async with running.session.get(f"{running.url}/3.1.0/auth/server", ssl=context) as reply:
                assert (reply.status == 200) is good
                assert (await reply.json())["tokenURL"].startswith("https://")
        with pytest.raises(aiohttp.ClientError):
            await running.session.get(f"{running.url}/3.1.0/auth/server".replace("https", "http"))
