"""The measured describer: texts of every kind of picture, as a radiologist would write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from pydicom.data import get_testdata_file
from scipy import ndimage

from cases import (
    LESION,
    MAKERS,
    SOFT_TISSUE,
    alike,
    assert_clean_sentences,
    bare,
    ct,
    dermoscopy,
    described,
    disc,
    expert,
    fundus,
    histology,
    many,
    mr,
    shaded,
    ultrasound,
    xray,
)
from medtrinity25m import __version__
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.errors import RefusedError
from medtrinity25m.pipeline import Stage, each
from medtrinity25m.triplet import Annotation, Sample

DIFFER = {"width", "height", "area_share", "position_horizontal", "position_vertical"}
DIFFER |= {"intensity", "texture", "margin", "shape"}
FIELDS = ("global_text", "local_text", "relation_text", "caption")


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def case(request: pytest.FixtureRequest) -> Sample:
    """Each kind of picture, described."""
    sample: Sample = request.param()
    return sample


def test_the_four_texts_are_clean_sentences(case: Sample) -> None:
    """Capital first, period last, no double blank or comma, no template word, American spelling."""
    assert_clean_sentences(case)


def test_the_fields_belong_together(case: Sample) -> None:
    """Each region's text stands in the local text, and that in the caption; relations take two sentences."""
    for roi in case.rois:
        assert (roi.text or "") in (case.local_text or "")
    assert (case.local_text or "") in (case.caption or "")
    assert (case.relation_text or "") in (case.caption or "")
    assert (case.relation_text or "").count(". ") <= 1
    assert case.provenance is not None
    assert (case.provenance.describer, case.provenance.pipeline_version) == ("measured", __version__)


def test_no_length_is_claimed_without_spacing(case: Sample) -> None:
    """Millimeters and micrometers appear exactly where spacing is known."""
    lengths = re.search(r"\b(mm|µm)\b", f"{case.global_text} {case.local_text} {case.relation_text}")

    assert (lengths is not None) == (case.spacing_mm is not None)


def test_the_patients_side_is_named_only_where_it_is_fixed(case: Sample) -> None:
    """Without a known orientation, and on slides, no text speaks of the patient."""
    fixed = case.image_left is not None and case.modality not in ("histopathology", "microscopy")

    assert ("patient" in (case.caption or "")) == fixed


def test_the_global_text_ignores_the_regions(case: Sample) -> None:
    """It is the same when nothing is marked."""
    without = MeasuredDescriber()(case.with_(rois=(), claims=()))

    assert without.global_text == case.global_text


def test_describing_again_changes_nothing(case: Sample) -> None:
    """Equal facts give equal text, and a described sample can be described."""
    assert MeasuredDescriber()(case).digest() == case.digest()


# ---- what is said of each kind of picture


def test_ct_speaks_of_density_and_hu() -> None:
    """The window, the size, the attenuation, in radiology's words."""
    sample = ct()

    assert sample.global_text == (
        "This is an axial CT image of the liver; the patient's right side is at the left edge of the "
        "image. It is shown with a soft tissue window (center 40 HU, width 400 HU). The field of view"
        " is 195.0 × 150.0 mm (width × height). The image is labeled fatty liver."
    )
    assert sample.local_text == (
        "The region of interest, labeled lesion, lies in the left-center part of the image, at the "
        "middle of its height (toward the patient's right side), covers 1.1% of the image area, and "
        "measures 24.8 × 17.2 mm (width × height). It is oval, homogeneous, and hypodense relative to"
        " its surroundings (mean -21 HU), with a sharp margin."
    )
    assert sample.relation_text == (
        "The region of interest lies entirely in the left half of the image, 32.2 mm from its "
        "vertical midline; the right half holds no region of interest."
    )


def test_mr_speaks_of_intensity_and_of_what_lies_in_what() -> None:
    """A tumor in the hole of its edema lies inside it, and is darker than it."""
    sample = mr()

    assert "hypointense relative to its surroundings" in (sample.rois[-1].text or "")
    assert "The third region lies inside the first region." in (sample.relation_text or "")


def test_ultrasound_speaks_of_echoes() -> None:
    """The breast's side is known, the patient's left and right in the picture are not."""
    sample = ultrasound()

    assert "ultrasound image of the right breast" in (sample.global_text or "")
    assert "hypoechoic relative to its surroundings, with an ill-defined margin" in (sample.local_text or "")


def test_radiographs_speak_of_light_and_of_the_box() -> None:
    """A box is told as a box; what it holds is lighter than what is around it."""
    sample = xray()

    assert "The image is labeled pneumonia and pleural effusion." in (sample.global_text or "")
    assert "its box covers 6.0% of the image area and measures 54 × 58 pixels" in (sample.local_text or "")
    assert "The area within the box is lighter than its surroundings." in (sample.local_text or "")
    assert not re.search(r"\b(sharp|round|oval|irregular)|geneous", sample.caption or "")


def test_a_union_of_many_instances_reads_as_one() -> None:
    """125 nuclei in one region, on a scale of micrometers."""
    sample = histology()

    assert sample.local_text is not None
    assert sample.local_text.startswith(
        "The region of interest, labeled cell nucleus, unites 125 cell nuclei that together cover 19.5% of "
        "the image area; the box around them measures"
    )
    assert sample.local_text.endswith("They are darker than their surroundings.")
    assert "130.0 × 100.0 µm" in (sample.global_text or "")
    assert {claim.evidence for claim in sample.claims if claim.attribute == "count"} == {"metadata:rois.count"}


def test_many_regions_are_counted_and_the_largest_told() -> None:
    """Sixty-one regions make a paragraph a person reads: counts, sizes, and the three largest."""
    sample = many()

    assert sample.local_text is not None
    assert sample.local_text.startswith(
        "There are 61 annotated regions of interest: 60 labeled cell nucleus and one labeled blood vessel. Together"
    )
    assert [roi.label for roi in sample.rois if roi.text] == ["cell_nucleus", "cell_nucleus", "vessel"]
    assert "The largest region, labeled blood vessel, is centered in" in sample.local_text
    assert len(sample.local_text.split()) < 160


def test_a_corner_is_called_a_corner() -> None:
    """The five-bin words of a corner make one phrase."""
    assert "The first region lies in the upper left part of the image" in (alike().local_text or "")


def test_a_healthy_picture_is_labeled_so_and_an_unknown_one_is_not_labeled() -> None:
    """`none` and `unknown` are different facts."""
    assert "The image is labeled as showing no disease." in (fundus().global_text or "")
    assert "image is labeled" not in (ultrasound().caption or "")
    assert "disease" not in (bare().caption or "")


def test_the_disease_is_a_label_and_never_a_finding() -> None:
    """The name of the disease stands behind `labeled`, nowhere else."""
    for sample, disease in ((ct(), "fatty liver"), (mr(), "glioma"), (dermoscopy(), "melanoma")):
        text = sample.caption or ""
        assert text.count(disease) == text.count(f"labeled {disease}") > 0


def test_without_regions_the_text_says_so() -> None:
    """No region, no relation."""
    sample = bare()

    assert sample.local_text == "No region of interest is annotated in this image."
    assert sample.relation_text is None


def test_a_model_found_region_is_never_called_annotated() -> None:
    """A model's guess does not look like a radiologist's mask."""
    sample = expert()

    assert "annotated" not in (sample.caption or "")
    assert "located by the expert model cyto3" in (sample.local_text or "")
    assert sample.provenance is not None
    assert sample.provenance.experts == ("cyto3",)


def test_window_values_have_no_unit_where_nothing_is_calibrated() -> None:
    """HU is said of calibrated CT only."""
    sample = described(shaded(), window=SOFT_TISSUE)

    assert "(center 40, width 400)" in (sample.global_text or "")
    assert "HU" not in (sample.caption or "")


def test_a_lookup_table_has_no_center_and_width() -> None:
    """A VOI LUT is not told as a window."""
    assert "center" not in (described(shaded(), window=SOFT_TISSUE.with_(name="voi_lut")).caption or "")


def test_tiny_and_huge_shares_are_not_rounded_away() -> None:
    """Less than 0.1% is not 0.0%, nearly everything is not everything."""
    dot = disc(50, 50, 2)

    assert "covers less than 0.1% of the image area" in (
        described(shaded(), Annotation(label="lesion", mask=dot)).caption or ""
    )
    assert "occupies more than 99.9% of" in (
        described(shaded(), Annotation(label="lung", mask=~disc(0, 0, 1))).caption or ""
    )


def test_large_boxes_and_equal_sizes_read_well() -> None:
    """A large box among others is introduced as one; nine boxes of one size have one share."""
    boxes = [(10.0 + 25 * i, 20.0, 25.0 + 25 * i, 35.0) for i in range(9)]
    nine = described(shaded(), *[Annotation(label="nodule", box=box) for box in boxes])
    large = Annotation(label="mass", box=(5.0, 5.0, 250.0, 150.0))
    ten = described(shaded(), large, *[Annotation(label="nodule", box=box) for box in boxes])

    assert "Together they cover 3.9% of the image area, each of them 0.4%." in (nine.local_text or "")
    assert "The largest region, labeled mass and given as a box, occupies 68.3%" in (ten.local_text or "")
    assert_clean_sentences(ten)


def test_a_sample_that_was_not_decoded_is_refused() -> None:
    """Nothing is measured without pixels."""
    with pytest.raises(RefusedError) as refusal:
        MeasuredDescriber()(bare().with_(pixels=None))

    assert refusal.value.code == "description.no_pixels"


@settings(deadline=None, max_examples=40)
@given(LESION, LESION)
def test_two_different_lesions_never_share_a_text(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    """Lesions that differ in what is measured (a pixel of size, a tenth of a percent) read differently."""
    samples = [
        described(shaded((disc(*lesion[:4]), lesion[4])), Annotation(label="lesion", mask=disc(*lesion[:4])))
        for lesion in (one, other)
    ]
    measured = [
        [(claim.attribute, claim.value) for claim in sample.claims if claim.attribute in DIFFER] for sample in samples
    ]

    assert (samples[0].local_text == samples[1].local_text) == (measured[0] == measured[1])
    if samples[0].rois[0].coco()[2:] != samples[1].rois[0].coco()[2:]:
        assert samples[0].local_text != samples[1].local_text


def test_describing_is_a_stage(assert_stage: Callable[[Stage, Sequence[Sample]], list[Sample]]) -> None:
    """The law of stages holds for each(MeasuredDescriber())."""
    samples = [maker().with_(id=str(number)) for number, maker in enumerate((ct, xray, bare))]

    assert_stage(each(MeasuredDescriber()), samples)


# ---- a real scan


def test_a_real_liver_lesion() -> None:
    """The lesion outlined on an abdominal MR (pydicom's overlay example): its size, side and look."""
    dataset = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False))
    parts, number = ndimage.label(dataset.overlay_array(0x6000), np.ones((3, 3)))
    filled = [ndimage.binary_fill_holes(parts == part) for part in range(1, number + 1)]
    mask = max(filled, key=lambda whole: int(whole.sum()))
    center, width = float(dataset.WindowCenter[0]), float(dataset.WindowWidth[0])
    linear = ((dataset.pixel_array - (center - 0.5)) / (width - 1) + 0.5) * 255
    row, column = map(float, dataset.PixelSpacing)

    sample = described(
        np.clip(np.round(linear), 0, 255).astype(np.uint8),
        Annotation(label="lesion", mask=mask),
        modality="mri",
        view="axial",
        organs=("abdomen",),
        spacing_mm=(row, column),
        image_left="right",
    )

    assert sample.rois[0].coco() == [46, 139, 35, 35]
    assert sample.local_text == (
        "The region of interest, labeled lesion, lies in the left part of the image, at the middle of"
        " its height (toward the patient's right side), covers 0.6% of the image area, and measures "
        "25.3 × 25.3 mm (width × height). It is round and heterogeneous."
    )
