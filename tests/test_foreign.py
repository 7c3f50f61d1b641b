"""`check`: texts of anybody are held against the rows of a release."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from medtrinity25m.__main__ import app

run = CliRunner().invoke


@pytest.fixture(scope="module")
def marked(demo_release: Path) -> dict[str, object]:
    """The demo's row with a hand-drawn lesion in an MR image of the liver."""
    rows = [row for path in demo_release.glob("metadata/mri/*") for row in pq.read_table(path).to_pylist()]
    return next(row for row in rows if row["disease"] == "lesion")


def test_a_release_s_own_texts_contradict_nothing(demo_release: Path) -> None:
    """The second reading of what the describer wrote, by other code, on every row."""
    done = run(app, ["check", str(demo_release)])

    assert done.exit_code == 0, done.output
    assert "modality" in done.output


@pytest.mark.parametrize(
    ("text", "attribute"),
    [
        ("This is a CT image of the liver.", "modality"),
        ("This is an MR image of the brain.", "organ"),
        ("The region of interest lies in the right part of the image.", "position_horizontal"),
        ("The lesion covers 24.0% of the image area.", "area_share"),
        ("The lesion measures 80 × 80 mm.", "size"),
        ("There are four lesions.", "count"),
        ("No lesion is seen.", "disease"),
    ],
)
def test_a_false_text_is_named_with_what_the_row_holds(
    demo_release: Path, marked: dict[str, object], tmp_path: Path, text: str, attribute: str
) -> None:
    """One line a contradiction, and exit code 3."""
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"id": str(marked["id"])[:10], "text": text}) + "\n")

    done = run(app, ["check", str(demo_release), "--texts", str(path), "--json"])

    assert done.exit_code == 3
    said = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = [one for one in said if one["verdict"] == "contradicted"]
    assert attribute in {one["attribute"] for one in wrong}
    assert all(one["words"] in text and one["expected"] for one in wrong)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "is not JSON"),
        ('{"id": "abc"}', "needs the `id`"),
        ('{"id": "abcdefgh"}', "needs `text`"),
        ('{"id": "abcdefgh", "text": 3}', "needs `text`"),
        ('{"id": "zzzzzzzz", "text": "A CT image."}', "no row whose id begins"),
    ],
)
def test_a_bad_line_is_told_with_its_place(demo_release: Path, tmp_path: Path, line: str, why: str) -> None:
    """File, line and what it must hold."""
    (tmp_path / "texts.jsonl").write_text(line + "\n")

    done = run(app, ["check", str(demo_release), "--texts", str(tmp_path / "texts.jsonl")])

    assert done.exit_code == 2
    assert why in done.stderr
