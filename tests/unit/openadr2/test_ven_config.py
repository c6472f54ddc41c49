"""Settings of the VEN: what is refused, and how it says so; which roles a configuration makes."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from support.openadr2 import HandClock
from support.openadr2_ven import PEER, Store, ven_ports

from adapters.openadr2 import BothRoles, OpenAdr2Adapter, VenAdapter, build
from adapters.openadr2.ven.config import OptPolicy, read_vtns

GOOD = {"peer": PEER, "url": "https://utility.example/oadr", "ven_name": "one"}


def test_defaults_and_the_base_url() -> None:
    (vtn,) = read_vtns([GOOD])
    assert str(vtn.base) == "https://utility.example/oadr/OpenADR2/Simple/2.0b"
    assert (vtn.opt, vtn.poll_s, vtn.reports) == (OptPolicy.AUTO, 0.0, True)
    (whole,) = read_vtns([GOOD | {"url": "https://utility.example/OpenADR2/Simple/2.0b/", "base_price": "0.25"}])
    assert str(whole.base) == "https://utility.example/OpenADR2/Simple/2.0b"
    assert whole.base_price == Decimal("0.25")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"ven_nam": "x"}, "ven_nam is not known; did you mean ven_name?"),
        ({"peer": ""}, "peer: a text is needed"),
        ({"url": "http://utility.example"}, "https is needed"),
        ({"url": "http://utility.example", "insecure": True}, "https is needed"),
        ({"url": "utility"}, "the base URL of a VTN is needed"),
        ({"profile": "loose"}, "one of strict, lenient is needed"),
        ({"opt": "maybe"}, "one of auto, in, out is needed"),
        ({"listen": "127.0.0.1:8082"}, "listen and push_url go together"),
        ({"listen": "nowhere", "push_url": "https://us/"}, "address:port is needed"),
        ({"listen": "0.0.0.0:1", "push_url": "https://us/"}, "is needed to know the VTN by"),
        ({"listen": "0.0.0.0:1", "push_url": "http://us/", "insecure": True}, "loopback addresses only"),
        ({"tls_certificate": "/nowhere"}, "tls_certificate and tls_key go together"),
        ({"tls_ca": "/nowhere"}, "there is no file /nowhere"),
        ({"signed": True}, "are needed to sign with"),
        ({"signed": True}, "fingerprint is needed"),
        ({"levels_w": [1, 2]}, "three ceilings"),
        ({"levels_w": ["1"]}, "a whole number is needed"),
        ({"poll_s": -1}, "poll_s: at least 0"),
        ({"sampling_s": 0}, "sampling_s: at least 1"),
        ({"base_price": "much"}, "a price is needed"),
        ({"reports": "yes"}, "true or false is needed"),
        ({"resources": ["a"]}, "a table of texts is needed"),
    ],
)
def test_what_is_wrong_is_named(settings: dict, text: str) -> None:
    with pytest.raises(ValueError, match=r"openadr2 configuration: .*vtns\[1\]") as refused:
        read_vtns([GOOD | settings])
    assert text in str(refused.value)


def test_what_is_missing_or_stands_twice() -> None:
    with pytest.raises(ValueError, match="ven_name is missing"):
        read_vtns([{"peer": PEER, "url": "https://utility.example"}])
    with pytest.raises(ValueError, match="stands twice"):
        read_vtns([GOOD, GOOD])
    with pytest.raises(ValueError, match="a list of tables"):
        read_vtns({"peer": PEER})


def test_the_example_of_the_page_is_good(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "utility.md").read_text(encoding="utf-8")
    example = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    (vtn,) = example["adapters"]["openadr2"]["vtns"]
    for key in ("tls_certificate", "tls_key", "tls_ca"):
        (tmp_path / vtn[key]).touch()
        vtn[key] = str(tmp_path / vtn[key])
    assert read_vtns([vtn])[0].peer == example["peers"][0]["domain"]


async def test_roles_follow_from_the_configuration(tmp_path: Path) -> None:
    ports = ven_ports(Store(), HandClock())
    ours = {"listen": "127.0.0.1:0", "insecure": True}
    assert type(build(ours, ports)) is OpenAdr2Adapter
    alone = build({"vtns": [GOOD]}, ports)
    assert isinstance(alone, VenAdapter)
    assert not hasattr(alone, "apply")  # no dispatches go to a utility
    both = build(ours | {"vtns": [GOOD | {"url": "http://127.0.0.1:9", "insecure": True}]}, ports)
    assert isinstance(both, BothRoles)
    await both.start()
    assert both.status().ready
    assert set(both.status().peers) == {PEER}
    await both.stop()
    assert not both.status().ready
