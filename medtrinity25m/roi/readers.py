"""Marks that several readers made of the same things, made one.

Masks of a label are united: what any reader drew belongs to the region. Boxes of a label that overlap with an IoU of
at least 0.5, directly or by way of a third, become the median box. Instance maps say themselves what is one.

**Why** the union and not the majority: readers of a lesion differ most at its edge, and with two of four who drew it at
all a majority would drop what two saw.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from medtrinity25m.triplet import Annotation, Sample

Corners = tuple[float, float, float, float]
SAME_IOU = 0.5  # the usual bar for "the same object" (PASCAL VOC, COCO AP50)


def merged(sample: Sample) -> tuple[Annotation, ...]:
    """Return the annotations of a sample with what several readers marked taken once."""
    kept = [mark for mark in sample.annotations if mark.instances is not None]
    for label in sorted({mark.label for mark in sample.annotations}):
        own = [mark for mark in sample.annotations if mark.label == label]
        masks = [mark.mask for mark in own if mark.mask is not None]
        if masks:
            kept.append(Annotation(label=label, mask=np.logical_or.reduce(masks)))
        kept += [Annotation(label=label, box=box) for box in _boxes([mark.box for mark in own if mark.box is not None])]
    return tuple(kept)


def _boxes(boxes: list[Corners]) -> list[Corners]:
    """Return one box for each group of boxes that overlap."""
    groups: list[list[Corners]] = []
    for box in boxes:
        near = [group for group in groups if any(_iou(box, other) >= SAME_IOU for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([box, *(other for group in near for other in group)])
    sides = ([median(box[side] for box in group) for side in range(4)] for group in groups)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in sides]


def _iou(one: Corners, other: Corners) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)
