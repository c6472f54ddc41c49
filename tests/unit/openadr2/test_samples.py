"""49 public sample messages: accepted or refused as the schema says, and nothing of the accepted ones is lost."""

import csv
import os
from pathlib import Path

import pytest
from lxml import etree

from adapters.errors import TransportFault
from adapters.openadr2 import codec
from adapters.openadr2.tables import qualified

_ROOT = Path(__file__).parents[3]
_SHARED = Path(os.environ.get("GRIDPARLEY_SHARED", _ROOT.parent / "shared")) / "vectors" / "openadr2"
_MANIFEST = _SHARED / "avob_manifest.csv"
if not _MANIFEST.exists():
    pytest.skip("the public sample messages are not here (set GRIDPARLEY_SHARED)", allow_module_level=True)
_SAMPLES = list(csv.DictReader(_MANIFEST.read_text(encoding="utf-8").splitlines()))


def _read(sample: dict[str, str]) -> etree._Element:
    root = codec.read_tree((_SHARED / "avob" / sample["path"]).read_bytes())
    if sample["fragment"] == "yes":
        payload, root = root, etree.Element(qualified("oadr:oadrPayload"))
        etree.SubElement(root, qualified("oadr:oadrSignedObject")).append(payload)
    codec.check_schema(root)
    return codec.payload_element(root)


def _names(element: etree._Element) -> list[str]:
    return [e.tag for e in element.iter()]


def _leaves(element: etree._Element) -> list[str]:
    return sorted((e.text or "").strip() for e in element.iter() if not len(e) and not _is_number(e.text))


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return "PT" in (text or "") or (text or "").strip()[:4] == "2001"
    return True


def test_there_are_49() -> None:
    assert len(_SAMPLES) == 49


@pytest.mark.parametrize("sample", _SAMPLES, ids=[s["path"] for s in _SAMPLES])
def test_sample(sample: dict[str, str]) -> None:
    if (sample["valid_when_wrapped_in_oadrPayload"] or sample["valid_oadr_20b_lxml"]) != "true":
        with pytest.raises(TransportFault) as fault:
            _read(sample)
        assert fault.value.code == 400
        return
    payload = _read(sample)
    value = codec.decode(payload)
    again = codec.read_tree(codec.encode(value))
    codec.check_schema(again)
    assert codec.decode(codec.payload_element(again)) == value
    assert _names(codec.payload_element(again)) == _names(payload)
    assert _leaves(codec.payload_element(again)) == _leaves(payload)


def test_a_fragment_is_refused_as_it_stands() -> None:
    root = codec.read_tree((_SHARED / "avob" / "poll" / "oadrPoll.xml").read_bytes())
    with pytest.raises(TransportFault, match=r"oadr\.envelope"):
        codec.check_schema(root)
