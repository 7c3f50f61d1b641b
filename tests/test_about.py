"""Tables about images that another layout lists."""

from __future__ import annotations

import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.keys import Key
from medtrinity25m.readers.about import Keys
from medtrinity25m.readers.entry import Entry
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import parse_source
from source_trees.drawing import dicom

KEY = Key(b"a key for tests, sixteen bytes and more")
BOX = {"label": "finding", "box": ["x", "y", "w", "h"]}


@pytest.fixture
def root(tmp_path):
    """A tree of two patients: two slices of a series, and a lone image."""
    for number, series in (("1", "1.2.9"), ("2", "1.2.9")):
        dicom(tmp_path, f"p1/{number}.dcm", SOPInstanceUID=f"1.2.{number}", SeriesInstanceUID=series, PatientID="P1")
    dicom(tmp_path, "p2/1.2.840.3", SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2.8", PatientID="P2")
    return tmp_path


def listed(root, *tables, kind="dicom_tree", **more):
    base = {"id": "made", "title": "Made", "license": "CC0-1.0", "redistribution": "images", "egress": "any"}
    layout = {"kind": kind, "tables": [{"file": "t.csv", "key": "key"} | table for table in tables]}
    return list_source(parse_source(base | {"modality": "ct", "layout": layout} | more, "made.toml"), Jail(root))


def codes(listing):
    return {refusal.path: refusal.code for refusal in listing.refusals}


@pytest.mark.parametrize(
    ("by", "key", "paths"),
    [
        ("sop_uid", "1.2.2", ["p1/2.dcm"]),
        ("series_uid", "1.2.9", ["p1/1.dcm", "p1/2.dcm"]),
        ("study_uid", "1.2.3.4", ["p1/1.dcm", "p1/2.dcm", "p2/1.2.840.3"]),
        ("patient", "P1", ["p1/1.dcm", "p1/2.dcm"]),
        ("path", "p1/1.dcm", ["p1/1.dcm"]),
        ("stem", " 1.2.840.3 ", ["p2/1.2.840.3"]),
        ("stem", "2", ["p1/2.dcm"]),
    ],
)
def test_a_line_speaks_of_the_images_with_its_key(root, by, key, paths):
    """And of no others; the table itself is no DICOM file and not refused as one."""
    (root / "t.csv").write_text(f"key,report\n{key},seen\n")

    listing = listed(root, {"by": by, "text": "report"})

    assert [entry.path for entry in listing.entries if entry.text == "seen"] == paths
    assert len(listing.entries) == 3
    assert listing.refusals == []


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("a.nii.gz", "a"),
        ("1.2.840.113", "1.2.840.113"),
        ("1.2.840.dcm", "1.2.840"),
        ("a.v2.tiff", "a.v2"),
        (".png", ".png"),
        ("x.zip!/in/a.jpeg", "a"),
    ],
)
def test_the_stem_is_the_name_without_what_looks_like_a_suffix(name, stem):
    """The last number of a UID is none: all images of a study would have one stem."""
    assert Keys(Entry(path=f"folder/{name}")).name("stem") == stem


def test_lines_about_one_image_and_tables_about_it_are_united(root):
    """A box that stands in both tables is one box."""
    (root / "t.csv").write_text("key,finding,x,y,w,h\n1.2.1,Mass,1,2,3,4\n1.2.1,Cyst,5,5,2,2\n1.2.3,,,,,\n")
    (root / "u.csv").write_text("key,finding,x,y,w,h\n1.2.1,Mass,1,2,3,4\n")

    listing = listed(root, {"by": "sop_uid"} | BOX, {"by": "sop_uid", "file": "u.csv"} | BOX)

    entry = listing.entries[0]
    assert entry.labels == ("Mass", "Cyst")
    assert [(mark.label, mark.xyxy) for mark in entry.marks] == [("Mass", (1, 2, 4, 6)), ("Cyst", (5, 5, 7, 7))]
    assert (listing.entries[2].marks, listing.refusals) == ((), [])


def test_lines_that_cannot_be_used_are_refused_and_the_others_go_on(root):
    """No such image, no key, half a box, too few cells."""
    (root / "t.csv").write_text(
        "key,finding,x,y,w,h\n9.9,Mass,1,2,3,4\n,Mass,1,2,3,4\n1.2.1,Mass,1,2,,\n1.2.1\n1.2.2,Mass,1,2,3,4\n"
    )

    listing = listed(root, {"by": "sop_uid"} | BOX)

    assert codes(listing) == {
        "t.csv#line=2": "table.image_missing",
        "t.csv#line=3": "table.column_missing",
        "t.csv#line=4": "table.box",
        "t.csv#line=5": "table.row",
    }
    assert [len(entry.marks) for entry in listing.entries] == [0, 1, 0]


@pytest.mark.parametrize("change", [{"key": "Key"}, {"label": "Finding"}, {"file": "none.csv"}])
def test_a_column_or_table_that_is_not_there_is_a_config_error(root, change):
    """What it would have said is missing without a word."""
    (root / "t.csv").write_text("key,finding\n1.2.1,Mass\n")

    with pytest.raises(ConfigError, match="made: .*(has no column|does not exist)"):
        listed(root, {"by": "sop_uid", "label": "finding"} | change)


def test_a_box_on_a_file_of_many_planes_is_refused(root):
    """The line does not say on which; a label of the file is."""
    dicom(
        root, "p3/multi.dcm", SOPInstanceUID="1.2.4", NumberOfFrames=2, PixelData=bytes(2 * 32 * 40 * 2), PatientID="P3"
    )  # fmt: skip
    (root / "t.csv").write_text("key,finding,x,y,w,h\n1.2.4,Mass,1,2,3,4\n1.2.4,Mass,,,,\n")

    listing = listed(root, {"by": "sop_uid"} | BOX)

    (entry,) = [entry for entry in listing.entries if entry.path == "p3/multi.dcm"]
    assert (entry.labels, entry.marks) == (("Mass",), ())
    assert codes(listing) == {"t.csv#line=2": "table.box_plane"}


@pytest.mark.parametrize("kind", ["wsi", "video", "nifti_pairs"])
def test_boxes_on_slides_videos_and_volumes_are_a_config_error(tmp_path, kind):
    """Their planes are tiles, frames and slices; labels and texts are fine."""
    (tmp_path / "t.csv").write_text("key,finding,x,y,w,h\na,Mass,1,2,3,4\n")
    base = {"id": "made", "title": "Made", "license": "CC0-1.0", "redistribution": "images", "egress": "any"}
    table = {"file": "t.csv", "key": "key", "by": "stem"} | BOX
    layout = {"kind": kind, "images": "{case}.avi", "tables": [table]} | ({"every_s": 1} if kind == "video" else {})

    with pytest.raises(ConfigError, match=f"a table about a {kind} cannot say on which of its planes"):
        list_source(parse_source(base | {"modality": "ct", "layout": layout}, "made.toml"), Jail(tmp_path))


def test_split_view_and_side_of_a_table_reach_the_records(root):
    """A conflict between two tables about the split goes to the most guarded one."""
    (root / "t.csv").write_text("key,set,side\n1.2.1,train,L\n1.2.1,test,l\n")
    base = {"id": "made", "title": "Made", "license": "CC0-1.0", "redistribution": "images", "egress": "any"}
    table = {"file": "t.csv", "key": "key", "by": "sop_uid", "split": "set", "laterality": "side"}
    source = parse_source(base | {"layout": {"kind": "dicom_tree", "tables": [table]}}, "made.toml")

    listing = list_source(source, Jail(root))
    (record,) = Expand(source, Jail(root), KEY)(listing.entries[0])

    assert (record.official, record.laterality) == ("test", "left")


def test_files_a_dicom_tree_may_leave_unused_are_not_opened(root):
    """`ignore` names reports and spreadsheets between the images."""
    (root / "t.csv").write_text("key,finding\n1.2.1,Mass\n")
    (root / "readme.txt").write_text("about")

    table = {"by": "sop_uid", "label": "finding"}

    assert codes(listed(root, table)) == {"readme.txt": "file.not_an_image"}
    assert codes(listed(root, table, ignore=["*.txt"])) == {}
