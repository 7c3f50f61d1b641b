"""From a listed file to records: labels, masks, slices, names."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PIL import Image

from medtrinity25m.keys import Key
from medtrinity25m.readers.entry import Refusal
from medtrinity25m.readers.expand import Expand
from medtrinity25m.readers.layouts import list_source
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import load_source


@pytest.fixture
def expanded(source_toml, tmp_path):
    """List and expand the folder `data` by a TOML; records and refusals in order of paths."""

    def make(text: str, **more):
        source = load_source(source_toml(text, **more))
        jail = Jail(tmp_path / "data")
        expand = Expand(source, jail, Key(b"k" * 16))
        found = [expand(entry) for entry in list_source(source, jail).entries]
        return [record for part in found for record in ([part] if isinstance(part, Refusal) else part)]

    return make


@pytest.fixture
def volume(tmp_path):
    """Write a pair of volumes: six axial slices, label 1 on slices 1–4, label 2 on slice 3 only."""
    labels = np.zeros((8, 8, 6), np.uint8)
    labels[2:5, 2:5, 1:5] = 1
    labels[6, 6, 3] = 2
    noise = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    for name, data in (("imagesTr/a_0000.nii.gz", noise), ("labelsTr/a.nii.gz", labels)):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(data, np.diag([1.0, 2.0, 3.0, 1.0]))
        image.set_qform(image.affine, 1)
        image.to_filename(path)
    return tmp_path


PAIRS = (
    '[layout]\nkind = "nifti_pairs"\nmasks = "labelsTr/{case}.nii.gz"\n[labels]\n1 = "liver"\n2 = ["liver", "cyst"]\n'
)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ('[slices]\nkeep = "roi"', [1, 2, 3, 4]),
        ('[slices]\nkeep = "every"\nstep = 2', [0, 2, 4]),
        ('[slices]\nkeep = "largest"', [3]),
    ],
)
def test_the_slice_rule_chooses_the_planes(expanded, volume, rule, kept):
    """All, the marked ones, every n-th, the one with the largest marked area."""
    records = expanded(PAIRS + rule, modality="ct")

    assert [record.index for record in records] == kept
    assert [record.slice_index for record in records] == kept


def test_a_plane_has_the_diseases_that_are_marked_on_it(expanded, volume):
    """Label 2 is on slice 3 alone; the other slices' disease is unknown, for nobody said."""
    records = expanded(PAIRS, modality="ct")

    assert [record.disease for record in records] == ["unknown"] * 3 + ["cyst"] + ["unknown"] * 2
    assert records[3].organs == ("liver",)
    assert records[3].marks[0].labels == {"1": ("liver",), "2": ("cyst", "liver")}
    assert records[0].organs == ()
    assert records[3].marks[0].index == (3,)


def test_planes_of_a_volume_share_a_group_and_have_stable_names(expanded, volume):
    """One split for all; ids differ; the locator names axis and slice."""
    records = expanded(PAIRS, modality="ct")

    assert len({record.group for record in records}) == 1
    assert len({record.id for record in records}) == 6
    assert records[2].locator == "imagesTr/a_0000.nii.gz#axial=2"


def test_a_mask_value_nobody_explained_is_refused_by_name(expanded, volume):
    """The message names the file and the value and says what to do."""
    (refusal,) = expanded(
        '[layout]\nkind = "nifti_pairs"\nmasks = "labelsTr/{case}.nii.gz"\n[labels]\n1 = "liver"', modality="ct"
    )

    assert refusal.code == "label.unknown"
    assert "labelsTr/a.nii.gz holds value 2" in refusal.detail


def test_background_values_are_no_regions(expanded, volume):
    """A value mapped to `background` marks nothing."""
    records = expanded(
        PAIRS.split("[labels]")[0] + '[labels]\n1 = "background"\n2 = "cyst"\n[slices]\nkeep = "roi"',
        modality="ct",
    )

    assert [record.index for record in records] == [3]


def test_a_label_volume_on_another_grid_is_refused(expanded, volume):
    """A mask that does not fit would be drawn in the wrong place."""
    path = volume / "data" / "labelsTr" / "a.nii.gz"
    nibabel.Nifti1Image(np.zeros((8, 8, 7), np.uint8), np.eye(4)).to_filename(path)

    (refusal,) = expanded(PAIRS, modality="ct")

    assert refusal.code == "nifti.mask_mismatch"


def test_an_unknown_label_is_refused_with_the_nearest_terms(expanded, draw):
    """A folder called `pnuemonia`."""
    draw("data/pnuemonia/a.png")

    (refusal,) = expanded('[layout]\nkind = "folder_per_class"')

    assert refusal.code == "label.unknown"
    assert "nearest: pneumonia" in refusal.detail


@pytest.mark.parametrize(
    ("folder", "extra", "disease", "diseases"),
    [
        ("normal", "", "none", ()),
        ("unknown", 'diseases = ["glioma"]\n', "glioma", ("glioma",)),
        ("normal", 'diseases = ["glioma"]\n', "none", ()),
        ("Pneumonia", 'diseases = ["glioma"]\n', "pneumonia", ("pneumonia",)),
        ("unknown", 'diseases = ["none"]\n', "none", ()),
        ("unknown", "", "unknown", ()),
    ],
)
def test_the_primary_disease_is_the_label_s_else_the_source_s(expanded, draw, folder, extra, disease, diseases):
    """What the image's label says counts before what the source says of all images."""
    draw(f"data/{folder}/a.png")

    (record,) = expanded(extra + '[layout]\nkind = "folder_per_class"')

    assert (record.disease, record.diseases) == (disease, diseases)


def test_patients_are_pseudonyms_and_sources_may_share_them(expanded, draw):
    """The raw id is nowhere in the record; a common namespace gives a common pseudonym."""
    draw("data/normal/HOSP123_a.png")
    layout = '[layout]\nkind = "folder_per_class"\nimages = "{label}/{patient}_*"'

    one, two, alone = (
        expanded(extra + layout, name=name)[0]
        for name, extra in (("a", 'patients = "clinic"\n'), ("b", 'patients = "clinic"\n'), ("c", ""))
    )

    assert one.patient == two.patient != alone.patient
    assert "HOSP123" not in f"{one.patient}{one.group}{one.id}"


def test_instances_and_classes_in_one_picture(expanded, draw, tmp_path):
    """A class mask's marks are named by value; the largest region's disease comes first."""
    draw("data/images/a.png", size=(20, 10))
    mask = np.zeros((10, 20), np.uint8)
    mask[0:2, 0:2], mask[5:9, 5:12] = 1, 2
    (tmp_path / "data" / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "data" / "masks" / "a.png")

    (record,) = expanded('[layout]\nkind = "image_mask"\nmask_kind = "classes"\n[labels]\n1 = "polyp"\n2 = "cyst"')

    assert (record.disease, record.diseases) == ("cyst", ("cyst", "polyp"))


def test_a_modality_nobody_named_is_refused_with_the_way_out(expanded, draw):
    """Neither header nor table nor source."""
    draw("data/normal/a.png")

    (refusal,) = expanded('[layout]\nkind = "folder_per_class"', modality=None)

    assert (refusal.code, "set modality in the TOML" in refusal.detail) == ("modality.unknown", True)


def test_a_mark_of_background_is_no_region_and_a_mark_without_a_name_is_refused(expanded, draw, tmp_path):
    """An instrument is not the polyp beside it; the organ an image shows is no name for a mark on it."""
    for name in ("a", "b", "c"):
        draw(f"data/{name}.png", seed=ord(name))
    lines = ["file,kind,x,y,w,h", "a.png,polyp,1,1,4,4", "a.png,tool,8,8,4,4", "b.png,,1,1,4,4", "c.png,normal,1,1,4,4"]
    (tmp_path / "data" / "t.csv").write_text("\n".join(lines))
    text = 'organs = ["colon"]\n[layout]\nkind = "table"\nfile = "t.csv"\nimage = "file"\nlabel = "kind"\n'
    text += 'box = ["x", "y", "w", "h"]\n[labels]\ntool = "background"\n'

    record, unnamed, healthy = expanded(text)

    assert [(mark.label, mark.xyxy) for mark in record.marks] == [("polyp", (1, 1, 5, 5))]
    assert (unnamed.code, healthy.code) == ("label.region_unknown", "label.region_unknown")


def test_labels_that_contradict_each_other_are_refused(expanded, draw, tmp_path):
    """A disease and "no finding" at once."""
    draw("data/a.png")
    (tmp_path / "data" / "t.csv").write_text("file,kind\na.png,pneumonia|No Finding\n")
    text = '[layout]\nkind = "table"\nfile = "t.csv"\nimage = "file"\nlabel = "kind"\nlabel_separator = "|"\n'

    (refusal,) = expanded(text)

    assert refusal.code == "label.contradiction"


def test_another_volume_of_a_4d_file_may_be_asked_for(expanded, tmp_path):
    """The first by default; one that is not there is refused."""
    path = tmp_path / "data" / "a.nii"
    path.parent.mkdir()
    nibabel.Nifti1Image(np.arange(128, dtype=np.int16).reshape(4, 4, 4, 2), np.eye(4)).to_filename(path)
    text = '[layout]\nkind = "nifti_pairs"\nimages = "{case}.nii"\n[slices]\nvolume = '

    assert len(expanded(text + "1", modality="mri")) == 4
    assert expanded(text + "2", modality="mri")[0].code == "nifti.no_such_volume"
