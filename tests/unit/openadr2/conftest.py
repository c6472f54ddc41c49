import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_PATH = Path(__file__).parents[2] / "support" / "openadr2.py"


@pytest.fixture(scope="session")
def around() -> ModuleType:
    """The module tests/support/openadr2.py."""
    if "gridparley_tests_openadr2" not in sys.modules:
        spec = importlib.util.spec_from_file_location("gridparley_tests_openadr2", _PATH)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["gridparley_tests_openadr2"]
