"""Where image planes lie in the patient, and how to find the plane that something drawn elsewhere belongs to.

Millimetres are patient coordinates (LPS). Pixel coordinates are (x, y), pixel centres at integers, so the
first pixel's centre is (0, 0): Image Position (Patient) is that centre (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.readers.dicom_attributes import Cosines, Vector
from medtrinity25m.readers.dicom_header import DicomHeader, Spacing
from medtrinity25m.triplet import Frozen

POSITION_MM = 0.05  # half of the last digit of coordinates with one decimal; a tenth of the finest CT pixel
DIRECTION = 1e-3  # of a cosine: 0.25 mm at the far edge of a 250 mm image, below any of its pixels
LONE_PLANE_MM = 0.5  # how far a contour may lie from a plane without neighbours: half of a thin CT slice

Points = NDArray[np.float64]


class PlaneGeometry(Frozen):
    """Where one image plane lies, and what else names it.

    Args:
        frame: index within the file, from 0 (DICOM's Referenced Frame Number counts from 1).
        spacing_mm: (row, column).
        frame_of_reference, series_uid: needed to match by geometry; None matches by reference only.
    """

    sop_uid: str
    frame: int = 0
    position: Vector | None = None
    orientation: Cosines | None = None
    spacing_mm: Spacing | None = None
    rows: int
    columns: int
    instance_number: int | None = None
    frame_of_reference: str | None = None
    series_uid: str | None = None


class PlaneIndex:
    """Planes of one series or of many, found by UID or frame of reference; built once for a whole tree.

    Args:
        planes: indices in results count along them.
    """

    def __init__(self, planes: Sequence[PlaneGeometry]) -> None:
        self.planes = planes
        self.by_uid: dict[str, list[int]] = {}
        self.in_space: dict[str, list[int]] = {}
        for at, plane in enumerate(planes):
            self.by_uid.setdefault(plane.sop_uid, []).append(at)
            if plane.frame_of_reference is not None:
                self.in_space.setdefault(plane.frame_of_reference, []).append(at)
        lost = (math.nan,) * 6
        self._origins = np.array([plane.position or lost[:3] for plane in planes]).reshape(-1, 3)
        self._cosines = np.array([plane.orientation or lost for plane in planes]).reshape(-1, 6)
        self._spacings = np.array([plane.spacing_mm or lost[:2] for plane in planes]).reshape(-1, 2)
        self._normals = np.cross(self._cosines[:, :3], self._cosines[:, 3:])
        self._reaches: dict[int, float] = {}

    def named(self, points: Points, uid: str, frame: int | None) -> int | None:
        """Return the plane with this UID (and frame, from 1) if points (n, 3) in millimetres lie in it."""
        known = [at for at in self.by_uid.get(uid, []) if frame is None or self.planes[at].frame == frame - 1]
        return self._closest(points, known)

    def nearest(self, points: Points, space: str | None) -> int | None:
        """Return the nearest plane of a frame of reference if points (n, 3) in millimetres lie in it."""
        return self._closest(points, self.in_space.get(space or "", []))

    def to_pixels(self, points: Points, at: int) -> Points:
        """Return (n, 2) x and y on a plane, by the inverse of PS3.3 C.7.6.2.1.1."""
        offset = points - self._origins[at]
        row, column = self._cosines[at, :3], self._cosines[at, 3:]
        return np.stack([offset @ row / self._spacings[at, 1], offset @ column / self._spacings[at, 0]], axis=1)

    def _closest(self, points: Points, known: list[int]) -> int | None:
        offsets = np.einsum("ij,ij->i", self._origins[known], self._normals[known])
        distances = np.abs(points @ self._normals[known].T - offsets).max(axis=0)
        distances[np.isnan(self._spacings[known, 0]) | np.isnan(distances)] = math.inf
        if not distances.size:
            return None
        best = int(distances.argmin())
        return known[best] if distances[best] <= self._reach(known[best]) else None

    def _reach(self, at: int) -> float:
        """Return half of the distance from a plane to the next parallel one of its frame of reference."""
        if at not in self._reaches:
            space = self.in_space.get(self.planes[at].frame_of_reference or "", [at])
            parallel = np.abs(self._cosines[space] - self._cosines[at]).max(axis=1) <= DIRECTION
            apart = np.abs((self._origins[space] - self._origins[at]) @ self._normals[at])
            gaps = apart[parallel & (apart > POSITION_MM)]
            self._reaches[at] = float(gaps.min()) / 2 if gaps.size else LONE_PLANE_MM
        return self._reaches[at]


def planes(header: DicomHeader, name: str = "") -> list[PlaneGeometry]:
    """Return the geometry of every frame of a file; `name` stands in for a missing SOP Instance UID."""
    return [
        PlaneGeometry(
            sop_uid=header.sop_uid or name,
            frame=index,
            position=frame.position,
            orientation=frame.orientation,
            spacing_mm=frame.spacing_mm,
            rows=header.rows,
            columns=header.columns,
            instance_number=header.instance_number,
            frame_of_reference=header.frame_of_reference,
            series_uid=header.series_uid,
        )
        for index, frame in enumerate(header.geometry)
    ]
