"""Rules that hold for the whole code base."""

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_PACKAGES = ("datamodels", "adapters", "optimiser", "interop", "conformance")
_SOURCES = sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))


def _calls_with_schema(source: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) == "XMLParser"
        and any(k.arg in ("schema", None) for k in node.keywords)
    ]


@pytest.mark.parametrize("path", _SOURCES, ids=lambda p: str(p.relative_to(_ROOT)))
def test_no_parser_is_bound_to_a_schema(path: Path) -> None:
    """A schema-bound parser of lxml can be made to end the process."""
    assert _calls_with_schema(path.read_text(encoding="utf-8")) == []


def test_the_rule_sees_a_breach() -> None:
    assert _calls_with_schema("from lxml import etree\netree.XMLParser(schema=None)") == [2]
    assert _calls_with_schema("XMLParser(**options)") == [1]


def test_openleadr_is_never_imported() -> None:
    """Its parser must not face a network; only its schema files are used."""
    for path in (_ROOT / "adapters").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] == "openleadr" for n in names), path
