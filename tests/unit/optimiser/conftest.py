"""Instances to plan with; homes and the judge of plans are in `support.homes`."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import homes

from optimiser.instance import read_instance
from optimiser.synthetic import neighbourhood


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Reference instances and optima that are not shipped with the project."""
    root = os.environ.get("GRIDPARLEY_SHARED") or Path(__file__).parents[4] / "shared"
    folder = Path(root) / "vectors" / "optimiser"
    if not folder.is_dir():
        pytest.skip(f"reference instances are not at {folder} (set GRIDPARLEY_SHARED)")
    return folder


@pytest.fixture(scope="session")
def rural1(vectors: Path) -> homes.Case:
    return read_instance(vectors / "rural1_export.npz")


@pytest.fixture(scope="session")
def small() -> homes.Case:
    """Ten homes, 96 ISPs."""
    return neighbourhood(10, 3)


@pytest.fixture(scope="session")
def street() -> Callable[..., homes.Case]:
    return homes.make_street


@pytest.fixture(scope="session")
def judge() -> Callable[..., None]:
    return homes.assert_sound
