"""openleadr's VTN as a process of its own, on loopback only: its server must not face a network.

Speaks JSON lines: what happens goes to stdout, `event`, `modify` and `cancel` are told on stdin.
usage: vtn.py [CA CERTIFICATE KEY VEN_CERTIFICATE [signed]] (PEM files)
"""

import asyncio
import contextlib
import io
import json
import logging
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from openleadr import OpenADRServer
from openleadr.utils import certificate_fingerprint

logging.disable(logging.CRITICAL)


def say(what: str, **data: object) -> None:
    print(json.dumps({"what": what, **data}), flush=True)


def intervals(start: datetime, values: list[float]) -> list[dict]:
    step = timedelta(seconds=20)
    return [{"dtstart": start + n * step, "duration": step, "signal_payload": value} for n, value in enumerate(values)]


async def main() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more: dict = {}
    if len(sys.argv) > 1:
        authority, certificate, key, ven = sys.argv[1:5]
        more = {"http_cert": certificate, "http_key": key, "http_ca_file": authority}
        shown = certificate_fingerprint(Path(ven).read_text())

        async def lookup(ven_id: str) -> dict:
            return {"ven_id": ven_id, "ven_name": "one", "fingerprint": shown, "registration_id": "registration1"}

        more |= {"ven_lookup": lookup, "verify_message_signatures": "signed" in sys.argv}
        if "signed" in sys.argv:
            more |= {"cert": certificate, "key": key}
    with contextlib.redirect_stdout(io.StringIO()):
        server = OpenADRServer(
            vtn_id="OPENLEADR",
            http_host="127.0.0.1",
            http_port=port,
            requested_poll_freq=timedelta(seconds=1),
            **more,
        )

    async def register(info: dict) -> tuple[str, str]:
        say("register", ven_name=info["ven_name"], ven_id=info.get("ven_id"), pull=info["http_pull_model"])
        return "ven1", "registration1"

    def offered(
        ven_id: str,
        resource_id: str,
        measurement: str,
        unit: str,
        scale: str,
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,
    ) -> tuple | None:
        say("offer", resource_id=resource_id, measurement=measurement, unit=unit, scale=scale)
        if measurement != "RealPower":
            return None
        return reported, timedelta(seconds=1), timedelta(seconds=1)

    def reported(values: list[tuple[datetime, float]]) -> None:
        say("report", values=[(at.isoformat(), value) for at, value in values])

    def opted(ven_id: str, event_id: str, opt_type: str) -> None:
        say("opt", ven_id=ven_id, event_id=event_id, opt_type=opt_type)

    def leave(ven_id: str) -> tuple[str, dict]:
        say("left", ven_id=ven_id)
        return "oadrResponse", {}

    server.add_handler("on_create_party_registration", register)
    server.add_handler("on_register_report", offered)
    server.add_handler("on_cancel_party_registration", lambda payload: leave(payload["ven_id"]))
    with contextlib.redirect_stdout(io.StringIO()):
        await server.run_async()
    say("listening", url=f"{'https' if more else 'http'}://localhost:{port}/OpenADR2/Simple/2.0b")

    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        order = json.loads(line)
        start = datetime.now(UTC) + timedelta(seconds=order.get("in_s", 1))
        if order["do"] == "event":
            server.add_event(
                ven_id="ven1",
                event_id=order["id"],
                signal_name=order["signal"],
                signal_type=order["type"],
                intervals=intervals(start, order["values"]),
                target={"resource_id": order["resource"]} if "resource" in order else {"ven_id": "ven1"},
                callback=opted,
            )
        elif order["do"] == "modify":
            event = next(e for e in server.events["ven1"] if e.event_descriptor.event_id == order["id"])
            event.event_descriptor.modification_number += 1
            for interval, value in zip(event.event_signals[0].intervals, order["values"], strict=True):
                interval["signal_payload"] = value
            server.events_updated["ven1"] = True
            server.event_callbacks[order["id"]] = (event, opted)
        elif order["do"] == "cancel":
            server.cancel_event("ven1", order["id"])


asyncio.run(main())
