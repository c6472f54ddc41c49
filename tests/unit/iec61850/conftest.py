import os
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2] / "data" / "iec61850"


@pytest.fixture
def scl_file() -> Callable[[str], bytes]:
    """The content of one of our own SCL files."""
    return lambda name: (DATA / name).read_bytes()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Schemas and public samples that are not part of the project; tests that need them are skipped without."""
    place = os.environ.get("GRIDPARLEY_SHARED")
    root = Path(place) if place else Path(__file__).resolve().parents[4] / "shared"
    if not (root / "vectors" / "iec61850").is_dir():
        pytest.skip("no folder with IEC schemas and public SCL files; GRIDPARLEY_SHARED names one")
    return root
