"""What several readers marked is one region, not several."""

from __future__ import annotations

import numpy as np

from medtrinity25m.registry import ROIRule
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.triplet import Annotation, Sample

MERGE = Locate({"drawn": ROIRule(readers="merge")})


def mask(x0: int, y0: int, x1: int, y1: int) -> Annotation:
    """Return a nodule drawn as a rectangle on 40 x 60 pixels."""
    drawn = np.zeros((40, 60), bool)
    drawn[y0:y1, x0:x1] = True
    return Annotation(label="pulmonary_nodule", mask=drawn)


def box(*corners: float, label: str = "pulmonary_nodule") -> Annotation:
    return Annotation(label=label, box=corners)


def found(sample: Sample, *marks: Annotation) -> list[tuple[int, int, int, int]]:
    """Return the boxes of the regions that become of the marks."""
    return [roi.xyxy for roi in MERGE(sample.with_(annotations=marks)).rois]


def test_outlines_of_one_nodule_are_one_region(sample):
    """Four readers, one nodule: the region is what any of them drew. Another nodule stays another."""
    marks = [mask(5, 5, 15, 15), mask(6, 4, 16, 15), mask(5, 6, 14, 16), mask(40, 20, 45, 25)]
    assert found(sample, *marks) == [(5, 4, 16, 16), (40, 20, 45, 25)]


def test_boxes_of_one_finding_are_their_median(sample):
    """Three readers' boxes are one; a box elsewhere, and one of another label, are not drawn in."""
    marks = [box(10, 10, 20, 20), box(11, 10, 21, 20), box(12, 9, 22, 20), box(40, 10, 50, 20)]
    assert found(sample, *marks, box(10, 10, 20, 20, label="mass")) == [
        (10, 10, 20, 20), (11, 10, 21, 20), (40, 10, 50, 20)
    ]  # fmt: skip


def test_without_the_rule_each_mark_is_its_own(sample):
    """Two marks of one reader that overlap are two things."""
    apart = Locate({"drawn": ROIRule()})
    assert len(apart(sample.with_(annotations=(mask(5, 5, 15, 15), mask(6, 4, 16, 15)))).rois) == 2
