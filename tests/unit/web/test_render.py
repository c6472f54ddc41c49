from decimal import Decimal

import pytest
from jinja2 import Undefined

from interop.web.render import compact, money, number, show_time, tone, words


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (-107.23, 1, "\u2212107.2"),
        (-0.04, 1, "0.0"),
        (1234567, 1, "1\u202f234\u202f567"),
        (0, 1, "0"),
        (None, 1, "\u2013"),
        (True, 1, "\u2013"),
        (float("nan"), 1, "\u2013"),
        (float("inf"), 1, "\u2013"),
        ("12", 1, "\u2013"),
        (Undefined(), 1, "\u2013"),
    ],
)
def test_numbers(value: object, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_money_reads_decimal_strings() -> None:
    assert money("40.8900") == "40.89"
    assert money(Decimal("-1200.5")) == "\u22121\u202f200.50"
    assert money("much") == money(None) == money(Undefined()) == "\u2013"


def test_times_are_market_times() -> None:
    assert show_time("2016-05-20T10:30:00+00:00", "Europe/Berlin", "%H:%M") == "12:30"
    assert show_time("yesterday", "Europe/Berlin") == "yesterday"
    assert show_time("2016-05-20T10:30:00+00:00", "No/Where") == "2016-05-20T10:30:00+00:00"
    assert show_time(None, "UTC") == "\u2013"


def test_words_and_tones() -> None:
    assert words("IMPORT_LIMIT") == "import limit"
    assert words("FlexRequest") == "FlexRequest"
    assert (tone(True), tone("ABORTED"), tone("NEW")) == ("good", "bad", "quiet")


def test_long_data_is_cut() -> None:
    assert len(compact({"k": "v" * 1000})) == 400
    assert compact({"ü": 1}) == '{"ü": 1}'
