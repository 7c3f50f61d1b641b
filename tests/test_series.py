"""The order of planes comes from where they lie, never from names or from the order of listing."""

from __future__ import annotations

import random

import numpy as np
import pytest

from medtrinity25m.readers.dicom_masks import PlaneGeometry
from medtrinity25m.readers.series import gaps, order

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def plane(name: str, place: float | None = None, orientation: tuple[float, ...] = AXIAL, **more: int) -> PlaneGeometry:
    """A plane `place` mm along the normal of its orientation."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    position = None if place is None else tuple(float(x) for x in np.cross(row, column) * place + 7 * row)
    return PlaneGeometry(sop_uid=name, position=position, orientation=orientation, rows=4, columns=4, **more)


def names(planes: list[PlaneGeometry]) -> list[str]:
    return [planes[index].sop_uid for index in order(planes)]


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)])
def test_planes_are_ordered_along_their_normal(orientation: tuple[float, ...]) -> None:
    """Twenty planes whose names and instance numbers say nothing come out in space, whatever order they came in."""
    chance = random.Random(2)
    labels = chance.sample(range(1000), 20)
    stack = [plane(f"1.{label}", 2.5 * i, orientation, instance_number=label) for i, label in enumerate(labels)]
    expected = [one.sop_uid for one in stack]
    for _ in range(5):
        chance.shuffle(stack)
        assert names(stack) == expected
    assert gaps(stack) is None


def test_axial_planes_run_from_feet_to_head() -> None:
    """Along +z of the patient, also where the table was scanned the other way."""
    assert names([plane("a", 10), plane("b", -10), plane("c", 0)]) == ["b", "c", "a"]


def test_planes_in_one_place_keep_the_order_of_their_numbers() -> None:
    """Phases at one position follow Instance Number, then UID, then frame; rounding does not part them."""
    phases = [
        plane("c", 0.02, instance_number=1),
        plane("b", 0.0, instance_number=3),
        plane("a", 0.01, instance_number=3),
    ]
    assert names([*phases, plane("d", -5, instance_number=9)]) == ["d", "c", "a", "b"]
    frames = [plane("a", 0.0, frame=2), plane("a", 0.0, frame=0), plane("a", 0.0, frame=1)]
    assert order(frames) == [1, 2, 0]
    assert gaps(phases) == "2 planes lie where another one lies."


def test_planes_without_a_place_come_last_by_number() -> None:
    """A plane that does not say where it lies goes by Instance Number, then by UID."""
    stack = [plane("x"), plane("z", instance_number=2), plane("y", instance_number=10), plane("p", 3), plane("w")]
    assert names(stack) == ["p", "z", "y", "w", "x"]
    assert gaps(stack) == "4 of 5 planes do not say where they lie."


def test_orientations_are_kept_apart() -> None:
    """Mixed orientations give one group each, the larger first, and a sentence that says so."""
    stack = [plane("k", 1, CORONAL), plane("b", 2), plane("a", 1), plane("l", 0, CORONAL), plane("c", 3)]
    assert names(stack) == ["a", "b", "c", "l", "k"]
    assert gaps(stack) == "The planes have 2 orientations, of 3, 2 planes."


def test_missing_slices_are_counted() -> None:
    """A gap of more than one and a half times the usual distance is a missing plane."""
    stack = [plane(f"1.{i}", 2.5 * i) for i in (0, 1, 2, 3, 5, 6, 9)]
    assert gaps(stack) == "About 3 planes are missing: 2 gaps are wider than the usual 2.50 mm."
    assert gaps([plane("a", 0.0)]) is None
    assert gaps([]) is None
    assert gaps([plane("a"), plane("b")]) == "No plane says where it lies."
