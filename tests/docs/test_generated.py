"""Pages that are derived from code are as the code is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop import docs, maturity

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(docs.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == docs.pages()[name], f"docs/{name} is out of date: make docs"


def test_every_key_of_the_configuration_is_on_its_page() -> None:
    page = docs.configuration()
    for key in (
        "http_listen",
        "import_limit_w",
        "rate_limit_per_s",
        "poll_frequency_s",
        "reversion_s",
        "offer_options",
    ):
        assert f"`{key}`" in page


def test_commands_and_their_options_are_on_their_page() -> None:
    page = docs.commands()
    for text in ("## `gridparley serve`", "### `gridparley peer add`", "`--quick`", "`--endpoint TEXT`"):
        assert text in page


def test_every_proof_that_is_named_exists() -> None:
    sheets = maturity.sheets(ROOT)
    assert len(sheets) >= 2
    assert maturity.missing_proofs(sheets, ROOT) == []


def test_a_sheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "MATURITY.yaml"
    path.write_text(
        "# why\nstandard: X 1.0, part one\nfeatures:\n  - name: Reading (a, b)\n    status: done\n"
        "    proof: a/test_x.py, b/test_y.py\n    notes:\n      - first it reads\n  - name: Other\n    status: absent\n"
        "deviations:\n  - of the whole\n",
        encoding="utf-8",
    )
    sheet = maturity.read_sheet(path)
    assert sheet.about == {"standard": "X 1.0, part one"}
    assert [(f.name, f.status, f.proofs, f.notes) for f in sheet.features] == [
        ("Reading (a, b)", "done", ["a/test_x.py", "b/test_y.py"], ["first it reads"]),
        ("Other", "absent", [], []),
    ]
    assert sheet.deviations == ["of the whole"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("features:\n  - name: A\n    status: maybe\n", "'maybe' is none of"),
        ("features:\n  - name: A\n    status: done\n", "no test proves it"),
        ("features:\n  - name: A\n    proof: [a, b]\n", ":3: plain text is needed"),
        ("features:\n  - name: A\n    status: absent\n    notes:\n      - a: b\n", ":5: plain text is needed"),
        ("features:\n  - name: A\n    colour: red\n", ":3: .* is not expected here"),
        ("features:\n   - name: A\n", ":2: .* is not expected here"),
        ("  - name: A\n", ":1: .* is not expected here"),
    ],
)
def test_what_is_beyond_the_form_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "MATURITY.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(maturity.MaturityError, match=complaint):
        maturity.read_sheet(path)
