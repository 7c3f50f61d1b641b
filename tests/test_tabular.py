"""Rows of tables: what is read from each format, and that nothing is lost without a word."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import tabular
from medtrinity25m.readers.layout_options import Join
from medtrinity25m.readers.safe import Jail


@pytest.fixture
def rows(tmp_path):
    """Write a file and read it as a table; refusals come out as their codes."""

    def read(name: str, data: bytes | str, pattern: str | None = None, records=None, embedded=None):
        (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
        lines = tabular.read_tables(Jail(tmp_path), [name], pattern or name, records, embedded)
        return {where: row.code if isinstance(row, RefusedError) else row for where, row in lines}

    return read


def joined(tmp_path: Path, left: str, right: str, on=("id",)):
    """Join two CSV tables."""
    (tmp_path / "a.csv").write_text(left)
    (tmp_path / "b.csv").write_text(right)
    jail, files = Jail(tmp_path), ["a.csv", "b.csv"]
    lines = tabular.read_tables(jail, files, "a.csv", None, None)
    found = tabular.join(lines, jail, files, Join(file="b.csv", on=on))
    return [row.code if isinstance(row, RefusedError) else row for _, row in found]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_may_have_a_byte_order_mark_or_be_utf_16(rows, encoding):
    """Excel writes all three; names of columns lose their blanks, cells do not."""
    assert rows("t.csv", " Näme ,b\r\nä, 2\r\n".encode(encoding)) == {"t.csv#line=2": {"Näme": "ä", "b": " 2"}}


def test_text_in_another_encoding_is_a_config_error(rows):
    """Latin-1 would give names that no file has, halfway through the table too."""
    for data in ("a\nxä\n".encode("latin-1"), b"a\n" + b"x\n" * 50_000 + b"\xff\n", b"\xff\xfea"):
        with pytest.raises(ConfigError, match=r"table t\.csv: t\.csv is not utf"):
            rows("t.csv", data)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\0\0\0\0"])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_an_empty_file_is_a_config_error(rows, name, data):
    """A download that broke off at once is no table without lines."""
    with pytest.raises(ConfigError, match="is empty; fetch it again"):
        rows(name, data)


def test_a_quote_that_is_never_closed_is_told_with_the_lines_it_takes(rows, tmp_path):
    """Read leniently, line 2 would have one cell with all other lines in it."""
    assert rows("t.csv", 'a,b\n1,"open\n2,x\n3,y\n') == {"t.csv#line=2": "table.row"}
    found = list(tabular.read_tables(Jail(tmp_path), ["t.csv"], "t.csv", None, None))
    assert "up to 4 with it" in str(found[0][1])


def test_ragged_lines_and_giant_cells_cost_themselves_only(rows):
    """Too few cells, too many, a cell beyond any report's length; NUL is a character like others."""
    found = rows("t.csv", f"a,b\n1\n1,2,3\n{'x' * 200_000},2\nn\0,2\n\n5,6\n")

    assert found == {
        "t.csv#line=2": "table.row",
        "t.csv#line=3": "table.row",
        "t.csv#line=4": "table.row",
        "t.csv#line=5": {"a": "n\0", "b": "2"},
        "t.csv#line=7": {"a": "5", "b": "6"},
    }


def test_a_cell_may_hold_line_ends_and_the_line_is_called_by_its_first(rows):
    """Reports have paragraphs."""
    assert list(rows("t.csv", 'a,b\n1,"x\ny"\n2,z\n').items()) == [
        ("t.csv#line=2", {"a": "1", "b": "x\ny"}),
        ("t.csv#line=4", {"a": "2", "b": "z"}),
    ]


def test_two_columns_of_one_name_are_a_config_error(rows):
    """The second would hide the first; columns without a name may be several."""
    with pytest.raises(ConfigError, match="two columns have the same name"):
        rows("t.csv", "a,b,a\n1,2,3\n")
    assert rows("t.csv", "a,,\n1,2,3\n") == {"t.csv#line=2": {"a": "1"}}


def test_json_lines_end_at_line_feeds_only(rows):
    """U+2028 and U+0085 may stand in a JSON string and are no end of its line."""
    line = '{"a": "x\u2028y\u0085z"}'
    assert rows("t.jsonl", line + "\r\n\n" + line) == {
        "t.jsonl#line=1": {"a": "x\u2028y\u0085z"},
        "t.jsonl#line=3": {"a": "x\u2028y\u0085z"},
    }


def test_json_that_is_nested_without_end_or_names_a_key_twice_is_refused(rows):
    """A deep nest, half of a character, two rows under one key: of each only the line is lost."""
    lines = [
        "[" * 100_000,
        '{"a": "\\ud800"}',
        '{"a": 1, "a": 2}',
        '{"n": ' + "9" * 5000 + "}",
        '{"a": "\\ud83d\\ude00"}',
    ]

    found = rows("t.jsonl", "\n".join(lines))

    assert list(found.values()) == ["table.row"] * 4 + [{"a": "😀"}]


def test_a_json_file_holds_a_list_or_an_object_of_rows(rows):
    """The key of an object's row is a column; `records` may be dotted."""
    assert rows("t.json", '{"x": {"a": 1}, "y": 3}') == {
        "t.json#row=0": {"_key": "x", "a": 1},
        "t.json#row=1": "table.row",
    }
    assert rows("t.json", '{"d": {"rows": [{"a": 1}]}}', records="d.rows") == {"t.json#row=0": {"a": 1}}


@pytest.mark.parametrize("data", ["[[1", "3", '{"x": {"a": 1}, "x": {"a": 2}}', "[" * 100_000])
def test_a_json_file_that_cannot_be_read_whole_is_a_config_error(rows, data):
    """Also where one key stands twice: the parser would drop the first row."""
    with pytest.raises(ConfigError, match=r"table t\.json"):
        rows("t.json", data)


def test_records_that_are_not_there_are_a_config_error(rows):
    """The message names the key."""
    with pytest.raises(ConfigError, match=r"no list of rows at 'd\.rows'"):
        rows("t.json", '{"d": {"images": []}}', records="d.rows")


def test_a_gzipped_table_is_read_and_a_broken_one_is_a_config_error(rows):
    """Cut off, half of its lines would be missing."""
    packed = gzip.compress(b"a\n" + b"".join(b"%d\n" % number for number in range(1000)))

    assert len(rows("t.csv.gz", packed)) == 1000
    with pytest.raises(ConfigError, match="ends early"):
        rows("t.csv.gz", packed[:-20])


def test_fields_of_the_path_are_columns_where_the_table_leaves_them_empty(rows):
    """A column of the same name counts where it holds something."""
    assert rows("train.csv", "a,split\n1,\n2,test\n", pattern="{split}.csv") == {
        "train.csv#line=2": {"a": "1", "split": "train"},
        "train.csv#line=3": {"a": "2", "split": "test"},
    }


def test_parquet_cells_come_as_text_numbers_lists_and_structs(tmp_path, rows):
    """Dictionary and nested columns too; columns with bytes are not read, not even in a struct."""
    table = pa.table(
        {
            "kind": pa.array(["ct", "mri", None]).dictionary_encode(),
            "box": [[1, 2, 3, 4], None, []],
            "data": [{"x": 1.5}, None, {"x": None}],
            "raw": [b"a", b"b", b"c"],
            "image": [{"bytes": b"x", "path": "p"}] * 3,
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")

    found = rows("t.parquet", (tmp_path / "x.parquet").read_bytes(), embedded="image")

    assert found["t.parquet#row=0"] == {
        "kind": "ct", "box": [1, 2, 3, 4], "data": {"x": 1.5}, "image": "t.parquet!/image/0",
    }  # fmt: skip
    assert found["t.parquet#row=2"]["kind"] is None


def test_a_parquet_file_of_pictures_only_has_rows(tmp_path, rows):
    """Without any column of text, each row is its address."""
    pq.write_table(pa.table({"image": [b"x", b"y"]}), tmp_path / "x.parquet")

    found = rows("t.parquet", (tmp_path / "x.parquet").read_bytes(), embedded="image")

    assert list(found.values()) == [{"image": "t.parquet!/image/0"}, {"image": "t.parquet!/image/1"}]


def test_a_damaged_parquet_file_is_a_config_error(tmp_path, rows):
    """A flipped byte in a page is found by its checksum."""
    words = [f"word {number}" for number in range(5000)]
    pq.write_table(pa.table({"a": words}), tmp_path / "x.parquet", write_page_checksum=True, compression="none")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[data.index(b"word 77")] ^= 1

    for damaged in (bytes(data), b"PAR1", data[:-100]):
        with pytest.raises(ConfigError, match="no Parquet file"):
            rows("t.parquet", bytes(damaged))


def test_a_time_that_no_python_type_holds_is_a_config_error(tmp_path, rows):
    """Such cells raise other errors than damage does."""
    pq.write_table(pa.table({"a": pa.array([2**62], pa.timestamp("us"))}), tmp_path / "x.parquet")

    with pytest.raises(ConfigError, match="no Parquet file that can be read"):
        rows("t.parquet", (tmp_path / "x.parquet").read_bytes())


def test_a_join_adds_columns_and_repeats_a_line_with_several_partners(tmp_path):
    """The first table's own cells stay; an image without partner has the columns empty."""
    found = joined(tmp_path, "id,x\n1,own\n2,\n3,z\n", "id,x,y\n1,other,a\n2,given,b\n2,given,c\n9,,d\n")

    assert found == [
        {"id": "1", "x": "own", "y": "a"},
        {"id": "2", "x": "given", "y": "b"},
        {"id": "2", "x": "given", "y": "c"},
        {"id": "3", "x": "z", "y": None},
    ]


def test_an_empty_key_agrees_with_nothing(tmp_path):
    """Else every line without an id would get the findings of all others without one."""
    assert joined(tmp_path, "id,x\n1,a\n,b\n", "id,y\n1,c\n,d\n,e\n") == [
        {"id": "1", "x": "a", "y": "c"},
        {"x": "b", "id": None, "y": None},
    ]


def test_keys_agree_whatever_type_they_were_written_in(tmp_path):
    """7, "7", "7 " and the 7.0 that pandas makes beside blanks are one patient."""
    (tmp_path / "a.jsonl").write_text('{"id": 7.0}\n{"id": 8}\n')
    (tmp_path / "b.csv").write_text("id,y\n7 ,a\n8,b\n")
    jail, files = Jail(tmp_path), ["a.jsonl", "b.csv"]

    found = tabular.join(
        tabular.read_tables(jail, files, "a.jsonl", None, None), jail, files, Join(file="b.csv", on=("id",))
    )

    assert [row["y"] for _, row in found] == ["a", "b"]


@pytest.mark.parametrize("on", [{"ID": "id"}, {"id": "ID"}])
def test_a_join_on_a_column_that_is_not_there_is_a_config_error(tmp_path, on):
    """On either side."""
    with pytest.raises(ConfigError, match="has no column 'ID'"):
        joined(tmp_path, "id\n1\n", "id,y\n1,a\n", on)


def test_a_join_without_a_single_partner_is_a_config_error(tmp_path):
    """`00000001_000.png` and `00000001_000` are the same image to a person only."""
    with pytest.raises(ConfigError, match=r"no line agrees with any of b\.csv in id = id"):
        joined(tmp_path, "id\n1.png\n2.png\n", "id,y\n1,a\n2,b\n")


def test_a_join_of_many_with_many_is_refused_before_it_fills_the_memory(tmp_path):
    """A column that is the same in all lines is no key: 3,000 by 3,000 lines would be nine million."""
    many = "id,{}\n" + "".join(f"k,{number}\n" for number in range(3000))

    found = joined(tmp_path, many.format("x"), many.format("y"))

    assert len(found) < 20_000
    assert found.count("table.join") == 2997


def test_a_bad_line_of_a_joined_table_is_refused_too(tmp_path):
    """It might have held a box."""
    assert joined(tmp_path, "id\n1\n", "id,y\n1,a\n1\n") == [{"id": "1", "y": "a"}, "table.row"]


def test_a_cell_is_split_up_by_a_pattern_where_it_fits(tmp_path, rows):
    """Cells that do not fit, and empty ones, add nothing."""
    (tmp_path / "t.csv").write_text('f\np1_s2.png\nother\n""\n')
    lines = tabular.read_tables(Jail(tmp_path), ["t.csv"], "t.csv", None, None)

    found = [row for _, row in tabular.split_up(lines, {"f": "{patient}_{study}.png"})]

    assert found == [{"f": "p1_s2.png", "patient": "p1", "study": "s2"}, {"f": "other"}, {"f": ""}]


def test_a_table_streams(tmp_path):
    """The first row is there before the last is parsed."""
    (tmp_path / "t.jsonl").write_text(json.dumps({"a": 1}) + "\n" + "broken\n" * 3)
    lines = tabular.read_tables(Jail(tmp_path), ["t.jsonl"], "t.jsonl", None, None)

    assert next(iter(lines)) == ("t.jsonl#line=1", {"a": 1})
