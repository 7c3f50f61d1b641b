"""Several experts on one image: the majority decides, agreement is the score."""

from __future__ import annotations

import numpy as np
import pytest

from medtrinity25m.roi.vote import vote
from medtrinity25m.triplet import Annotation


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """Return a mask of 20 x 30 pixels with a filled rectangle."""
    mask = np.zeros((20, 30), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def mark(mask: np.ndarray, label: str = "lung") -> Annotation:
    return Annotation(label=label, mask=mask, score=0.9, expert="whoever")


def test_two_that_agree_keep_what_both_cover():
    """Of two masks the majority is what both cover; the score is their IoU."""
    found = vote({"a": [mark(square(2, 2, 12, 12))], "b": [mark(square(4, 2, 14, 12))]}, "lung", 20, 30)
    assert [one.expert for one in found] == ["a+b"]
    assert (found[0].mask == square(4, 2, 12, 12)).all()
    assert found[0].score == pytest.approx(80 / 120)


def test_one_of_two_is_no_majority():
    """What only one of two experts sees is left out: half is not more than half."""
    assert vote({"a": [mark(square(2, 2, 12, 12))], "b": []}, "lung", 20, 30) == []


def test_two_of_three_are_and_the_third_lowers_the_score():
    """The expert that saw nothing counts as a pair without overlap."""
    found = vote({"a": [mark(square(2, 2, 12, 12))], "b": [mark(square(2, 2, 12, 12))], "c": []}, "lung", 20, 30)
    assert [(one.expert, one.score) for one in found] == [("a+b", pytest.approx(1 / 3))]


def test_regions_apart_are_not_the_same_region():
    """Two experts that point at different places agree on nothing."""
    assert vote({"a": [mark(square(0, 0, 5, 5))], "b": [mark(square(20, 10, 25, 15))]}, "lung", 20, 30) == []


def test_the_parts_of_a_mask_are_judged_one_by_one():
    """Both see the left lung, only one the right: the left stays."""
    both, left = square(1, 1, 8, 10) | square(15, 1, 22, 10), square(1, 1, 8, 10)
    found = vote({"a": [mark(both)], "b": [mark(left)]}, "lung", 20, 30)
    assert len(found) == 1
    assert (found[0].mask == left).all()


def test_boxes_become_the_median_box():
    """A box against a mask is compared as a box; there is no mask to keep then."""
    boxes = [(2.0, 2.0, 12.0, 12.0), (3.0, 2.0, 13.0, 12.0), (4.0, 2.0, 14.0, 12.0)]
    marks = {name: [Annotation(label="mass", box=box)] for name, box in zip("abc", boxes, strict=True)}
    found = vote(marks, "mass", 20, 30)
    assert [one.box for one in found] == [(3.0, 2.0, 13.0, 12.0)]
    mixed = vote({"a": [mark(square(2, 2, 12, 12), "mass")], "b": marks["a"]}, "mass", 20, 30)
    assert mixed[0].box == (2.0, 2.0, 12.0, 12.0)
    assert mixed[0].score == pytest.approx(1.0)


def test_instances_are_matched_one_to_one():
    """Two nuclei that touch stay two, each matched with its own partner."""
    first = np.zeros((20, 30), np.int32)
    first[2:8, 2:8], first[2:8, 8:14] = 1, 2
    second = np.zeros((20, 30), np.int32)
    second[2:8, 2:8], second[2:8, 8:14] = 7, 3
    marks = {name: [Annotation(label="cell_nucleus", instances=map_)] for name, map_ in (("a", first), ("b", second))}
    found = vote(marks, "cell_nucleus", 20, 30)
    assert len(found) == 2
    assert all(one.score == pytest.approx(1.0) for one in found)


def test_other_labels_do_not_vote():
    """A mark with another label is not looked at."""
    marks = {"a": [mark(square(2, 2, 12, 12))], "b": [mark(square(2, 2, 12, 12), "heart")]}
    assert vote(marks, "lung", 20, 30) == []
