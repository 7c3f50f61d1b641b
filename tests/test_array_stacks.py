"""The arrays layout: stacks with labels and masks, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from medtrinity25m.keys import Key
from medtrinity25m.readers.entry import Refusal
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import parse_source

KEY = Key(b"a key for tests, sixteen bytes and more")
IMAGES = np.random.default_rng(0).integers(0, 255, (3, 32, 32), np.uint8)
NPZ = {
    "file": "{case}.npz",
    "images": "{split:train|test}_images",
    "labels": "{split}_labels",
    "label_prefix": "{case}:",
}


@pytest.fixture
def listed(tmp_path):
    """List what was saved."""

    def make(layout=NPZ, **more):
        base = {"id": "made", "title": "Made", "license": "CC0-1.0", "redistribution": "images", "egress": "any"}
        source = parse_source(
            base | {"modality": "xray", "layout": {"kind": "arrays"} | layout, "labels": more}, "made.toml"
        )
        return source, list_source(source, Jail(tmp_path))

    return make


def codes(listing):
    return {refusal.path: refusal.code for refusal in listing.refusals}


def test_each_image_of_a_stack_has_its_label_and_the_split_of_its_member(listed, tmp_path):
    """The prefix keeps the numbers of two sets apart."""
    np.savez(tmp_path / "lung.npz", train_images=IMAGES, train_labels=np.array([[0], [1], [1]]))

    source, listing = listed(**{"lung:0": "none", "lung:1": "pneumonia"})

    (entry,) = listing.entries
    assert (entry.path, entry.split) == ("lung.npz!/train_images", "train")
    records = Expand(source, Jail(tmp_path), KEY)(entry)
    assert [record.disease for record in records] == ["none", "pneumonia", "pneumonia"]
    assert listing.refusals == []


def test_a_row_of_zeros_and_ones_names_its_columns(listed, tmp_path):
    """A row of zeros is the prefix with "none" where that is a label, else nothing."""
    np.savez(tmp_path / "c.npz", test_images=IMAGES, test_labels=np.array([[1, 0], [1, 1], [0, 0]]))

    assert listed()[1].entries[0].frame_labels == {0: ("c:0",), 1: ("c:0", "c:1")}
    assert listed(**{"c:none": "none"})[1].entries[0].frame_labels[2] == ("c:none",)


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (np.zeros((2, 1), int), "arrays.label_count"),
        (np.zeros((4, 1), int), "arrays.label_count"),
        (np.zeros((0, 1), int), "arrays.label_count"),
        (np.zeros((3, 2, 2), int), "arrays.labels"),
        (np.array(1), "arrays.labels"),
        (np.array([[0, 1], [1, 0], [0, -1]]), "arrays.labels"),
        (np.array([[0, 2], [1, 0], [0, 1]]), "arrays.labels"),
        (np.array([[0.5], [1], [0]]), "arrays.values"),
        (np.array([["a", "b"]] * 3), "arrays.labels"),
        (np.array([{"a": 1}, None, None], dtype=object), "arrays.object"),
    ],
)
def test_labels_that_do_not_belong_to_the_images_refuse_the_stack(listed, tmp_path, labels, code):
    """Fewer, more, of another shape, or neither 0 nor 1: none of them is the right image's for sure."""
    np.savez(tmp_path / "c.npz", train_images=IMAGES, train_labels=labels)

    listing = listed()[1]

    assert listing.entries == []
    assert codes(listing)["c.npz!/train_images"] == code


def test_one_bad_stack_of_a_file_leaves_the_others(listed, tmp_path):
    """The test images have no labels in the file."""
    np.savez(tmp_path / "c.npz", train_images=IMAGES, train_labels=np.arange(3), test_images=IMAGES)

    listing = listed()[1]

    assert [entry.path for entry in listing.entries] == ["c.npz!/train_images"]
    assert codes(listing) == {"c.npz!/test_images": "file.missing"}


def test_arrays_that_nothing_names_are_told(listed, tmp_path):
    """A split the pattern forgot would be missing without a word."""
    np.savez(tmp_path / "c.npz", train_images=IMAGES, train_labels=np.arange(3), val_images=IMAGES)

    assert codes(listed()[1]) == {"c.npz!/val_images": "layout.unclaimed"}


def test_a_file_without_such_a_member_or_without_arrays_is_refused(listed, tmp_path):
    """The message says what it has."""
    np.savez(tmp_path / "c.npz", pictures=IMAGES)
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04")

    listing = listed()[1]

    assert codes(listing) == {"c.npz": "arrays.member_missing", "d.npz": "archive.damaged"}
    assert "it has pictures" in listing.refusals[0].detail


def test_a_stack_of_its_own_finds_labels_and_masks_beside_it(listed, tmp_path):
    """PanNuke's way; text is a label, blank text is none, a blank in a field is no second field."""
    np.save(tmp_path / "x1_images.npy", IMAGES)
    np.save(tmp_path / "x1_types.npy", np.array(["Breast", " ", "Colon"]))
    np.save(tmp_path / "x1_masks.npy", np.zeros((3, 32, 32, 2), np.int32))

    layout = {
        "file": "{case}_images.npy",
        "labels": "{case}_types.npy",
        "masks": "{case}_masks.npy",
        "mask_labels": ["cell_nucleus"],
    }
    source, listing = listed(layout)

    (entry,) = listing.entries
    assert entry.frame_labels == {0: ("Breast",), 2: ("Colon",)}
    assert [(mark.path, mark.channel) for mark in entry.marks] == [("x1_masks.npy", 0)]
    assert listing.refusals == []
    np.save(tmp_path / "x1_masks.npy", np.zeros((2, 32, 32, 2), np.int32))
    refused = Expand(source, Jail(tmp_path), KEY)(entry)
    assert isinstance(refused, Refusal)
    assert refused.code == "mask.size_mismatch"


def test_a_field_with_braces_is_not_filled_twice(listed, tmp_path):
    """A file's name is data."""
    np.savez(tmp_path / "{split}.npz", train_images=IMAGES, train_labels=np.arange(3))

    assert listed()[1].entries[0].frame_labels[0] == ("{split}:0",)
