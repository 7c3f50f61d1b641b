"""The order of planes in space, and what is missing between them (PS3.3 C.7.6.2.1.1).

File names and the order of listing never count: any order of the input gives the same order of planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from medtrinity25m.readers.dicom_attributes import Cosines, normal
from medtrinity25m.readers.planes import DIRECTION, POSITION_MM, PlaneGeometry

WIDE_GAP = 1.5  # of the usual distance: halfway to one missing slice


def order(geometries: Sequence[PlaneGeometry]) -> list[int]:
    """Return the indices of planes in spatial order: along the normal, for axial planes from feet to head.

    Planes of another orientation follow as a group of their own, the larger group first. Planes in one place
    follow each other by Instance Number, SOP Instance UID and frame; so do the planes without a geometry, at
    the end.
    """
    groups, lost = _groups(geometries)
    return [index for group in groups for index, _ in group] + lost


def gaps(geometries: Sequence[PlaneGeometry]) -> str | None:
    """Return what keeps planes from being one complete stack, as a sentence, or None."""
    groups, lost = _groups(geometries)
    if not geometries or (lost and not groups):
        return None if len(geometries) < 2 else "No plane says where it lies."
    if lost:
        return f"{len(lost)} of {len(geometries)} planes do not say where they lie."
    if len(groups) > 1:
        sizes = ", ".join(str(len(group)) for group in groups)
        return f"The planes have {len(groups)} orientations, of {sizes} planes."
    places = [place for _, place in groups[0]]
    steps = [after - before for before, after in pairwise(places)]
    repeated = sum(step <= POSITION_MM for step in steps)
    if repeated:
        return f"{repeated} planes lie where another one lies."
    usual = sorted(steps)[len(steps) // 2] if steps else 0.0
    wide = [step for step in steps if step > WIDE_GAP * usual]
    if wide:
        missing = sum(round(step / usual) - 1 for step in wide)
        return f"About {missing} planes are missing: {len(wide)} gaps are wider than the usual {usual:.2f} mm."
    return None


def _groups(geometries: Sequence[PlaneGeometry]) -> tuple[list[list[tuple[int, float]]], list[int]]:
    """Return ordered (index, millimetres along the normal) by orientation, and the indices of the rest."""
    ranked = sorted(range(len(geometries)), key=lambda index: _name(geometries[index]))
    groups: list[tuple[Cosines, list[tuple[int, float]]]] = []
    lost: list[int] = []
    for index in ranked:
        plane = geometries[index]
        if plane.position is None or plane.orientation is None:
            lost.append(index)
            continue
        home = next((group for group in groups if _parallel(group[0], plane.orientation)), None)
        if home is None:
            home = (plane.orientation, [])
            groups.append(home)
        place = sum(a * b for a, b in zip(plane.position, normal(home[0]), strict=True))
        home[1].append((index, place))
    members = sorted((group for _, group in groups), key=len, reverse=True)
    return [_along(group) for group in members], lost


def _along(group: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Sort by place; planes nearer than what coordinates resolve keep the order of their names."""
    by_place = sorted(range(len(group)), key=lambda rank: group[rank][1])
    steps: dict[int, int] = {}
    step, before = 0, -math.inf
    for rank in by_place:
        if group[rank][1] - before > POSITION_MM:
            step, before = step + 1, group[rank][1]
        steps[rank] = step
    return [group[rank] for rank in sorted(steps, key=lambda rank: (steps[rank], rank))]


def _name(plane: PlaneGeometry) -> tuple[bool, int, str, int]:
    """Return what orders planes that nothing else orders; no Instance Number comes after any."""
    return (plane.instance_number is None, plane.instance_number or 0, plane.sop_uid, plane.frame)


def _parallel(one: Cosines, other: Cosines) -> bool:
    return all(abs(a - b) <= DIRECTION for a, b in zip(one, other, strict=True))
