"""Corrections put a source's metadata right, guard themselves, and leave both values in the row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medtrinity25m.build import build
from medtrinity25m.config import BuildConfig, load_config
from medtrinity25m.corrections import load_corrections
from medtrinity25m.errors import ConfigError, ResumeRefusedError
from medtrinity25m.progress import Reporter

LAYOUT = 'organs = ["brain"]\n[layout]\nkind = "folder_per_class"\n'
GOOD = """
source: made
by: A. Curator
corrections:
  - files: "tumor/*"
    organs: {was: [brain], value: [breast]}
    modality: {value: mri}
  - files: "normal/*"
    organs: {was: [liver], value: [breast]}
    diseases: {was: [none], value: [edema]}
"""


@pytest.fixture
def made(tmp_path: Path, draw: Callable[..., Path], source_toml: Callable[..., Path]) -> tuple[Path, Path]:
    """A source of two images, and the folder it lies in."""
    draw("images/tumor/a.png", 1)
    draw("images/normal/b.png", 2)
    return source_toml(LAYOUT), tmp_path / "images"


def rows_of(config: BuildConfig) -> dict[str, dict[str, object]]:
    """Build, and return the rows by the label they had."""
    build(config, reporter=Reporter(quiet=True))
    rows = [row for path in sorted(config.folder.glob("metadata/*/*")) for row in pq.read_table(path).to_pylist()]
    return {row["disease"]: row for row in rows}


def test_a_correction_changes_columns_shard_and_text_and_keeps_what_was(
    tmp_path: Path, made: tuple[Path, Path], config_for: Callable[..., BuildConfig]
) -> None:
    """The row lies with its true modality, its caption says the true organ, and both values are told."""
    (tmp_path / "fix.yaml").write_text(GOOD)
    config = config_for(*made, corrections=(tmp_path / "fix.yaml",))

    rows = rows_of(config)

    assert rows["tumor"]["organs"] == ["breast"]
    assert (config.folder / "metadata" / "mri").is_dir()
    assert "breast" in str(rows["tumor"]["caption"])
    assert "brain" not in str(rows["tumor"]["caption"])
    assert rows["tumor"]["corrections"] == [
        {"column": "modality", "was": "xray", "value": "mri", "by": "A. Curator"},
        {"column": "organs", "was": "brain", "value": "breast", "by": "A. Curator"},
    ]


def test_a_guard_that_does_not_hold_keeps_the_source_s_word(
    tmp_path: Path, made: tuple[Path, Path], config_for: Callable[..., BuildConfig]
) -> None:
    """`was: [liver]` does not fit a source that says brain; `was: [none]` fits a row labeled as healthy."""
    (tmp_path / "fix.yaml").write_text(GOOD)

    rows = rows_of(config_for(*made, corrections=(tmp_path / "fix.yaml",)))

    assert rows["edema"]["organs"] == ["brain"]
    assert rows["edema"]["corrections"] == [{"column": "diseases", "was": "none", "value": "edema", "by": "A. Curator"}]


def test_the_folder_beside_the_config_is_used_and_a_changed_file_refuses_to_resume(
    tmp_path: Path, made: tuple[Path, Path]
) -> None:
    """`corrections/*.yaml` needs no line in the config; what changed in it is told."""
    (tmp_path / "corrections").mkdir()
    (tmp_path / "corrections" / "fix.yaml").write_text(GOOD)
    (tmp_path / "key").write_text("sixteen bytes and some more")
    (tmp_path / "build.yaml").write_text("key_file: key\nsources: [{source: made.toml, root: images}]\n")
    assert rows_of(load_config(tmp_path / "build.yaml"))["tumor"]["organs"] == ["breast"]

    (tmp_path / "corrections" / "fix.yaml").write_text(GOOD.replace("[breast]", "[liver]"))
    with pytest.raises(ResumeRefusedError, match=r"corrections\.fix\.yaml"):
        rows_of(load_config(tmp_path / "build.yaml"))


def test_the_card_lists_who_corrected_what_in_how_many_rows(
    tmp_path: Path, made: tuple[Path, Path], config_for: Callable[..., BuildConfig]
) -> None:
    """Counts are of rows that were written."""
    (tmp_path / "fix.yaml").write_text(GOOD)
    config = config_for(*made, corrections=(tmp_path / "fix.yaml",))
    rows_of(config)

    card = (config.folder / "README.md").read_text()

    assert "| made | A. Curator | organs | brain | breast | 1 |" in card
    assert "| made | A. Curator | diseases | none | edema | 1 |" in card


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- a list", "needs source, by and corrections"),
        ("source: made\nby: x\ncorrections: [{organs: {value: [brain]}}]", "say which rows"),
        ("source: made\nby: x\ncorrections: [{files: a, organs: {value: [brian]}}]", "nearest: brain"),
        ("source: made\nby: x\ncorrections: [{files: a, organs: {value: brain}}]", "a list of vocabulary ids"),
        ("source: made\nby: x\ncorrections: [{files: a, laterality: {value: up}}]", "left, right"),
        ("source: made\nby: x\ncorrections: [{files: a}]", "changes nothing"),
        ("source: other\nby: x\ncorrections: [{files: a, organs: {value: [brain]}}]", "does not build"),
        ("{", "is not YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, why: str) -> None:
    """Whoever wrote it learns what to change, before anything is read."""
    (tmp_path / "fix.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"fix\.yaml") as refused:
        load_corrections([tmp_path / "fix.yaml"], ["made"])
    assert why in str(refused.value)
