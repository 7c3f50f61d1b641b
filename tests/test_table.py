"""The table layout on real files: what each line becomes, and which lines are refused for what."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medtrinity25m.errors import ConfigError
from medtrinity25m.keys import Key
from medtrinity25m.readers.entry import Refusal
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import parse_source

KEY = Key(b"a key for tests, sixteen bytes and more")
BOX = {"box": ["x", "y", "w", "h"], "label": "finding"}


@pytest.fixture
def root(tmp_path):
    """The folder of the source."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def source():
    """Make a source with a table layout."""

    def make(layout, **more):
        base = {"id": "made", "title": "Made", "license": "CC0-1.0", "redistribution": "images", "egress": "any"}
        return parse_source(base | {"modality": "xray"} | more | {"layout": {"kind": "table"} | layout}, "made.toml")

    return make


@pytest.fixture
def listed(root, source, draw):
    """Write a table and images, and list them."""

    def make(table, images=("a.png",), *, file="t.csv", source_keys=None, **layout):
        for seed, name in enumerate(images):
            draw(f"data/{name}", seed)
        if table is not None:
            (root / file).write_text(table if isinstance(table, str) else "\n".join(map(json.dumps, table)))
        made = source({"file": file, "image": "{name}.png"} | layout, **(source_keys or {}))
        return list_source(made, Jail(root, root.parent / "cache"))

    return make


def codes(listing):
    return {refusal.path: refusal.code for refusal in listing.refusals}


def boxes(listing):
    return [mark.xyxy for entry in listing.entries for mark in entry.marks]


@pytest.mark.parametrize(
    "cell",
    [
        "{'x': 1, 'y': 2, 'width': 3",
        "{'x': 1, 'y': 2, 'width': 3}",
        '{"left": 1}',
        '[{"x": 1, "y": 2, "width": 3, "height": 4}]',
        "see file",
        '{"x": 1, "y": 2, "width": "NaN", "height": 4}',
        '{"x": 1, "y": 2, "width": 1e999, "height": 4}',
        '{"x": 1e308, "y": 2, "width": 1e308, "height": 4}',
        '{"x": 1, "y": 2, "width": -3, "height": 4}',
        '{"x": true, "y": 2, "width": 3, "height": 4}',
        "{" + "'a': " * 70_000,
        "[" + "-" * 60_000 + "1]",
        "{'x': '\\ud800'}",
    ],
)
def test_a_box_that_cannot_be_read_is_never_no_box(listed, cell):
    """A cell that holds something refuses its line: a lost box would say that nobody marked anything there."""
    names = [f"data.{side}" for side in ("x", "y", "width", "height")]

    listing = listed([{"name": "a", "data": cell}], file="t.jsonl", box=names)

    assert listing.entries == []
    assert codes(listing)["t.jsonl#line=1"] == "table.box"


@pytest.mark.parametrize(
    "cell", ["", "  ", None, "{}", "[]", {}, "{'x': None, 'y': None, 'width': None, 'height': nan}"]
)
def test_a_cell_without_anything_is_no_box(listed, cell):
    """Blank, empty, or with empty parts; the image is healthy or unread."""
    cell = cell.replace("nan", "None") if isinstance(cell, str) else cell
    names = [f"data.{side}" for side in ("x", "y", "width", "height")]

    listing = listed([{"name": "a", "data": cell}, {"name": "a"}], file="t.jsonl", box=names)

    assert (len(listing.entries), boxes(listing), listing.refusals) == (1, [], [])


@pytest.mark.parametrize("cell", ["1, 2, 4, 6", "[1 2 4 6]", "(1.0; 2; 4; 6)", [1, 2, 4, 6], ["1", "2", "4", "6"]])
def test_one_cell_may_hold_a_whole_box(listed, cell):
    """As text or as a list."""
    assert boxes(listed([{"name": "a", "b": cell}], file="t.jsonl", box="b", box_format="xyxy")) == [(1, 2, 4, 6)]


@pytest.mark.parametrize(
    "cell", ["1,2,3", "1,2,3,4,5", "[[1,2,3,4],[5,6,7,8]]", [[1, 2, 3, 4]], {"x": 1}, "none", "inf,1,2,3"]
)
def test_a_cell_with_anything_but_four_numbers_is_refused(listed, cell):
    """Also a list of two boxes."""
    assert codes(listed([{"name": "a", "b": cell}], file="t.jsonl", box="b"))["t.jsonl#line=1"] == "table.box"


def test_blank_box_columns_are_no_box_and_half_a_box_is_refused(listed):
    """Blanks count as empty."""
    listing = listed("name,finding,x,y,w,h\na,Mass, , , ,\na,Mass,1,2,,\na,Mass,5,5,-1,2\n", **BOX)

    assert len(listing.entries) == 1
    assert codes(listing) == {"t.csv#line=3": "table.box", "t.csv#line=4": "table.box"}


def test_a_box_in_fractions_from_its_center_keeps_its_unit(listed):
    """YOLO's way."""
    listing = listed("name,finding,x,y,w,h\na,Mass,.5,.5,.2,.4\n", **BOX, box_format="cxcywh", box_unit="fraction")

    assert boxes(listing) == [pytest.approx((0.4, 0.3, 0.6, 0.7))]


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("../secret", "file.outside_root"),
        ("sub/../a", "file.outside_root"),
        ("/etc/passwd", "file.outside_root"),
        ("a\0b", "file.outside_root"),
        ("a\nb", "file.missing"),
        ("{name}", "file.missing"),
        ("*", "file.missing"),
        ("{'name': 'a'}", "file.missing"),
        ("x" * 5000, "file.unreadable"),
        ("", "table.column_missing"),
        ("   ", "table.column_missing"),
    ],
)
def test_a_hostile_name_refuses_its_line(listed, cell, code):
    """A cell's `*` and `{` are letters of a name; `..` would give one file two names."""
    (listing) = listed([{"name": cell}, {"name": "a"}], images=("a.png", "sub/b.png"), file="t.jsonl")

    assert codes(listing)["t.jsonl#line=1"] == code
    assert [entry.path for entry in listing.entries] == ["a.png"]


def test_a_star_in_a_cell_is_a_letter_also_where_the_template_has_one(listed):
    """`*.png` in the table names the file with that name and no other."""
    listing = listed(
        [{"name": "*"}, {"name": "b"}], images=("x/a.png", "x/*.png", "y/b.png"), file="t.jsonl", image="**/{name}.png"
    )

    assert [entry.path for entry in listing.entries] == ["x/*.png", "y/b.png"]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("**/{name}.png", ["a.png", "m/b.png", "m/n/c.png"]),
        ("*/{name}.png", ["m/b.png"]),
        ("m/**/{name}.png", ["m/b.png", "m/n/c.png"]),
        ("m/*/{name}*", ["m/n/c.png"]),
        ("**/n/*{name}.png", ["m/n/c.png"]),
        ("*{name}.png", ["a.png"]),
        ("m/**{name}.png", ["m/b.png", "m/n/c.png"]),
        ("**/*/{name}.p*", ["m/b.png", "m/n/c.png"]),
    ],
)
def test_a_template_with_wildcards_finds_the_file(listed, template, found):
    """`*` stays inside a folder, `**` does not."""
    listing = listed("name\na\nb\nc\n", images=("a.png", "m/b.png", "m/n/c.png"), image=template)

    assert [entry.path for entry in listing.entries] == found


def test_one_name_in_two_folders_is_ambiguous_and_neither_is_unclaimed(listed):
    """Which of the two is meant cannot be known."""
    listing = listed("name\na\n", images=("x/a.png", "y/a.png"), image="**/{name}.png")

    assert codes(listing) == {"t.csv#line=2": "layout.ambiguous"}


def test_members_of_archives_are_found_and_two_of_one_name_are_ambiguous(listed, root, draw):
    """A member that no line names is listed like a file."""
    with zipfile.ZipFile(root / "i.zip", "w") as archive:
        for name in ("x/a.png", "x/b.png", "y/b.png", "left.png"):
            archive.write(draw(f"loose/{name}"), name)

    listing = listed("name\na\nb\n", images=(), image="**/{name}.png", archives="*.zip")

    assert [entry.path for entry in listing.entries] == ["i.zip!/x/a.png"]
    assert codes(listing) == {"t.csv#line=3": "layout.ambiguous", "i.zip!/left.png": "layout.unclaimed"}


def test_a_damaged_archive_is_a_refusal_and_the_loose_files_go_on(listed, root):
    """Its images are missing, line by line."""
    (root / "i.zip").write_bytes(b"PK\x03\x04 cut off")

    listing = listed("name\na\nb\n", image="**/{name}.png", archives="*.zip")

    assert [entry.path for entry in listing.entries] == ["a.png"]
    assert codes(listing) == {"i.zip": "archive.damaged", "t.csv#line=3": "file.missing"}


def test_images_within_a_parquet_file_are_opened_and_empty_cells_refused(root, source):
    """Bytes, a struct without bytes that only names a file, and null: the first is a row."""
    packed = io.BytesIO()
    Image.fromarray(np.eye(32, dtype=np.uint8) * 200).save(packed, "PNG")
    cells = [{"bytes": packed.getvalue(), "path": "a.png"}, {"bytes": None, "path": "a.png"}, None]
    kind = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string())])
    pq.write_table(pa.Table.from_pylist([{"image": cell, "text": "seen"} for cell in cells], kind), root / "t.parquet")
    made = source({"file": "t.parquet", "image": "image", "embedded": True, "text": "text"})
    jail = Jail(root)

    listing = list_source(made, jail)
    found = [Expand(made, jail, KEY)(entry) for entry in listing.entries]

    assert [one.code if isinstance(one, Refusal) else one[0].text for one in found] == [
        "seen",
        "archive.no_bytes",
        "archive.no_bytes",
    ]
    assert listing.refusals == []


def test_an_embedded_column_that_is_not_there_is_a_config_error(root, source):
    """The message lists what is."""
    pq.write_table(pa.table({"img": [b"x"], "text": ["y"]}), root / "t.parquet")

    with pytest.raises(ConfigError, match="has no column 'image'; it has: text"):
        list_source(source({"file": "t.parquet", "image": "image", "embedded": True}), Jail(root))


def test_labels_come_as_lists_as_text_and_as_columns(listed):
    """PadChest writes a Python list into its CSV; null in a list is no label."""
    as_text = listed(
        "name,finding\na,\"['normal', 'nodule ']\"\n", label="finding", label_separator=",", label_strip="[]'\" "
    )
    as_list = listed(
        [{"name": "a", "finding": ["mass", None, " mass", ""], "Edema": 1.0}],
        file="t.jsonl",
        label="finding",
        label_columns=["Edema"],
    )

    assert as_text.entries[0].labels == ("normal", "nodule")
    assert as_list.entries[0].labels == ("mass", "Edema")


@pytest.mark.parametrize("cell", ["x" * 5000, ["ok", "y" * 5000]])
def test_a_label_of_thousands_of_letters_refuses_its_line(listed, cell):
    """A report in the column of labels is no name; near words are not looked for in it."""
    assert (
        codes(listed([{"name": "a", "finding": cell}], file="t.jsonl", label="finding"))["t.jsonl#line=1"]
        == "table.label"
    )


def test_a_label_within_a_cell_that_cannot_be_read_refuses_its_line(listed):
    """`no such key` and broken JSON are no image without finding; an empty cell is."""
    rows = [{"name": "a", "d": cell} for cell in ('{"label": "mass"}', "{'label': ", '{"x": 1}', "")]

    listing = listed(rows, file="t.jsonl", label="d.label")

    assert listing.entries[0].labels == ("mass",)
    assert codes(listing) == {"t.jsonl#line=2": "table.label", "t.jsonl#line=3": "table.label"}


def test_lines_about_one_image_are_united(listed):
    """Labels, boxes and texts once each, in their order; the same text of two lines is one."""
    rows = "name,finding,x,y,w,h,q\na,Mass,1,1,2,2,one\na,Nodule,1,1,2,2,two\na,Mass,1,1,2,2,one\n"

    (entry,) = listed(rows, **BOX, text="q").entries

    assert (entry.labels, entry.text) == (("Mass", "Nodule"), "one\ntwo")
    assert [mark.label for mark in entry.marks] == ["Mass", "Nodule"]


def test_thousands_of_lines_about_one_image_take_no_time(listed):
    """Marks and texts are not compared each with each."""
    rows = "name,finding,x,y,w,h,q\n" + "".join(f"a,Cell,{n},1,2,2,text {n}\n" for n in range(5_000))

    (entry,) = listed(rows, **BOX, text="q").entries

    assert len(entry.marks) == 5_000


def test_the_most_guarded_of_several_splits_counts(listed, root, source):
    """Questions for training and for testing about one image make it a test image."""
    listing = listed("name,set\na,train\na,test\na,val\n", split="set")

    (record,) = Expand(source({"file": "t.csv", "image": "{name}.png", "split": "set"}), Jail(root), KEY)(
        listing.entries[0]
    )

    assert record.official == "test"


def test_a_patient_said_in_one_line_only_counts_and_another_patient_is_refused(listed):
    """The image of two patients would stand in two groups."""
    listing = listed("name,pid\na,\na,P1\na,P1 \na,P2\n", patient="pid")

    assert [entry.patient for entry in listing.entries] == ["P1"]
    assert codes(listing) == {"t.csv#line=5": "table.conflict"}


def test_two_sides_of_one_image_are_no_side(listed):
    """A wrong side is worse than none; case is no difference."""
    listing = listed("name,side,view\na,left,PA\na,Right,pa\n", laterality="side", view="view")

    assert (listing.entries[0].laterality, listing.entries[0].view.casefold()) == (None, "pa")


@pytest.mark.parametrize(
    ("rows", "modality"),
    [
        ([("CT", ""), ("computed tomography", "")], "ct"),
        ([("CT", ""), ("MRI", "")], None),
        ([("site", "T2-weighted MRI"), ("site", "nothing")], "mri"),
        ([("site", "an MRI"), ("site", "CT and MRI")], None),
        ([("site", "an MRI"), ("site", "a CT scan")], None),
        ([("site", "nothing")], None),
        ([("CT", "an MRI")], "ct"),
    ],
)  # fmt: skip
def test_the_modality_of_several_lines_is_the_one_they_agree_on(listed, root, source, rows, modality):
    """Two words for one modality agree; the column counts before the text; a text that names two spoils the image."""
    layout = {"modality": "m", "modality_words": "q"}
    listing = listed(
        [{"name": "a", "m": m, "q": q} for m, q in rows], file="t.jsonl", source_keys={"modality": None}, **layout
    )

    made = source({"file": "t.jsonl", "image": "{name}.png"} | layout, modality=None)
    found = Expand(made, Jail(root), KEY)(listing.entries[0])

    assert (found.code if isinstance(found, Refusal) else found[0].modality) == (modality or "modality.unknown")


def test_one_flag_column_gives_the_modality_and_two_give_none(listed, root, source):
    """LLaVA-Med's domains."""
    layout = {"modality_columns": {"d.ct": "ct", "d.mr": "mri"}}
    rows = [{"name": "a", "d": {"ct": True, "mr": False}}, {"name": "b", "d": {"ct": 1, "mr": "yes"}}]

    entries = listed(rows, images=("a.png", "b.png"), file="t.jsonl", **layout).entries

    assert [entry.modality for entry in entries] == ["ct", "ct and mri"]


def test_a_conversation_is_kept_turn_by_turn(listed):
    """Who speaks, and what; not Python's way to print a list."""
    turns = [{"from": "human", "value": "What is it?"}, {"role": "assistant", "content": "A nodule."}, "end"]

    (entry,) = listed([{"name": "a", "turns": turns}], file="t.jsonl", text="turns").entries

    assert entry.text == "human: What is it?\nassistant: A nodule.\nend"


def test_several_masks_are_found_and_a_pattern_that_never_fits_is_a_config_error(listed):
    """A typo would make every image one without a lesion."""
    images = ("a.png", "b.png", "m/a_1.png", "m/a_2.png")

    listing = listed("name\na\nb\n", images, mask="m/{name}_*.png", mask_label="lesion")

    assert [[mark.path for mark in entry.marks] for entry in listing.entries] == [["m/a_1.png", "m/a_2.png"], []]
    with pytest.raises(ConfigError, match="no file fits mask = 'n/"):
        listed("name\na\nb\n", images, mask="n/{name}_*.png", mask_label="lesion")


@pytest.mark.parametrize(
    "content",
    [
        "{}x",
        '{"a": [1, 2, 3, 4]}',
        '[{"a": "1234"}]',
        '[{"a": [1, 2, 3]}]',
        '[{"a": [1, 2, -3, 4]}]',
        '[{"a": [NaN, 1, 1, 1]}]',
        '[{"a": [1e308, 1, 1e308, 1]}]',
        "[" * 10_000,
    ],
)
def test_a_file_of_boxes_that_cannot_be_read_refuses_its_line(listed, root, content):
    """SLAKE's detection.json; nothing of it is guessed."""
    (root / "a.json").write_text(content)

    assert codes(listed("name\na\n", boxes_file="{name}.json"))["t.csv#line=2"] == "table.boxes_file"


def test_a_file_of_boxes_that_is_not_there_refuses_its_line(listed, root):
    """With and without wildcards in its name."""
    (root / "a.json").write_text('[{"Lung": [1, 2, 3, 4]}]')
    listing = listed("name\na\nb\n", ("a.png", "b.png"), boxes_file="**/{name}.json")

    assert boxes(listing) == [(1, 2, 4, 6)]
    assert codes(listing)["t.csv#line=3"] == "file.missing"
    assert codes(listed("name\na\nb\n", ("a.png", "b.png"), boxes_file="{name}.json"))["t.csv#line=3"] == "file.missing"


def test_a_box_in_a_file_name_is_read_where_its_parts_are_numbers(listed):
    """Other names have as many parts."""
    names = ("s__1_2_3_4.png", "s__a_b_c_d.png")

    listing = listed("name\n" + "".join(f"{name[:-4]}\n" for name in names), names, box_names=["*__{x}_{y}_{w}_{h}.*"])

    assert boxes(listing) == [(1, 2, 4, 6)]


def test_columns_may_have_blanks_dots_and_brackets(listed):
    """`Bbox [x` and `Pat. No` are names of columns that exist."""
    table = "Image Index,Bbox [x,y,w,h],Pat. No\na,1,2,3,4,7\n"

    listing = listed(table, image="{Image Index}.png", box=["Bbox [x", "y", "w", "h]"], patient="Pat. No")

    assert (boxes(listing), listing.entries[0].patient) == ([(1, 2, 4, 6)], "7")


def test_a_table_without_lines_is_a_config_error(listed):
    """A header alone says nothing of the images that lie there."""
    with pytest.raises(ConfigError, match="no file fits"):
        listed("name,finding\n", label="finding")


def test_the_split_of_the_files_name_counts_for_its_lines(root, source, draw):
    """`{split}` in `file`."""
    for split, name in (("train", "a"), ("test", "b")):
        draw(f"data/{name}.png")
        (root / f"{split}.csv").write_text(f"name\n{name}\n")

    listing = list_source(source({"file": "{split:train|test}.csv", "image": "{name}.png"}), Jail(root))

    assert [entry.split for entry in listing.entries] == ["train", "test"]


def test_a_column_to_split_up_that_is_not_there_is_a_config_error(listed):
    """A typo would lose patients without a word."""
    with pytest.raises(ConfigError, match="has no column 'File'"):
        listed("name\na\n", parse={"File": "{x}_{y}"})
