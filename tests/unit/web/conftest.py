from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from interop.web import mount


@pytest.fixture
def views(sample: ModuleType) -> Any:
    return sample.SampleViews().fill()


@pytest.fixture
async def client(views: Any) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    mount(app, views, views.now)
    async with TestClient(TestServer(app)) as client:
        yield client
