"""Parts: sorted, merged in order whatever their number, a passage found without reading them all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge import parts
from medtrinity25m.knowledge.parts import Row


def row(number: int, locator: str = "a") -> Row:
    return Row(f"c:{number:024x}", locator, 0, "Title", f"Text {number}", "c", "CC0-1.0", ("ct", "lung"))


def written(folder: Path, groups: list[list[Row]]) -> list[Path]:
    paths = [folder / f"{number}.parquet" for number in range(len(groups))]
    for path, rows in zip(paths, groups, strict=True):
        parts.write(path, sorted(rows))
    return paths


def test_a_part_reads_back_as_it_was_written(tmp_path):
    """Rows, ids with terms, and what is said about it."""
    rows = [row(number) for number in range(2_500)]
    bounds = parts.write(tmp_path / "a.parquet", rows)

    assert list(parts.read(tmp_path / "a.parquet")) == rows
    assert list(parts.read_terms(tmp_path / "a.parquet")) == [(one.id, one.terms) for one in rows]
    assert (bounds.rows, bounds.first, bounds.last) == (2_500, rows[0].id, rows[-1].id)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 60), max_size=20), min_size=1, max_size=9), st.randoms())
def test_the_order_is_that_of_all_rows_sorted_once_each(tmp_path_factory, groups, shuffler):
    """Over several levels of merging, several files, empty parts and any order of parts; the same bytes each time."""
    folder = tmp_path_factory.mktemp("x")
    groups = [[row(number, f"file{place}") for number in group] for place, group in enumerate(groups)]
    paths = written(folder, groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FAN_IN", 2)
        patch.setattr(parts, "MAX_ROWS", 7)
        first = parts.order(paths, folder / "one")
        shuffler.shuffle(paths)
        second = parts.order(paths, folder / "two")

    found = [one for bounds in first for one in parts.read(folder / "one" / bounds.name)]
    assert found == list(parts.distinct(sorted(one for group in groups for one in group)))
    assert first == second == parts.ordered(folder / "two")
    assert not list(folder.glob("*/run-*"))


def test_passages_are_found_by_id(tmp_path):
    """In any row group; an id that is not there is left out, also one before the first and behind the last."""
    numbers = random.Random(0).sample(range(10, 9_990), 3_000)
    path = tmp_path / "a.parquet"
    parts.write(path, sorted(row(number) for number in numbers))
    asked = sorted([*numbers[:50], 3, 9_999, next(n for n in range(10, 9_990) if n not in numbers)])

    found = list(parts.find(path, [row(number).id for number in asked]))

    assert found == [row(number) for number in sorted(numbers[:50])]


def test_a_damaged_part_is_named(tmp_path):
    """Cut, flipped, gone, or with other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    parts.write(path, [row(number) for number in range(100)])
    whole = path.read_bytes()
    middle = bytearray(whole)
    middle[len(whole) // 4] ^= 1
    for data in (whole[:-50], bytes(middle), b""):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=r"a\.parquet is damaged"):
            list(parts.read(path))
    path.unlink()
    with pytest.raises(ConfigError, match="damaged or gone"):
        list(parts.read(path))
    pq.write_table(pa.table({"id": ["c:1"]}), path)
    with pytest.raises(ConfigError, match="other columns"):
        list(parts.read(path))
