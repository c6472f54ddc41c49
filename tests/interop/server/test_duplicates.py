"""U-12 at a running server: duplicates are processed once and answered with the stored bytes; ids are per sender."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
from crash.campaign import PLACE, WITNESS, Witness

from adapters.uftp import SigningKey, public_key_string
from adapters.uftp.envelope import read, seal
from datamodels import Role
from interop.bench.process import serve
from interop.bench.trade import AGR, DSO, Parties, free_ports


async def test_u12_fifty_duplicates_at_once_other_content_and_another_sender(tmp_path: Path) -> None:
    parties, port, key = Parties(tmp_path, 0, 1), free_ports(1)[0], SigningKey.from_seed(b"w" * 32)
    config = [
        *parties.config(AGR),
        *("[[peers]]", f'domain = "{WITNESS}"', 'role = "DSO"', f'keys = ["{public_key_string(key.public)}"]'),
        f'endpoint = "http://127.0.0.1:{port}/shapeshifter/api/v3/message"',
        *("[[market.congestion_points]]", f'address = "{PLACE}"', f'dso = "{WITNESS}"'),
    ]
    async with serve(parties.folders[AGR], config) as server, aiohttp.ClientSession() as session:
        url = server.adapters["uftp"]
        witness = Witness(url, port, key, random.Random(1))
        listener = await witness.listen()
        message_id, body = witness.message()
        payload = read(body).payload

        async def post(data: bytes) -> int:
            async with session.post(url, data=data, headers={"Content-Type": "text/xml"}) as response:
                return response.status

        assert set(await asyncio.gather(*(post(body) for _ in range(50)))) == {200}
        answered = ("FlexRequestResponse", message_id)
        await _until(lambda: witness.answers[answered] and witness.answers["FlexOffer", message_id])
        assert await post(body) == 200
        await _until(lambda: witness.count[answered] > 1)
        assert len(witness.answers[answered]) == 1, "a duplicate gets the stored answer, byte for byte"
        assert len(witness.answers["FlexOffer", message_id]) == 1

        other = payload.replace(b'Revision="1"', b'Revision="2"')
        assert await post(seal(other, WITNESS, Role.DSO, key)) == 200
        await _until(lambda: len(witness.answers[answered]) == 2)
        (refusal,) = [said for said in witness.answers[answered] if b"Duplicate Identifier" in said]
        assert b'Result="Rejected"' in refusal

        theirs = payload.replace(WITNESS.encode(), DSO.encode()).replace(
            PLACE.encode(), b"ea1.2020-01.org.example:bench"
        )
        assert await post(seal(theirs, DSO, Role.DSO, parties.keys[DSO])) == 200
        database = f"{(parties.folders[AGR] / 'data' / 'gridparley.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as store:
            query = "SELECT peer, accepted FROM outbox WHERE kind = 'FlexRequestResponse'"
            await _until(lambda: len(store.execute(query).fetchall()) == 3)
            inbox = store.execute("SELECT peer, conflict, accepted FROM inbox ORDER BY seq").fetchall()
            handled = Counter(store.execute("SELECT kind FROM events WHERE kind LIKE 'message.%'").fetchall())
        await listener.cleanup()
    assert inbox == [(WITNESS, 0, 1), (WITNESS, 1, 0), (DSO, 0, 1)]
    assert handled["message.in",] == 3
    assert handled["message.accepted",] == 2


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)
