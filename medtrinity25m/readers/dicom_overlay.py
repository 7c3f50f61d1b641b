"""Overlay planes of an image: one bit a pixel, drawn beside the pixels (PS3.3 C.9.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.dicom_attributes import filled, integer, numbers, value
from medtrinity25m.readers.dicom_pixels import MAX_FRAME_BYTES
from medtrinity25m.readers.dicom_stream import Stream

GROUPS = range(0x6000, 0x6020, 2)  # PS3.3 C.9.2: sixteen planes at most
ROWS, COLUMNS, FRAMES, ORIGIN, FIRST_FRAME, DATA = 0x0010, 0x0011, 0x0015, 0x0050, 0x0051, 0x3000


def overlay_groups(stream: Stream) -> tuple[int, ...]:
    """Return the groups (60xx) with Overlay Data of their own; planes in unused pixel bits are retired."""
    return tuple(group for group in GROUPS if filled(stream.dataset, group << 16 | DATA))


def overlay_plane(stream: Stream, group: int, index: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return an overlay over the frame with this index (from 0), at the frame's size (rows, columns).

    Overlay Origin places it, counting from 1; what lies outside of the frame is left out. An overlay
    without a number of frames belongs to all of them; one with covers as many, from Image Frame Origin on.

    Raises:
        RefusedError: `dicom.bad_overlay` when the group has no plane, or fewer bits than it describes.
    """
    plane = np.zeros(size, dtype=np.bool_)
    drawn = _bits(stream, group, index)
    if drawn is None:
        return plane
    origin = numbers(stream.dataset, group << 16 | ORIGIN)
    top, left = (int(origin[0]) - 1, int(origin[1]) - 1) if len(origin) == 2 else (0, 0)
    rows = slice(max(top, 0), max(min(top + drawn.shape[0], size[0]), 0))
    columns = slice(max(left, 0), max(min(left + drawn.shape[1], size[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        plane[rows, columns] = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return plane


def _bits(stream: Stream, group: int, index: int) -> NDArray[np.bool_] | None:
    """Return the overlay's own pixels, (rows, columns) of its own, None when it does not cover the frame."""
    dataset, base = stream.dataset, group << 16
    rows, columns = integer(dataset, base | ROWS) or 0, integer(dataset, base | COLUMNS) or 0
    frames, first = integer(dataset, base | FRAMES), integer(dataset, base | FIRST_FRAME) or 1
    frame = 0 if frames is None else index - (first - 1)
    if frames is not None and not 0 <= frame < frames:
        return None
    size = rows * columns
    data = value(dataset, base | DATA)
    if not isinstance(data, bytes) or not 0 < size <= MAX_FRAME_BYTES or (frame + 1) * size > len(data) * 8:
        raise RefusedError("dicom.bad_overlay", f"group {group:04X} does not hold the overlay plane that it describes")
    packed = np.frombuffer(data, dtype=np.uint8)
    if not stream.syntax.is_little_endian and len(data) % 2 == 0 and stream.elements[base | DATA].vr == "OW":
        packed = packed.view(np.uint16).byteswap().view(np.uint8)
    start = frame * size
    unpacked = np.unpackbits(packed[start // 8 : -(-(start + size) // 8)], bitorder="little")
    return unpacked[start % 8 : start % 8 + size].reshape(rows, columns).astype(np.bool_)
