import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_SUPPORT = Path(__file__).parents[1] / "support"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _SUPPORT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """The module `tests/support/web_sample.py`."""
    return _load("web_sample")


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Any]:
    """A tab of a headless Chromium (class `Page` in `tests/support/cdp.py`)."""
    cdp = _load("cdp")
    program = cdp.find_chromium()
    if program is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(cdp.NAMES)})")
    async with cdp.browse(program, tmp_path / "profile") as page:
        yield page
