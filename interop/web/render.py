"""HTML: templates, and how numbers, times and states are written."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, Undefined, pass_context
from jinja2.runtime import Context

from interop.web.assets import Assets

__all__ = ["environment", "number", "show_time"]

_NONE = "\u2013"
_GOOD = frozenset(
    {
        "accepted",
        "valid",
        "verified",
        "ok",
        "online",
        "succeeded",
        "started",
        "delivered",
        "known",
        "active",
        "ordered",
        "partly_ordered",
        "settled",
        "registered",
    }
)
_BAD = frozenset(
    {
        "rejected",
        "invalid",
        "failed",
        "offline",
        "aborted",
        "dead",
        "conflict",
        "revoked",
        "barred",
        "disputed",
        "unsold",
        "cancelled",
    }
)


def environment(assets: Assets) -> Environment:
    """Templates with everything escaped; `asset(name)` gives the URL of a static file."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["asset"] = assets.url
    env.filters.update(
        num=number,
        money=money,
        amount=amount,
        time=pass_context(_time),
        words=words,
        tone=tone,
        text=text,
        compact=compact,
        segment=lambda value: quote(str(value), safe=""),
    )
    return env


def number(value: Any, digits: int = 1) -> str:
    """A number as people write it: a true minus sign, thousands apart; a dash for what is not known."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return _NONE
    digits = 0 if isinstance(value, int) else digits
    shown = f"{value:,.{digits}f}".replace(",", "\u202f")
    if not shown.strip("-0.\u202f"):
        shown = shown.lstrip("-")
    return shown.replace("-", "\u2212")


def money(value: Any) -> str:
    """An amount to the cent; amounts travel as decimal strings."""
    if isinstance(value, Undefined):
        return _NONE
    try:
        return number(float(value), 2)
    except (TypeError, ValueError):
        return _NONE


def amount(value: Any) -> str:
    """A decimal string with the digits that it has."""
    return text(value).replace("-", "\u2212")


def show_time(value: Any, zone: str, form: str = "%d %b %H:%M:%S") -> str:
    """An ISO instant in a market's time zone. What is no instant is shown as it stands."""
    if value is None or isinstance(value, Undefined):
        return _NONE
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return instant.astimezone(ZoneInfo(zone)).strftime(form)
    except (ValueError, ZoneInfoNotFoundError):
        return str(value)


def _time(context: Context, value: Any, form: str = "%d %b %H:%M:%S") -> str:
    return show_time(value, context["zone"], form)


def text(value: Any) -> str:
    """Text, or a dash where there is none."""
    return _NONE if value is None or isinstance(value, Undefined) or value == "" else str(value)


def words(value: Any) -> str:
    """A constant as words: IMPORT_LIMIT is "import limit", FlexRequest stays."""
    shown = text(value)
    return re.sub("_", " ", shown).lower() if shown.isupper() or "_" in shown else shown


def tone(value: Any) -> str:
    """The class that colours a state; the state itself is always written beside it."""
    if isinstance(value, bool):
        return "good" if value else "bad"
    key = str(value).lower()
    return "good" if key in _GOOD else "bad" if key in _BAD else "quiet"


def compact(value: Any, most: int = 400) -> str:
    """Data on one line, cut where it is long."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
