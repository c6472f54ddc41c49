"""A home as an OpenADR 2.0b VEN: openleadr's own client in front of a believable house.

Run as its own process, one per home::

    python -m interop.demo.home --profile home.json --vtn URL --clock clock.json --log home.jsonl

The house lives in market time (the shared clock); openleadr lives in wall-clock time, and so do the events and reports
it exchanges. The log gets one line per quarter-hour and device: what the house *really* did.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from openleadr import OpenADRClient
from openleadr.enums import MEASUREMENTS

from adapters.clock import FileClock
from interop.demo.house import House

__all__ = ["main"]

_REPORTED_STEPS = 4
"""Steps repeated in each report, so that a lost report leaves no gap."""


class Ven:
    """The house, what it was asked to do, and what it has to report."""

    def __init__(self, house: House, clock: FileClock, log: TextIO) -> None:
        self.house = house
        self.clock = clock
        self._log = log
        self._events: dict[str, dict[str, Any]] = {}

    # --- called by openleadr ----------------------------------------------------------------------------

    async def on_event(self, event: dict[str, Any]) -> str:
        """A new event, or a newer version of one: opt in and remember it."""
        descriptor = event["event_descriptor"]
        if descriptor["event_status"] == "cancelled":
            self._events.pop(descriptor["event_id"], None)
        else:
            self._events[descriptor["event_id"]] = event
        return "optIn"

    def reading(self, r_id: str) -> list[tuple[datetime, float]]:
        """The last finished quarter-hours of one meter, stamped with the wall-clock time at which they began."""
        done = min(self.house.step_at(self.clock.now()), len(self.house.log))
        return [
            (self.clock.to_wall(self.house.begin(k)).astimezone(UTC), round(self.house.log[k][r_id], 1))
            for k in range(max(done - _REPORTED_STEPS, 0), done)
        ]

    # --- the house ----------------------------------------------------------------------------

    async def live(self) -> None:
        """Live every quarter-hour as it comes; steps that the clock jumped over are lived at once, unsteered."""
        while True:
            step = self.house.step_at(self.clock.now())
            while len(self.house.log) <= step:
                missed = len(self.house.log)
                wishes = self._wishes(missed) if missed == step else {}
                powers = self.house.live(missed, wishes)
                for resource, power in powers.items():
                    line = {"resource": resource, "start": self.house.begin(missed).isoformat(), "mean_w": power}
                    self._log.write(json.dumps(line) + "\n")
            self._log.flush()
            await self.clock.sleep_until(self.house.begin(step + 1))

    def _wishes(self, step: int) -> dict[str, float]:
        instant = self.clock.to_wall(self.house.begin(step) + self.house.step / 2)
        wishes: dict[str, float] = {}
        for event in self._events.values():
            for target in event.get("targets") or []:
                value = _value_at(event, instant)
                if value is not None and target.get("resource_id") in self.house.devices:
                    wishes[target["resource_id"]] = value
        return wishes


def _value_at(event: dict[str, Any], instant: datetime) -> float | None:
    start = event["active_period"]["dtstart"]
    for interval in event["event_signals"][0]["intervals"]:
        begin = interval.get("dtstart") or start
        end = begin + interval["duration"]
        if begin <= instant < end:
            return float(interval["signal_payload"])
        start = end
    return None


async def run(profile: Path, vtn: str, clock: Path, log: TextIO) -> None:
    ven = Ven(House.read(profile), FileClock(clock), log)
    client = OpenADRClient(ven_name=ven.house.name, vtn_url=vtn, disable_signature=True)
    client.add_handler("on_event", ven.on_event)
    client.add_handler("on_update_event", ven.on_event)
    for resource in ["home", *ven.house.devices]:
        client.add_report(
            callback=_collector(ven, resource),
            resource_id="meter" if resource == "home" else resource,
            r_id=resource,
            report_specifier_id="power",
            measurement=MEASUREMENTS.POWER_REAL,
            reading_type="Mean",
            report_type="usage",
            data_collection_mode="full",
            report_duration=timedelta(hours=1),
            sampling_rate=timedelta(seconds=1),
            unit="W",
        )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    living = asyncio.create_task(ven.live())
    talking = asyncio.create_task(client.run())
    await stop.wait()
    living.cancel()
    talking.cancel()
    await client.stop()


def _collector(ven: Ven, r_id: str) -> Any:
    def collect(date_from: datetime, date_to: datetime, sampling_interval: timedelta) -> list[tuple[datetime, float]]:
        return ven.reading(r_id)

    return collect


def main() -> None:
    parser = argparse.ArgumentParser(description="A home as an OpenADR 2.0b VEN (openleadr's client)")
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--vtn", required=True)
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with arguments.log.open("a", encoding="utf-8") as log:
        asyncio.run(run(arguments.profile, arguments.vtn, arguments.clock, log))


if __name__ == "__main__":
    main()
