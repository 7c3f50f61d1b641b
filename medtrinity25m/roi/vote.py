"""Several experts on one image: what most of them found stays, and how well they agree is its score.

A region is found by an expert when one of its pieces overlaps the others' with an IoU of at least 0.5 (of masks where
both have one, else of boxes). It is kept when more than half of the experts that know its label found it. Its mask is
what more than half of their masks cover, its box the median of their boxes; its score is the mean IoU over all pairs
of those experts, 0 for a pair of which one found nothing.

**Why** the agreement and not the experts' own scores: those of a threshold, a softmax and a box head mean different
things, and two experts that agree are better evidence than one that is sure of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median

import numpy as np

from medtrinity25m.roi import geometry
from medtrinity25m.roi.geometry import Mask, Piece
from medtrinity25m.triplet import XYXY, Annotation

SAME_IOU = 0.5  # the usual bar for "the same object" (PASCAL VOC, COCO AP50)


def vote(marks: Mapping[str, Sequence[Annotation]], label: str, height: int, width: int) -> list[Annotation]:
    """Return the regions called `label` that most experts agree on.

    Args:
        marks: the marks of every expert that knows the label, by its id; an expert may have none.
        label: vocabulary id; marks with another label are not looked at.
        height: rows of the image.
        width: its columns.

    Returns:
        Marks whose `expert` names all that found the region, joined with `+`.
    """
    found = [
        (expert, piece)
        for expert, own in sorted(marks.items())
        for mark in own
        if mark.label == label
        for piece in _pieces(mark, height, width)
    ]
    groups: list[dict[str, _Piece]] = []
    for expert, piece in found:
        ranked = sorted(
            (group for group in groups if expert not in group),
            key=lambda group: -max(_iou(piece, other) for other in group.values()),
        )
        if ranked and max(_iou(piece, other) for other in ranked[0].values()) >= SAME_IOU:
            ranked[0][expert] = piece
        else:
            groups.append({expert: piece})
    pairs = len(marks) * (len(marks) - 1) / 2
    agreed = [group for group in groups if 2 * len(group) > len(marks)]
    return [mark for group in agreed if (mark := _consensus(group, label, pairs, height, width)) is not None]


class _Piece:
    """A box, with its mask where there is one."""

    def __init__(self, xyxy: XYXY, mask: Mask | None) -> None:
        self.xyxy, self.mask = xyxy, mask


def _pieces(mark: Annotation, height: int, width: int) -> list[_Piece]:
    if mark.box is not None:
        return [_Piece(geometry.clip(mark.box, height, width), None)]
    pieces: list[Piece] = []
    if mark.mask is not None:
        pieces = geometry.components(mark.mask)
    elif mark.instances is not None:
        pieces = geometry.instances(mark.instances)
    return [_Piece(piece.xyxy, piece.mask) for piece in pieces]


def _iou(one: _Piece, other: _Piece) -> float:
    """Return the intersection over union of two pieces: of their masks where both have one, else of their boxes."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = one.xyxy, other.xyxy
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    if x0 >= x1 or y0 >= y1:
        return 0.0
    if one.mask is None or other.mask is None:
        both = (x1 - x0) * (y1 - y0)
        return both / (geometry.box_area_px(one.xyxy) + geometry.box_area_px(other.xyxy) - both)
    mine = one.mask[y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    theirs = other.mask[y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    both = int(np.count_nonzero(mine & theirs))
    return both / (int(np.count_nonzero(one.mask)) + int(np.count_nonzero(other.mask)) - both)


def _consensus(group: Mapping[str, _Piece], label: str, pairs: float, height: int, width: int) -> Annotation | None:
    """Return what the experts of a group agree on, None where no pixel is covered by most of their masks."""
    score = sum(_iou(one, other) for one, other in combinations(group.values(), 2)) / pairs
    experts = "+".join(sorted(group))
    masks = [(piece.xyxy, piece.mask) for piece in group.values() if piece.mask is not None]
    if len(masks) < len(group):
        x0, y0, x1, y1 = (median(piece.xyxy[side] for piece in group.values()) for side in range(4))
        return Annotation(label=label, box=(x0, y0, x1, y1), expert=experts, score=score)
    covered = np.zeros((height, width), np.int32)
    for (x0, y0, x1, y1), mask in masks:
        covered[y0:y1, x0:x1] += mask
    shared = 2 * covered > len(masks)
    return Annotation(label=label, mask=shared, expert=experts, score=score) if shared.any() else None
