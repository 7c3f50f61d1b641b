"""The DICOM tree layout: copies, burned-in text, places in a series, body parts."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medtrinity25m.build import build
from medtrinity25m.progress import Reporter
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import load_source
from medtrinity25m.release.status import quarantine_rows

TREE = '[layout]\nkind = "dicom_tree"\n'


@pytest.fixture
def tree(tmp_path):
    """Write copies of a real CT file below `data`, with changed elements."""

    def write(name: str, test_file: str = "CT_small.dcm", **elements):
        data = pydicom.dcmread(get_testdata_file(test_file, download=False))
        data.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[name])
        for keyword, value in elements.items():
            setattr(data, keyword, value)
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path)
        return path

    return write


@pytest.fixture
def built(source_toml, config_for, tmp_path):
    """Build the tree and return the manifest and the refusals."""

    def make(text: str = TREE):
        config = config_for(source_toml(text, modality="ct"), tmp_path / "data")
        manifest = build(config, reporter=Reporter(quiet=True)).manifest
        return manifest, {row["path"]: row["code"] for row in quarantine_rows(config.folder)}

    return make


def test_a_damaged_copy_does_not_take_the_good_one_with_it(tree, built):
    """Two files with one SOP Instance UID: the one that decodes is kept, the other has its own reason."""
    good = tree("b_good.dcm", "MR_small_jp2klossless.dcm", SOPInstanceUID="1.2.3")
    data = bytearray(good.read_bytes())
    start = data.index(b"\xff\x4f\xff\x51")
    data[start + 60 : start + 400] = bytes(340)
    (good.parent / "a_bad.dcm").write_bytes(data)

    manifest, refused = built()

    assert manifest["rows"] == {"read": 2, "written": 1, "rejected": 1}
    assert refused == {"a_bad.dcm": "dicom.decode"}


def test_an_image_that_says_it_holds_identifying_text_is_refused_unless_the_source_keeps_it(tree, built, tmp_path):
    """Burned In Annotation (0028,0301) is YES; a source may say that its images were cleaned."""
    tree("a.dcm")
    tree("b.dcm", BurnedInAnnotation="YES", PixelData=np.arange(128 * 128, dtype="<i2").tobytes())

    manifest, refused = built()
    assert (manifest["rows"]["written"], refused) == (1, {"b.dcm": "dicom.burned_in"})

    source = load_source(tmp_path / "made.toml")
    assert source.burned_in == "refuse"


def test_a_series_is_placed_by_geometry_and_a_foreign_file_is_refused(tree, source_toml, tmp_path):
    """Names say nothing; a text file among DICOM files is not lost without a word."""
    for name, z in (("z9", 10.0), ("a1", 30.0), ("m5", 20.0)):
        tree(f"deep/{name}", ImagePositionPatient=[0, 0, z])
    (tmp_path / "data" / "note.txt").write_text("hello")

    listing = list_source(load_source(source_toml(TREE, modality="ct")), Jail(tmp_path / "data"))

    places = {entry.path: entry.places for entry in listing.entries}
    ends = [places["deep/z9"][0], places["deep/a1"][0]]
    assert sorted(ends) == [0, 2]
    assert places["deep/m5"] == {0: 1}
    assert [refusal.path for refusal in listing.refusals] == ["note.txt"]


@pytest.mark.parametrize(("part", "organs"), [("ABDOMEN", {"liver": 1}), ("HEAD", {"head": 1}), ("", {"liver": 1})])
def test_a_header_that_names_another_place_counts_before_the_source(tree, built, part, organs):
    """A head is no liver, whatever the TOML says of the collection; an abdomen is where the liver is."""
    tree("a.dcm", BodyPartExamined=part)

    assert built('organs = ["liver"]\n' + TREE)[0]["organs"] == organs
