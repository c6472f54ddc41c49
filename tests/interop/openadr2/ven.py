"""A VEN made of openleadr's own client, as a process of its own. Speaks JSON lines on stdout; see `test_openleadr`.

usage: ven.py VTN_URL VEN_NAME [CERTIFICATE KEY CA VTN_FINGERPRINT]; with the files over TLS, and signed
"""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime, timedelta

from openleadr import OpenADRClient

logging.disable(logging.CRITICAL)


def say(what: str, **data: object) -> None:
    print(json.dumps({"what": what, **data}), flush=True)


def told(event: dict) -> dict:
    about, (signal,) = event["event_descriptor"], event["event_signals"]
    return {
        "id": about["event_id"],
        "mod": about["modification_number"],
        "status": about["event_status"],
        "start": event["active_period"]["dtstart"].isoformat(),
        "signal": [signal["signal_name"], signal["signal_type"], signal["measurement"]["name"]],
        "values": [i["signal_payload"] for i in signal["intervals"]],
        "seconds": [i["duration"].total_seconds() for i in signal["intervals"]],
        "target": event["targets_by_type"],
    }


async def main(url: str, name: str, *tls: str) -> None:
    files = dict(zip(("cert", "key", "ca_file", "vtn_fingerprint"), tls, strict=False))
    options = {"allow_jitter": False, "check_hostname": False, "show_fingerprint": False}
    client = OpenADRClient(ven_name=name, vtn_url=url, **options, **files)

    async def power(
        date_from: datetime, date_to: datetime, sampling_interval: timedelta
    ) -> list[tuple[datetime, float]]:
        return [(date_to - sampling_interval, 1.25)]

    client.add_report(
        power,
        resource_id="battery",
        measurement="power_real",
        scale="k",
        reading_type="Mean",
        report_type="usage",
        data_collection_mode="full",
        sampling_rate=timedelta(seconds=1),
        report_duration=timedelta(hours=1),
    )

    async def on_event(event: dict) -> str:
        say("event", **told(event))
        return "optIn"

    async def on_update_event(event: dict) -> str:
        say("update", **told(event))
        return "optOut" if event["event_signals"][0]["intervals"][0]["signal_payload"] == 666 else "optIn"

    client.add_handler("on_event", on_event)
    client.add_handler("on_update_event", on_update_event)
    await client.run()
    say("registered", ven_id=client.ven_id, registration_id=client.registration_id, now=datetime.now(UTC).isoformat())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await client.cancel_party_registration()
    say("cancelled", registration_id=client.registration_id)
    await client.client_session.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
