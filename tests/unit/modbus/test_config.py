"""Settings, addresses and the mapping's edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.errors import Rejection
from adapters.modbus.config import Address, Settings
from adapters.modbus.schedule import Schedule
from datamodels import Binding, Dispatch, DispatchInterval, DispatchKind, Resource, ResourceKind, ResourceRole


def resource(address: str, adapter: str = "modbus", **options: str) -> Resource:
    return Resource("r", "c", ResourceKind.PV, ResourceRole.PRODUCER, -1, 0, Binding(adapter, address, options))


def test_settings_are_typed_and_have_defaults() -> None:
    settings = Settings.read({"poll_s": 1, "max_writes_per_day": 5})
    assert (settings.poll_s, settings.max_writes_per_day, settings.verify_s) == (1.0, 5, 1.0)


@pytest.mark.parametrize(
    ("config", "rule", "text"),
    [
        ({"pol_s": 1}, "config.unknown", "did you mean poll_s?"),
        ({"poll_s": "1"}, "config.value", "'1' is not a positive number"),
        ({"poll_s": True}, "config.value", "True"),
        ({"timeout_s": 0}, "config.value", "0 is not a positive"),
        ({"max_writes_per_day": 1.5}, "config.value", "whole number"),
        ({"reversion_s": 1}, "config.value", "whole seconds"),
        ({"reconnect_min_s": 5, "reconnect_max_s": 2}, "config.value", "less than"),
    ],
)
def test_bad_settings_are_refused(config: dict[str, Any], rule: str, text: str) -> None:
    with pytest.raises(Rejection) as caught:
        Settings.read(config)
    assert caught.value.problems[0].rule == rule
    assert text in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(Rejection) as caught:
        Settings.read({"poll_s": -1, "timeout": 1})
    assert len(caught.value.problems) == 2


def test_addresses() -> None:
    assert Address.of(resource("127.0.0.1:502")) == Address("127.0.0.1", 502, 1, 0.0, 1)
    assert Address.of(resource("[::1]:502/7", min_limit_pct="2.5")) == Address("::1", 502, 7, 2.5, 1)
    assert Address.of(resource("h:1", unit="3", max_in_flight="4")).unit == 3


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (resource("502"), "host:port"),
        (resource("host:port"), "port 'port'"),
        (resource("host:70000"), "70000"),
        (resource("host:502/300"), "unit '300'"),
        (resource("host:502", min_limit="5"), "did you mean min_limit_pct?"),
        (resource("host:502", adapter="openadr2"), "not bound"),
    ],
)
def test_bad_addresses_are_refused(bad: Resource, text: str) -> None:
    with pytest.raises(Rejection, match=text.replace("?", r"\?")):
        Address.of(bad)


def test_next_change_walks_the_edges_of_all_orders() -> None:
    begin, isp = datetime(2026, 5, 20, tzinfo=UTC), timedelta(minutes=15)
    schedule = Schedule()
    for name, offset in (("a", 0), ("b", 2)):
        interval = DispatchInterval(begin + offset * isp, isp, 1)
        schedule.put(Dispatch(name, "r", DispatchKind.EXPORT_LIMIT, (interval,), "s"))
    edges, now = [], begin - isp
    while (change := schedule.next_change(now)) is not None:
        edges.append((change - begin) // isp)
        now = change
    assert edges == [0, 1, 2, 3]
