import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from interop.web import mount

_SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """The module `tests/support/web_sample.py`."""
    spec = importlib.util.spec_from_file_location("web_sample", _SUPPORT / "web_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def views(sample: ModuleType) -> Any:
    return sample.SampleViews().fill()


@pytest.fixture
async def client(views: Any) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    mount(app, views, views.now)
    async with TestClient(TestServer(app)) as client:
        yield client
