"""Pairs what a row says with what a person says: statements by attribute and value, boxes by overlap."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.quality.statement import Statement

TOLERANCE = 0.1
"""Lengths and shares match within a tenth: readers who measure one lesion twice differ by about that much."""

LEAST_IOU = 0.5
"""Overlap from which on a box counts as found, the PASCAL VOC convention."""

Fact = tuple[str, str, bool]
"""Attribute, value (the unit of a measurement), and whether it is negated."""

Numbers = tuple[float, ...]

_LENGTHS = {"mm": 1.0, "cm": 10.0, "µm": 0.001}
_SIZES = ("size", "width", "height")

Box = Sequence[float]
"""COCO `[x, y, width, height]`."""


class Hits(NamedTuple):
    """How many of ours and of theirs there are, and how many are the same."""

    hits: float
    ours: float
    theirs: float


class Overlap(NamedTuple):
    """Boxes of one image: summed IoU of the pairs, pairs from 0.5 on, and how many boxes either side has."""

    iou: float
    hits: float
    ours: float
    theirs: float


def same_statements(ours: Iterable[Statement], theirs: Iterable[Statement]) -> Hits:
    """Count the statements that both make.

    A statement is its attribute, value and whether it is negated, said once or ten times, wherever in the text.
    Measurements match within a tenth, whatever their unit; of `23 × 18 mm` and `2.3 cm` the numbers that both give.
    Sizes, widths and heights are all lengths. Sentences nothing can be checked in do not count.
    """
    mine, others = _facts(ours), _facts(theirs)
    hits = sum(_pairs(mine[key], others[key]) for key in mine.keys() & others.keys())
    return Hits(hits, sum(map(len, mine.values())), sum(map(len, others.values())))


def _facts(statements: Iterable[Statement]) -> dict[Fact, list[Numbers]]:
    """Return what is stated, each measurement once; words have no numbers."""
    facts: dict[Fact, list[Numbers]] = {}
    for one in statements:
        if one.attribute == "statement":
            continue
        numbers, unit = _measured(one)
        attribute = "size" if one.attribute in _SIZES else one.attribute
        known = facts.setdefault((attribute, unit if numbers else one.value, one.negated), [])
        if numbers not in known:
            known.append(numbers)
    return facts


def _measured(one: Statement) -> tuple[Numbers, str]:
    """Return the numbers of a measurement, smallest first, lengths in millimeters; none for what is in words."""
    unit = one.unit or ""
    try:
        numbers = [float(part.strip("<>~ ")) for part in re.split("[×x]", one.value)] if unit else []
    except ValueError:
        numbers = []
    if unit in _LENGTHS:
        return tuple(sorted(round(number * _LENGTHS[unit], 6) for number in numbers)), "mm"
    return tuple(sorted(numbers)), unit


def _pairs(ours: Sequence[Numbers], theirs: Sequence[Numbers]) -> int:
    """Return how many statements about one thing can be paired, each once."""
    from scipy.optimize import linear_sum_assignment

    alike = np.array([[_alike(one, other) for other in theirs] for one in ours], dtype=np.float64)
    rows, columns = linear_sum_assignment(alike, maximize=True)
    return int(alike[rows, columns].sum())


def _alike(one: Numbers, other: Numbers) -> bool:
    """Say whether every number of the shorter statement is one of the longer, within the tolerance and each once."""
    shorter, longer = sorted((one, other), key=len)
    left = list(longer)
    for number in shorter:
        found = next((value for value in left if abs(value - number) <= TOLERANCE * max(abs(value), abs(number))), None)
        if found is None:
            return False
        left.remove(found)
    return True


def overlap(ours: Sequence[Box], theirs: Sequence[Box]) -> Overlap:
    """Pair boxes so that the summed IoU is largest (Hungarian method); what is left over counts 0."""
    if not ours or not theirs:
        return Overlap(0.0, 0, len(ours), len(theirs))
    from scipy.optimize import linear_sum_assignment

    table = iou(np.array(ours, dtype=np.float64), np.array(theirs, dtype=np.float64))
    rows, columns = linear_sum_assignment(table, maximize=True)
    paired = table[rows, columns]
    return Overlap(float(paired.sum()), int(np.count_nonzero(paired >= LEAST_IOU)), len(ours), len(theirs))


def iou(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return intersection over union of (n, 4) and (m, 4) COCO boxes, (n, m)."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, :2] + ours[:, None, 2:], theirs[None, :, :2] + theirs[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = ours[:, 2:].prod(axis=1)[:, None] + theirs[:, 2:].prod(axis=1)[None, :]
    result: NDArray[np.float64] = shared / (areas - shared)
    return result
