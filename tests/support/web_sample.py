"""A sunny day on a weak feeder, made up for the pages' tests: the same items that a running server publishes."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

from support import web_market

from datamodels import MarketCalendar
from interop.feed import Feed

OWN = "agr.example.org"
DSO = "dso.example.org"
CONVERSATION = "6a1f0f0e-7f3b-4a52-9a52-0d7d5b6a3c11"
PERIOD = date(2016, 5, 20)
CALENDAR = MarketCalendar(tz="Europe/Berlin")
REQUESTED = list(range(44, 63))
EXPORT_LIMIT_KW = -110.0


def day() -> dict[str, Any]:
    """Topic `day`."""
    forecast = [round(h + p, 1) for h, p in zip(homes(), solar(), strict=True)]
    plan = [max(f, EXPORT_LIMIT_KW + 3) if k + 1 in REQUESTED else f for k, f in enumerate(forecast)]
    return {
        "period": PERIOD.isoformat(),
        "timezone": CALENDAR.tz,
        "isp_minutes": 15,
        "starts": [start.isoformat() for start in CALENDAR.starts(PERIOD)],
        "limit_import_kw": [120.0] * 96,
        "limit_export_kw": [EXPORT_LIMIT_KW] * 96,
        "forecast_kw": forecast,
        "prognosis_kw": [f + 4 * math.sin(k / 5) for k, f in enumerate(forecast)],
        "plan_kw": plan,
        "requested": REQUESTED,
        "congestion_point": "ea1.2016-01.org.example.dso:feeder-7",
    }


def solar() -> list[float]:
    return [-165 * max(0.0, math.sin(math.pi * (k - 22) / 62)) ** 1.6 if 22 < k < 84 else 0.0 for k in range(96)]


def homes() -> list[float]:
    return [
        18 + 9 * math.exp(-(((k - 30) / 5) ** 2)) + 26 * math.exp(-(((k - 76) / 7) ** 2)) + 2.5 * math.sin(k * 1.7)
        for k in range(96)
    ]


def actuals(isps: int) -> dict[str, list[float]]:
    """Topic `actuals` after so many ISPs."""
    planned = day()["plan_kw"]
    forecast = day()["forecast_kw"]
    battery = [
        p - f + (0.8 * math.sin(k) if p != f else 0.0) for k, (p, f) in enumerate(zip(planned, forecast, strict=True))
    ]
    battery = [b - (14 * math.exp(-(((k - 78) / 6) ** 2))) for k, b in enumerate(battery)]
    net = [h + p + b for h, p, b in zip(homes(), solar(), battery, strict=True)]
    return {
        name: [round(v, 2) for v in values[:isps]]
        for name, values in {"net_kw": net, "pv_kw": solar(), "battery_kw": battery, "homes_kw": homes()}.items()
    }


def progress(isp: int, phase: str = "day") -> dict[str, Any]:
    now = CALENDAR.start(PERIOD, min(max(isp, 1), 96)) + timedelta(minutes=7)
    return {
        "phase": phase,
        "isp": isp,
        "of": 96,
        "market_time": now.isoformat(),
        "text": "Batteries follow the order; measuring every ISP",
    }


def settlement() -> dict[str, Any]:
    row = {
        "order_reference": "ord-20160520-1",
        "price": "41.2000",
        "penalty": "0.3100",
        "net": "40.8900",
        "currency": "EUR",
        "ordered_kwh": 128.4,
        "delivered_kwh": 126.9,
        "share": 0.9883,
        "isps": REQUESTED,
    }
    return {"rows": [row]}


def message(n: int, kind: str, direction: str, accepted: bool | None = True, **more: Any) -> dict[str, Any]:
    at = datetime(2016, 5, 19, 10, 0, 7, tzinfo=UTC) + timedelta(minutes=4 * n)
    return {
        "direction": direction,
        "adapter": "uftp",
        "peer": DSO,
        "kind": kind,
        "message_id": f"3f0e2f2c-0000-4000-8000-{n:012d}",
        "conversation_id": CONVERSATION,
        "at": at.isoformat(),
        "accepted": accepted,
        "reasons": [],
        "signature": "ok",
        **more,
    }


def answer(n: int, about: dict[str, Any]) -> dict[str, Any]:
    """The peer's or our own word on a message, as a message of its own."""
    direction = "out" if about["direction"] == "in" else "in"
    content = {"$": "Acknowledgement", "refers_to": about["message_id"]}
    more = {"reasons": about["reasons"], "message": content}
    return message(n, f"{about['kind']}Response", direction, about["accepted"], **more)


def conversation() -> list[dict[str, Any]]:
    said = [
        message(1, "FlexRequest", "in"),
        message(3, "FlexOffer", "out", False, reasons=["ExpirationDateTime is after the end of the first ISP"]),
        message(5, "FlexOffer", "out"),
        message(7, "FlexOrder", "in"),
    ]
    answered = [row for m in said for row in (m, answer(int(m["message_id"][-12:]) + 1, m))]
    return [*answered, message(9, "D-Prognosis", "out", None, state="PENDING", reason="connection refused")]


def result() -> dict[str, Any]:
    """Topic `result`, as the demo posts it."""
    return {
        "result": {
            "scenario": "rural1",
            "isps_congested": {"before": 21, "after": 0},
            "peak_kw": {"before": 148.3, "after": 108.9},
            "max_loading_pct": {"before": 134.8, "after": 97.2},
            "orders": 1,
            "messages": {"uftp": 22, "modbus": 5120, "openadr2": 910},
            "devices": {"modbus": 13, "openadr2": 13},
            "seconds": 118.0,
        },
        "failures": [],
    }


class SampleViews:
    """`Views` over lists that a test may change."""

    own = OWN
    role = "AGR"
    timezone = CALENDAR.tz

    def now(self) -> datetime:
        """Market time: the middle of the ISP that is running."""
        isp = (self.feed.latest("progress") or {}).get("isp", 1)
        return CALENDAR.start(PERIOD, min(max(isp, 1), 96)) + timedelta(minutes=7)

    def __init__(self) -> None:
        self.feed = Feed()
        self.said: list[dict[str, Any]] = []
        self.things: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.known: list[dict[str, Any]] = []
        self.alarmed: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.market: web_market.Sample | None = None
        self.register: dict[str, Any] = {"day": None, "points": [], "aggregators": [], "updates": []}

    def fill(self, isps: int = 51) -> SampleViews:
        """A day in progress, with everything that happened until then."""
        self.feed.publish("day", day())
        self.feed.publish("actuals", actuals(isps))
        self.feed.publish("progress", progress(isps))
        self.said = conversation()
        self.market = web_market.Sample(self.role)
        self.register = web_market.register(named=self.role == "CRO")
        self.things = resources(isps)
        self.told = [
            {
                "id": f"ord-20160520-1:{r['id']}",
                "resource": r["id"],
                "kind": "SETPOINT",
                "revision": k % 3,
                "status": "ABORTED" if k == 4 else "STARTED",
                "value": 8000 - 400 * k,
                "at": progress(isps)["market_time"],
                "reason": "resource stopped answering" if k == 4 else "",
            }
            for k, r in enumerate(r for r in self.things if r["kind"] == "BATTERY")
        ]
        self.known = [
            {
                "id": DSO,
                "role": "DSO",
                "adapters": ["uftp"],
                "endpoint": "https://dso.example.org/uftp",
                "status": "known",
                "last_seen": self.said[-2]["at"],
                "warnings": [],
            },
            {"id": "ven-battery-1", "role": "VEN", "adapters": ["openadr2"], "status": "online", "last_seen": None},
        ]
        self.alarmed = [
            {
                "rule": "peer.silent",
                "peer": "battery-5",
                "message": "no telemetry for 3 ISPs; its share was planned anew over the others",
                "at": progress(49)["market_time"],
            }
        ]
        self.logged = [
            {"seq": n, "at": m["at"], "kind": "message.received", "data": {"peer": m["peer"], "kind": m["kind"]}}
            for n, m in reversed(list(enumerate(self.said, 1)))
        ]
        return self

    async def messages(self, conversation: str | None, limit: int) -> list[dict[str, Any]]:
        return [m for m in self.said if conversation in (None, m["conversation_id"])][-limit:]

    async def places(self) -> list[dict[str, Any]]:
        return self.market.places() if self.market else []

    async def place(self, point: str, day: date) -> dict[str, Any] | None:
        return self.market.place(point, day) if self.market else None

    async def settlements(self) -> list[dict[str, Any]]:
        return self.market.settlements() if self.market else []

    async def reference(self) -> dict[str, Any]:
        return self.register

    async def dispatches(self) -> list[dict[str, Any]]:
        return self.told

    needs_token = False

    async def programmes(self) -> list[dict[str, Any]]:
        return []

    async def programme_events(self) -> list[dict[str, Any]]:
        return []

    async def programme_event(self, id: str) -> dict[str, Any] | None:
        return None

    async def vens(self) -> list[dict[str, Any]]:
        return []

    async def ven(self, id: str) -> dict[str, Any] | None:
        return None

    async def resources(self) -> list[dict[str, Any]]:
        return self.things

    async def peers(self) -> list[dict[str, Any]]:
        return self.known

    async def alarms(self, limit: int) -> list[dict[str, Any]]:
        return self.alarmed[:limit]

    async def events(self, limit: int) -> list[dict[str, Any]]:
        return self.logged[:limit]


def resources(isps: int) -> list[dict[str, Any]]:
    batteries = [
        {
            "id": f"battery-{k}",
            "kind": "BATTERY",
            "adapter": "modbus" if k < 4 else "openadr2",
            "power_kw": round(7.6 - 0.4 * k, 2) if k != 5 else 0.0,
            "stored_kwh": round(4.2 + 1.3 * k, 1),
            "soc": 0.31 + 0.09 * k,
            "online": k != 5,
            "limit_kw": 10.0,
        }
        for k in range(1, 7)
    ]
    pv = [
        {"id": f"pv-{k}", "kind": "PV", "adapter": "modbus", "power_kw": -21.4 + k, "online": True, "limit_kw": None}
        for k in range(1, 6)
    ]
    feeder = {
        "id": "feeder-7",
        "kind": "METER",
        "adapter": "iec61850",
        "power_kw": actuals(isps)["net_kw"][-1],
        "online": True,
    }
    return [*batteries, *pv, feeder]
