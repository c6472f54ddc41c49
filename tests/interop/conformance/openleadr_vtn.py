"""openleadr's VTN as a process of its own, on loopback only: its server must not face a network.

Prints its URL as the last line, once it listens. usage: openleadr_vtn.py
"""

import asyncio
import logging
import socket

from openleadr import OpenADRServer

logging.disable(logging.CRITICAL)


async def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = OpenADRServer(vtn_id="OPENLEADR", http_host="127.0.0.1", http_port=port)
    registered = 0

    async def register(info: dict) -> tuple[str, str]:
        nonlocal registered
        registered += 1
        return f"ven{registered}", f"registration{registered}"

    server.add_handler("on_create_party_registration", register)
    await server.run_async()
    print(f"URL http://127.0.0.1:{port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
