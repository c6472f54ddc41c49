"""What tests of the OpenADR 3 adapter share: samples, and the standard's own files where they are at hand."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.openadr3 import codec
from adapters.openadr3.codec import Shape, decode, loads
from adapters.openadr3.members import Version

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("GRIDPARLEY_SHARED", ROOT.parent / "shared"))
DATA = ROOT / "tests" / "data" / "openadr3"


def vector(name: str) -> Any:
    """A file of public test vectors; the test is skipped where they are absent."""
    path = SHARED / "vectors" / "openadr3" / name
    if not path.is_file():
        pytest.skip(f"no OpenADR 3 vectors at {path.parent} (set GRIDPARLEY_SHARED)")
    return loads(path.read_bytes())


def specification(version: Version) -> dict[str, Any]:
    """The OpenAPI document of a version; the test is skipped where it is absent."""
    import yaml

    path = SHARED / "specs" / "openadr3" / version / "openadr3.yaml"
    if not path.is_file():
        pytest.skip(f"no OpenADR 3 specification at {path} (set GRIDPARLEY_SHARED)")
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return document


def data(name: str) -> Any:
    """A file of samples and of what breaks them."""
    return loads((DATA / name).read_bytes())


def read(shape: Shape[Any], given: Any, **more: Any) -> Any:
    """The object in a JSON form that must be good."""
    decoded = decode(shape, given, **more)
    assert not decoded.problems, [str(p) for p in decoded.problems]
    return decoded.value


def sample_shape(name: str) -> Shape[Any]:
    """The form of a sample in `der.json` or `gac.json`, after its name."""
    kind, _, edition = name.partition("-")
    version = Version.V301 if edition == "2.0" else Version.V310
    shapes = {"program": "program", "ven": "ven", "resource": "resource", "rejected": "resource"}
    reports = ("registration", "delta", "ack", "delivery", "status")
    name = shapes.get(kind) or ("resourceGroup" if kind == "group" else "report" if kind in reports else "event")
    # Samples show only what the profile speaks of: a client's form, with an id where there is one.
    return Shape(codec.SHAPES[version][name].cls, version)


def changed(sample: Any, changes: dict[str, Any]) -> Any:
    """A copy with other values at `a.0.b` paths; null takes a member or an item away."""
    out = copy.deepcopy(sample)
    for path, value in changes.items():
        *way, last = path.split(".")
        place = out
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        key: Any = int(last) if last.isdigit() else last
        if value is None:
            del place[key]
        else:
            place[key] = value
    return out


def plain(value: Any) -> Any:
    """JSON data with ordinary numbers, for a client that does not keep their digits."""
    return json.loads(codec.dumps(value))
