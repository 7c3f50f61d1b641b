"""Marks become regions: by component, by instance, by label, by box, or the image as a whole."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.pipeline import Stage, each
from medtrinity25m.registry import ROIRule
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.triplet import ROI, Annotation, Sample

HEIGHT, WIDTH = 20, 30


def drawn(*marks: Annotation, **columns: Any) -> Sample:
    """A gray sample of 20 x 30 pixels with the marks given."""
    pixels = columns.pop("pixels", np.full((HEIGHT, WIDTH), 90, np.uint8))
    known = {"id": "a", "locator": "a.png", "modality": "ct", "source": "drawn", "license": "CC0-1.0"}
    return Sample(**(known | columns), pixels=pixels, annotations=marks)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A mask of 20 x 30 pixels, true in one box."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def located(sample: Sample, rule: str = "components", **least: float) -> tuple[ROI, ...]:
    """The regions of a sample by a rule."""
    return Locate({"drawn": ROIRule(rule=rule, **least)})(sample).rois  # type: ignore[arg-type]


@settings(deadline=None)
@given(arrays.arrays(np.bool_, (HEIGHT, WIDTH)))
def test_regions_of_a_mask_are_scipys_components(mask: np.ndarray) -> None:
    """Number, boxes, areas and masks of the regions are those of scipy on the same mask, in reading order."""
    labels, _ = ndimage.label(mask)
    places = ndimage.find_objects(labels)
    expected = sorted(
        (place[0].start, place[1].start, int((labels == number).sum()) / mask.size)
        for number, place in enumerate(places, 1)
    )

    rois = located(drawn(Annotation(label="lesion", mask=mask)))

    assert expected == sorted((roi.xyxy[1], roi.xyxy[0], roi.area_fraction) for roi in rois)
    assert [(roi.xyxy[1], roi.xyxy[0]) for roi in rois] == sorted((roi.xyxy[1], roi.xyxy[0]) for roi in rois)
    united = np.zeros_like(mask)
    for roi in rois:
        full = roi.full_mask(HEIGHT, WIDTH)
        assert full is not None
        united |= full
    assert np.array_equal(mask, united)


def test_a_region_says_where_how_large_and_from_what() -> None:
    """Box, position, share and size in millimeters follow from the mask and the spacing."""
    (roi,) = located(drawn(Annotation(label="lesion", mask=rectangle(1, 2, 5, 4)), spacing_mm=(2.0, 0.5)))

    assert roi.xyxy == (1, 2, 5, 4)
    assert roi.coco() == [1, 2, 4, 2]
    assert roi.position == "left, upper"
    assert roi.area_fraction == 8 / 600
    assert roi.size_mm == (2.0, 4.0)
    assert (roi.origin, roi.count) == ("mask", 1)


def test_without_spacing_there_are_no_millimeters() -> None:
    """No size is claimed where no spacing is known."""
    assert located(drawn(Annotation(label="lesion", mask=rectangle(1, 2, 5, 4))))[0].size_mm is None


def test_every_instance_is_a_region() -> None:
    """Instances that touch stay apart under `components`."""
    instances = np.zeros((HEIGHT, WIDTH), np.int32)
    instances[2:6, 2:6], instances[2:6, 6:9] = 5, 900

    rois = located(drawn(Annotation(label="cell_nucleus", instances=instances)))

    assert [roi.xyxy for roi in rois] == [(2, 2, 6, 6), (6, 2, 9, 6)]


def test_classes_unite_instances_and_count_them() -> None:
    """Under `classes` a label has one region: the union, and how many instances are in it."""
    instances = np.zeros((HEIGHT, WIDTH), np.int32)
    instances[2:6, 2:6], instances[2:6, 6:9], instances[15:17, 20:22] = 5, 900, 3

    (roi,) = located(drawn(Annotation(label="cell_nucleus", instances=instances)), "classes")

    assert (roi.count, roi.xyxy) == (3, (2, 2, 22, 17))
    assert roi.area_fraction == 32 / 600


def test_classes_unite_masks_and_count_their_components() -> None:
    """Two components of one mask count two; a second mask that touches them is a thing of its own."""
    both = rectangle(1, 1, 4, 4) | rectangle(10, 1, 14, 4)
    marks = [Annotation(label="lesion", mask=both), Annotation(label="lesion", mask=rectangle(4, 1, 6, 4))]

    (roi,) = located(drawn(*marks), "classes")

    assert (roi.count, roi.xyxy) == (3, (1, 1, 14, 4))


def test_classes_keep_labels_apart() -> None:
    """One region for each label, in the order of the labels."""
    marks = [
        Annotation(label="tumor", mask=rectangle(1, 1, 4, 4)),
        Annotation(label="edema", mask=rectangle(9, 9, 14, 14)),
    ]

    assert [roi.label for roi in located(drawn(*marks), "classes")] == ["edema", "tumor"]


def test_boxes_of_a_class_become_the_box_around_them() -> None:
    """Boxes have no shape to unite: the region is the box around all of them, counted, without a mask."""
    marks = [
        Annotation(label="nodule", box=(1.0, 1.0, 4.0, 4.0)),
        Annotation(label="nodule", box=(8.0, 9.0, 12.0, 11.0)),
    ]

    (roi,) = located(drawn(*marks), "classes")

    assert (roi.origin, roi.mask, roi.count, roi.xyxy) == ("box", None, 2, (1, 1, 12, 11))


def test_a_box_is_kept_as_given_and_clipped() -> None:
    """A box that leaves the image is cut at its edge and covers every pixel it touches."""
    (roi,) = located(drawn(Annotation(label="mass", box=(24.5, -3.0, 99.0, 4.2))))

    assert (roi.origin, roi.mask, roi.xyxy) == ("box", None, (24, 0, 30, 5))
    assert roi.area_fraction == 30 / 600


def test_a_box_outside_the_image_refuses_the_sample() -> None:
    """Nobody's mark is dropped in silence: the row is refused, with the box in the reason."""
    sample = drawn(Annotation(label="mass", box=(40.0, 2.0, 50.0, 9.0)))

    (refused,) = each(Locate({"drawn": ROIRule()}))([sample])

    assert refused.rejected == "roi.empty_box"
    assert "40.0" in str(refused.detail)


def test_regions_are_ordered_by_label_then_from_the_top() -> None:
    """The order of the marks does not matter."""
    marks = [
        Annotation(label="tumor", mask=rectangle(1, 1, 4, 4)),
        Annotation(label="edema", mask=rectangle(9, 9, 14, 14) | rectangle(20, 2, 22, 4)),
        Annotation(label="edema", box=(3.0, 9.0, 5.0, 11.0)),
    ]

    rois = located(drawn(*marks))

    assert [(roi.label, roi.xyxy[:2]) for roi in rois] == [
        ("edema", (20, 2)),
        ("edema", (3, 9)),
        ("edema", (9, 9)),
        ("tumor", (1, 1)),
    ]
    assert [roi.xyxy for roi in rois] == [roi.xyxy for roi in located(drawn(*reversed(marks)))]


def test_components_under_an_area_in_pixels_are_dropped() -> None:
    """Nine pixels stay at a limit of nine, four go."""
    mask = rectangle(1, 1, 4, 4) | rectangle(10, 10, 12, 12)

    assert [roi.xyxy for roi in located(drawn(Annotation(label="x", mask=mask)), min_area_px=9)] == [(1, 1, 4, 4)]


def test_components_under_an_area_in_square_millimeters_are_dropped() -> None:
    """Nine pixels of 0.5 by 2 mm are 9 mm2."""
    sample = drawn(Annotation(label="lesion", mask=rectangle(1, 1, 4, 4)), spacing_mm=(0.5, 2.0))

    assert len(located(sample, min_area_mm2=9.0)) == 1
    assert located(sample, min_area_mm2=9.1) == ()


def test_small_instances_do_not_count_in_a_union() -> None:
    """What is dropped is neither in the mask nor in the count of its class."""
    instances = np.zeros((HEIGHT, WIDTH), np.int32)
    instances[2:6, 2:6], instances[9, 9] = 1, 2

    (roi,) = located(drawn(Annotation(label="cell", instances=instances)), "classes", min_area_px=2)

    assert (roi.count, roi.xyxy) == (1, (2, 2, 6, 6))


def test_square_millimeters_without_spacing_are_refused() -> None:
    """An area in millimeters cannot be applied where the size of a pixel is unknown."""
    with pytest.raises(RefusedError) as refusal:
        located(drawn(Annotation(label="lesion", mask=rectangle(1, 1, 4, 4))), min_area_mm2=9.0)

    assert refusal.value.code == "roi.no_spacing"


def test_no_spacing_is_needed_where_nothing_is_measured() -> None:
    """Images without marks, or with boxes only, pass without spacing."""
    assert located(drawn(), min_area_mm2=9.0) == ()
    assert len(located(drawn(Annotation(label="mass", box=(1.0, 1.0, 3.0, 3.0))), min_area_mm2=9.0)) == 1


def test_no_mark_makes_no_region() -> None:
    """Nothing is guessed."""
    assert () == located(drawn()) == located(drawn(), "classes")
    assert located(drawn(Annotation(label="lesion", mask=np.zeros((HEIGHT, WIDTH), bool)))) == ()


@pytest.mark.parametrize(
    ("disease", "organs", "label"),
    [("melanoma", ("skin",), "melanoma"), ("none", ("skin",), "skin"), ("unknown", ("skin",), "skin")],
)
def test_the_whole_image_is_called_by_disease_or_organ(disease: str, organs: tuple[str, ...], label: str) -> None:
    """One region over the image, called by its disease, else its first organ."""
    (roi,) = located(drawn(disease=disease, organs=organs), "whole_image")

    assert (label, "whole_image", (0, 0, WIDTH, HEIGHT), 1.0) == (
        roi.label,
        roi.origin,
        roi.xyxy,
        roi.area_fraction,
    )


def test_a_whole_image_without_a_name_has_no_region() -> None:
    """A healthy image of no named organ shows no finding."""
    assert located(drawn(disease="none"), "whole_image") == ()


def test_marks_on_a_whole_image_are_not_lost_in_silence() -> None:
    """A source that says both is refused, so that its owner settles it."""
    with pytest.raises(RefusedError) as refusal:
        located(drawn(Annotation(label="lesion", mask=rectangle(1, 1, 4, 4)), disease="melanoma"), "whole_image")

    assert refusal.value.code == "roi.unused_marks"


@pytest.mark.parametrize("kind", ["mask", "instances"])
def test_a_mask_of_another_size_is_refused(kind: str) -> None:
    """A mask that is not as large as its image belongs to another one."""
    array = np.ones((WIDTH, HEIGHT), bool if kind == "mask" else np.int32)
    with pytest.raises(RefusedError) as refusal:
        located(drawn(Annotation(label="lesion", **{kind: array})))

    assert refusal.value.code == "roi.shape_mismatch"


def test_an_unknown_source_is_a_mistake_of_the_config() -> None:
    """A sample of a source without a rule stops the run; the message names the sources that have one."""
    with pytest.raises(ConfigError, match="drawn"):
        Locate({"other": ROIRule()})(drawn())


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_equal_boxes_keep_one_order(order: list[int]) -> None:
    """Marks with one label and one box but other pixels come out in one order, whatever they came in."""
    masks = [rectangle(2, 2, 6, 6) for _ in range(4)]
    for number, mask in enumerate(masks):
        mask[3, 3 + number % 2] = number < 2
        mask[4, 4] = number % 3 == 0
    marks = [Annotation(label="lesion", mask=masks[number]) for number in order]

    rois = located(drawn(*marks), "components")

    assert [roi.mask.tobytes() for roi in rois] == sorted(roi.mask.tobytes() for roi in rois)  # type: ignore[union-attr]


def test_locating_is_a_stage(assert_stage: Callable[[Stage, Sequence[Sample]], list[Sample]]) -> None:
    """The law of stages holds for each(Locate(rules)), which pickles."""
    samples = [drawn(Annotation(label="lesion", mask=rectangle(1, 1, 4, 4))), drawn()]
    stage = Locate({"drawn": ROIRule()})

    made = assert_stage(each(stage), samples)

    assert [len(sample.rois) for sample in made] == [1, 0]
    assert stage == pickle.loads(pickle.dumps(stage))
