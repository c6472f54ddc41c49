"""Files with anything in them: a list of findings comes back, never an exception, and never a resource that lies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.iec61850 import read_resources
from datamodels import Severity, validate

DATA = Path(__file__).resolve().parents[2] / "data" / "iec61850"
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DATA.iterdir())}
words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>&\"'"), max_size=8)
tokens = st.sampled_from(["", "0", "-1", "1e400", "NaN", "Infinity", "9" * 5000, "٣", "k", "W", "DSTO", "2.5"]) | words


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good file in which some texts or attribute values were replaced."""
    text = FILES[draw(st.sampled_from(sorted(FILES)))]
    opening, closing = draw(st.sampled_from([("<Val>", "</Val>"), ('="', '"')]))
    parts = text.split(opening)
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(1, len(parts) - 1))
        _, _, rest = parts[n].partition(closing)
        parts[n] = f"{draw(tokens)}{closing}{rest}"
    return opening.join(parts).encode()


def check(data: bytes) -> None:
    resources, problems, _ = read_resources(data, host="127.0.0.1")
    for resource in resources:
        assert validate(resource) == []
        assert resource.p_min_w <= 0 <= resource.p_max_w
    assert resources or problems
    assert all(p.hint for p in problems if p.rule in ("der.value", "der.rating") and p.severity is Severity.ERROR)


@given(mutants())
def test_mutated_files(data: bytes) -> None:
    check(data)


@given(st.sampled_from(sorted(FILES)), st.data())
def test_cut_and_flipped_files(name: str, data: st.DataObject) -> None:
    raw = bytearray(FILES[name].encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(raw[: data.draw(st.integers(0, len(raw)))]) or b"x")


@pytest.mark.parametrize(
    "build", [lambda text: text, lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")]
)
def test_forms_of_the_same_file_mean_the_same(build: Callable[[str], str]) -> None:
    for text in FILES.values():
        assert read_resources(build(text).encode()) == read_resources(text.encode())
