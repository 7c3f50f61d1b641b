"""The layouts: what each lists from a small folder, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import load_source


@pytest.fixture
def listed(source_toml, tmp_path):
    """List the folder `data` below the test's folder by a TOML's layout."""

    def make(text: str):
        source = load_source(source_toml(text))
        return list_source(source, Jail(tmp_path / "data"))

    return make


def by_path(listing):
    return {entry.path: entry for entry in listing.entries}


def codes(listing):
    return {refusal.path: refusal.code for refusal in listing.refusals}


def write(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_per_class_labels_its_files(listed, draw):
    """Label, split and patient come from the path; a stray file is listed as unclaimed."""
    draw("data/train/covid/p1_1.png")
    draw("data/test/normal/p2_1.png")
    draw("data/stray.png")

    listing = listed('[layout]\nkind = "folder_per_class"\nimages = "{split}/{label}/{patient}_*"')

    entry = by_path(listing)["train/covid/p1_1.png"]
    assert (entry.labels, entry.split, entry.patient) == (("covid",), "train", "p1")
    assert len(listing.entries) == 2
    assert codes(listing) == {"stray.png": "layout.unclaimed"}


def test_images_find_all_their_masks_and_masks_without_image_are_told(listed, draw):
    """BUSI's way: `a.png`, `a_mask.png`, `a_mask_1.png` in one folder."""
    for name in (
        "benign/a (1).png",
        "benign/a (1)_mask.png",
        "benign/a (1)_mask_1.png",
        "benign/b_mask.png",
        "normal/c.png",
    ):
        draw(f"data/{name}")

    listing = listed('[layout]\nkind = "image_mask"\nimages = "{label}/{case}.png"\nmasks = "{label}/{case}_mask*.png"')

    assert [mark.path for mark in by_path(listing)["benign/a (1).png"].marks] == [
        "benign/a (1)_mask.png",
        "benign/a (1)_mask_1.png",
    ]
    assert by_path(listing)["normal/c.png"].marks == ()
    assert codes(listing) == {"benign/b_mask.png": "layout.mask_without_image"}


def test_pairs_are_joined_by_the_fields_both_patterns_name(listed, draw):
    """A mask of another split with the same case is not this image's."""
    for name in ("train/img/1.png", "train/seg/1.png", "test/img/1.png"):
        draw(f"data/{name}")

    listing = listed(
        '[layout]\nkind = "image_mask"\nimages = "{split}/img/{case}.png"\nmasks = "{split}/seg/{case}.png"'
    )

    assert {path: len(entry.marks) for path, entry in by_path(listing).items()} == {
        "train/img/1.png": 1,
        "test/img/1.png": 0,
    }


TABLE = """
[layout]
kind = "table"
file = "labels.csv"
image = "img/{name}.png"
label = "finding"
label_separator = "|"
label_columns = ["Edema"]
box = ["x", "y", "w", "h"]
patient = "pid"
split = "set"
"""


def test_a_table_joins_the_lines_about_one_image(listed, draw, tmp_path):
    """Two boxes on two lines are two marks; labels are united; empty box columns are no box."""
    draw("data/img/a.png")
    draw("data/img/b.png")
    write(
        tmp_path,
        "labels.csv",
        "\ufeffname,finding,Edema,x,y,w,h,pid,set\na,Mass|Nodule,0,1,2,3,4,P1,val\na,Mass,1,5,5,2,2,P1,val\nb,,,,,,,P2,\n",
    )

    listing = listed(TABLE)

    a, b = by_path(listing)["img/a.png"], by_path(listing)["img/b.png"]
    assert a.labels == ("Mass", "Nodule", "Edema")
    assert [mark.xyxy for mark in a.marks] == [(1, 2, 4, 6), (5, 5, 7, 7)]
    assert (a.patient, a.split, b.labels, b.marks, b.split) == ("P1", "val", (), (), None)
    assert listing.refusals == []


def test_a_bad_line_is_refused_by_number_and_the_others_go_on(listed, draw, tmp_path):
    """Too few cells, a box that is no number, a missing image, a path that climbs out."""
    draw("data/img/a.png")
    lines = [
        "name,finding,Edema,x,y,w,h,pid,set",
        "a,Mass,,,,,,P1,",
        "short,1",
        "a,Mass,,one,2,3,4,P1,",
        "gone,Mass,,,,,,P1,",
        "../../x,,,,,,,,",
    ]
    write(tmp_path, "labels.csv", "\n".join(lines))

    listing = listed(TABLE)

    assert [entry.path for entry in listing.entries] == ["img/a.png"]
    assert codes(listing) == {
        "labels.csv#line=3": "table.row",
        "labels.csv#line=4": "table.box",
        "labels.csv#line=5": "file.missing",
        "labels.csv#line=6": "file.outside_root",
    }


def test_a_table_may_be_tsv_or_json_lines(listed, draw, tmp_path):
    """The suffix decides; a list is a box too, and a bad JSON line costs itself only."""
    draw("data/img/a.png")
    write(tmp_path, "t.jsonl", '{"name": "a", "finding": "Mass", "where": [0.1, 0.2, 0.5, 0.6]}\nnot json\n[1]\n')

    listing = listed(
        '[layout]\nkind = "table"\nfile = "t.jsonl"\nimage = "img/{name}.png"\nlabel = "finding"\n'
        'box = ["where"]\nbox_format = "xyxy"\nbox_unit = "fraction"'
    )

    (mark,) = by_path(listing)["img/a.png"].marks
    assert (mark.xyxy, mark.unit) == ((0.1, 0.2, 0.5, 0.6), "fraction")
    assert codes(listing) == {"t.jsonl#line=2": "table.row", "t.jsonl#line=3": "table.row"}


def test_a_missing_table_is_a_config_error(listed, tmp_path):
    """The table is part of the config, not of the data."""
    (tmp_path / "data").mkdir()

    with pytest.raises(ConfigError, match=r"labels\.csv does not exist"):
        listed(TABLE)


def coco(**more):
    base = {
        "images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 32, "patient_id": "P1"}],
        "categories": [{"id": 7, "name": "polyp"}],
        "annotations": [],
    }
    return json.dumps(base | more)


def test_coco_gives_the_most_exact_mark_of_each_annotation(listed, draw, tmp_path):
    """Run-length before polygon before box; polygon coordinates move from edges to centres."""
    draw("data/images/a.png")
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": []},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "segmentation": [[1, 1, 5, 1, 5, 5]]},
        {
            "id": 3,
            "image_id": 1,
            "category_id": 7,
            "bbox": [0, 0, 9, 9],
            "segmentation": {"size": [24, 32], "counts": [10, 5, 753]},
        },
    ]
    write(tmp_path, "annotations/x.json", coco(annotations=annotations))

    listing = listed('[layout]\nkind = "coco"\npatient = "patient_id"')

    (entry,) = listing.entries
    assert [mark.kind for mark in entry.marks] == ["box", "polygon", "rle"]
    assert (entry.marks[0].xyxy, entry.marks[1].rings) == ((1, 2, 4, 6), ((0.5, 0.5, 4.5, 0.5, 4.5, 4.5),))
    assert (entry.patient, entry.labels) == ("P1", ("polyp",))


def test_coco_entries_that_cannot_be_used_are_refused_one_by_one(listed, draw, tmp_path):
    """A missing file, an unknown category, an annotation of an unlisted image; a broken JSON file is a refusal."""
    draw("data/images/a.png")
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "gone.png"}, {"id": 3, "file_name": "a.png"}]
    annotations = [
        {"image_id": 3, "category_id": 99, "bbox": [1, 2, 3, 4]},
        {"image_id": 77, "category_id": 7, "bbox": [1, 2, 3, 4]},
    ]
    write(tmp_path, "annotations/x.json", coco(images=images, annotations=annotations))
    write(tmp_path, "annotations/y.json", "{")

    listing = listed('[layout]\nkind = "coco"')

    assert len(listing.entries) == 1
    assert codes(listing) == {
        "annotations/x.json#image=2": "file.missing",
        "annotations/x.json#image=3": "coco.category",
        "annotations/x.json#image=77": "coco.image_missing",
        "annotations/y.json": "coco.json",
    }


def test_entries_are_sorted_whatever_the_folder_order(listed, draw):
    """Listing depends on names only."""
    for name in ("b", "a", "c"):
        draw(f"data/x/{name}.png")

    assert [entry.path for entry in listed('[layout]\nkind = "folder_per_class"').entries] == [
        "x/a.png",
        "x/b.png",
        "x/c.png",
    ]


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ('patient = "pid"|patient = "Pid"', "'Pid'"),
        ('label = "finding"|label = "Finding"', "'Finding'"),
        ('image = "img/{name}.png"|image = "img/{Name}.png"', "'Name'"),
        ('box = ["x", "y", "w", "h"]|box = ["X", "y", "w", "h"]', "'X'"),
        ('label_columns = ["Edema"]|label_columns = ["Oedema"]', "'Oedema'"),
    ],
)
def test_a_column_the_table_does_not_have_is_a_config_error(listed, draw, tmp_path, change, missing):
    """A typo in the TOML would otherwise lose labels, patients or boxes without a word."""
    draw("data/img/a.png")
    write(tmp_path, "labels.csv", "name,finding,Edema,x,y,w,h,pid,set\na,Mass,,,,,,P1,\n")

    with pytest.raises(ConfigError, match=f"has no column {missing}; it has: Edema, finding"):
        listed(TABLE.replace(*change.split("|")))


@pytest.mark.parametrize(
    "text",
    [
        '[layout]\nkind = "image_mask"\nimages = "{case}.png"\nmasks = "mask/{case}.png"',
        '[layout]\nkind = "nifti_pairs"\nimages = "img/{case}.nii"',
        '[layout]\nkind = "folder_per_class"\nimages = "train/{label}/*"',
    ],
)
def test_a_pattern_that_nothing_fits_is_a_config_error(listed, draw, text):
    """A typo in a pattern is told as such, with an example of what the folder holds."""
    draw("data/a.png")

    with pytest.raises(ConfigError, match="no file fits"):
        listed(text)


def test_numbers_that_are_none_are_no_box(listed, draw, tmp_path):
    """All NaN is how pandas writes blanks; a single NaN or infinity is a fault of its line."""
    for name in "abc":
        draw(f"data/img/{name}.png")
    write(
        tmp_path,
        "labels.csv",
        "name,finding,Edema,x,y,w,h,pid,set\na,Mass,,nan,nan,nan,nan,P,\nb,Mass,,nan,1,2,2,P,\nc,Mass,,inf,1,2,2,P,\n",
    )

    listing = listed(TABLE)

    assert by_path(listing)["img/a.png"].marks == ()
    assert codes(listing) == {"labels.csv#line=3": "table.box", "labels.csv#line=4": "table.box"}


def test_a_list_of_labels_in_json_lines_is_several_labels(listed, draw, tmp_path):
    """`["pneumonia", "mass"]` is two labels, not one strange word."""
    draw("data/img/a.png")
    write(tmp_path, "t.jsonl", '{"name": "a", "finding": ["pneumonia", "mass"]}\n')

    (entry,) = listed('[layout]\nkind = "table"\nfile = "t.jsonl"\nimage = "img/{name}.png"\nlabel = "finding"').entries

    assert entry.labels == ("pneumonia", "mass")


def test_odd_file_names_are_files_like_others(listed, draw):
    """Line ends, backslashes, percent and hash signs, quotes and blanks; in reasons they are made visible."""
    names = ["new\nline.png", "back\\slash.png", "100% #1.png", 'it\'s "so".png', "µm ü.png"]
    for name in names:
        draw(f"data/x/{name}")
    draw("data/stray\nfile.png")

    listing = listed('[layout]\nkind = "folder_per_class"')

    assert sorted(entry.path for entry in listing.entries) == sorted(f"x/{name}" for name in names)
    assert listing.refusals[0].detail.startswith("stray\\nfile.png")


def test_the_label_of_a_masks_path_names_its_region(listed, draw):
    """IDRiD's way: a folder a lesion, several masks an image."""
    for name in ("img/1.png", "seg/hemorrhage/1.png", "seg/exudate/1.png", "img/2.png"):
        draw(f"data/{name}")

    listing = listed('[layout]\nkind = "image_mask"\nimages = "img/{case}.png"\nmasks = "seg/{label}/{case}.png"')

    found = {path: [mark.label for mark in entry.marks] for path, entry in by_path(listing).items()}
    assert found == {"img/1.png": ["exudate", "hemorrhage"], "img/2.png": []}
    assert by_path(listing)["img/1.png"].labels == ()


def test_one_mask_may_belong_to_several_images(listed, draw):
    """Sequences of one examination on one grid; it is used once and not left over."""
    for name in ("p1/t1.png", "p1/t2.png", "p1/seg.png"):
        draw(f"data/{name}")

    listing = listed(
        '[layout]\nkind = "image_mask"\nimages = "{case}/{sequence:t1|t2}.png"\nmasks = "{case}/seg.png"\n'
        'mask_label = "lesion"'
    )

    assert [[mark.path for mark in entry.marks] for entry in listing.entries] == [["p1/seg.png"], ["p1/seg.png"]]
    assert listing.refusals == []


def test_images_and_masks_without_a_common_field_are_a_config_error(listed, draw):
    """Every mask would be every image's."""
    draw("data/img/1.png")
    draw("data/seg/1.png")

    with pytest.raises(ConfigError, match="share no field"):
        listed('[layout]\nkind = "image_mask"\nimages = "img/{case}.png"\nmasks = "seg/{id}.png"')


def test_files_that_may_lie_unused_are_not_told(listed, draw, tmp_path):
    """`ignore` is for leftovers: an image that the layout names is an image, a mask without image is let lie."""
    for name in ("img/1.png", "img/2.png", "seg/1.png", "seg/9.png", "old/1.png"):
        draw(f"data/{name}")
    write(tmp_path, "readme.txt", "about")

    listing = listed(
        'ignore = ["*.txt", "old/**", "seg/9.png", "img/2.png"]\n[layout]\nkind = "image_mask"\n'
        'images = "img/{case}.png"\nmasks = "seg/{case}.png"'
    )

    assert list(by_path(listing)) == ["img/1.png", "img/2.png"]
    assert listing.refusals == []


SPLITS = """
[split_files]
"train.txt" = "train"
"test.txt" = "test"
[layout]
kind = "folder_per_class"
images = "{label}/{patient}_*.png"
"""


def test_lists_give_the_split_by_path_name_stem_or_patient(listed, draw, tmp_path):
    """An image on two lists is a test image; one on none has no split; the lists themselves are used."""
    for name in ("x/p1_1.png", "x/p2_1.png", "x/p3_1.png", "x/p4_1.png", "x/p5_1.png"):
        draw(f"data/{name}")
    write(tmp_path, "train.txt", "\ufeffx/p1_1.png\r\n p2_1.png \n\np4_1\n")
    write(tmp_path, "test.txt", "p3\np4\n")

    listing = listed(SPLITS)

    assert [entry.split for entry in listing.entries] == ["train", "train", "test", "test", None]
    assert listing.refusals == []


def test_lists_that_name_no_image_are_a_config_error(listed, draw, tmp_path):
    """The official split would be lost without a word."""
    draw("data/x/p1_1.png")
    write(tmp_path, "train.txt", "p1_1.jpg\n")
    write(tmp_path, "test.txt", "\n")

    with pytest.raises(ConfigError, match=r"name none of the images, but for example 'p1_1\.jpg'"):
        listed(SPLITS)


def test_a_list_that_cannot_be_read_is_a_config_error(listed, draw, tmp_path):
    """Missing, or no text."""
    draw("data/x/p1_1.png")
    write(tmp_path, "train.txt", "p1\n")
    with pytest.raises(ConfigError, match=r"split list test\.txt: .*does not exist"):
        listed(SPLITS)
    (tmp_path / "data" / "test.txt").write_bytes(b"p\xff\n")
    with pytest.raises(ConfigError, match=r"split list test\.txt is not UTF-8"):
        listed(SPLITS)
