"""`verify` sees what is wrong with a row."""

from __future__ import annotations

import numpy as np
import pytest

from medtrinity25m.release.png import encode_image, encode_mask
from medtrinity25m.release.verify import row_faults

MASK = np.zeros((10, 20), bool)
MASK[2:5, 3:9] = True
ROI = {"bbox": [3, 2, 6, 3], "mask": {"bytes": encode_mask(MASK)}, "area_fraction": 18 / 200, "text": "a region"}
CLAIM = {
    "field": "caption",
    "start": 0,
    "end": 4,
    "attribute": "modality",
    "value": "ct",
    "verdict": "supported",
    "evidence": "metadata:modality",
}
ROW = {
    "image": {"bytes": encode_image(np.zeros((10, 20), np.uint8))},
    "width": 20,
    "height": 10,
    "rois": [ROI],
    "claims": [CLAIM],
    "local_text": "There is a region.",
    "caption": "This is a CT image.",
}


def test_a_whole_row_has_no_fault():
    """Image size, box, mask, area, texts and claims agree."""
    assert list(row_faults(ROW)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"width": 21}, "the columns say"),
        ({"rois": [ROI | {"bbox": [3, 2, 7, 3]}]}, "not the tightest"),
        ({"rois": [ROI | {"bbox": [15, 2, 6, 3], "mask": None}]}, "leaves the image"),
        ({"rois": [ROI | {"area_fraction": 0.5}]}, "area_fraction is 0.5"),
        ({"rois": [ROI | {"mask": {"bytes": encode_mask(MASK[:5])}}]}, "mask is"),
        ({"rois": [ROI | {"mask": {"bytes": b"junk"}}]}, "mask cannot be read"),
        ({"rois": [ROI | {"text": "another"}]}, "not part of local_text"),
        ({"claims": [CLAIM | {"start": 30, "end": 34}]}, "spans nothing"),
        ({"claims": [CLAIM | {"verdict": "contradicted"}]}, "is contradicted"),
    ],
)
def test_each_fault_is_said_in_words(change, fault):
    """One thing wrong gives a sentence that names it."""
    assert any(fault in said for said in row_faults(ROW | change))
