"""Reading attributes of a data set whose values may be anything: a usable value, or None; never an exception.

pydicom converts a value when it is first looked at and then raises, or warns with the value in the message.
Here a value that cannot be used is the same as one that is missing (`filled` tells them apart where that
matters), and `quiet` keeps pydicom's warnings and log lines, which may hold patient data, off the
console.
"""

from __future__ import annotations

import logging
import math
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag

READ_ERRORS = (
    ArithmeticError,  # decimal.InvalidOperation and OverflowError of DS and IS
    AttributeError,  # an ambiguous VR whose deciding attribute is missing
    EOFError,  # a nested item that ends early
    LookupError,  # KeyError of dictionaries, IndexError of short values, an unknown character set
    NotImplementedError,  # a VR pydicom does not know
    OSError,  # "No tag to read" from a nested sequence
    TypeError,  # arithmetic on an empty value
    ValueError,  # wrong lengths, wrong digits, UnicodeDecodeError
    struct.error,  # too few bytes for a binary value
)
"""What pydicom raises while it converts a value, found by flipping bits in real headers."""

Vector = tuple[float, float, float]
Cosines = tuple[float, float, float, float, float, float]
"""Row direction (the way columns run), then column direction, unit vectors in patient coordinates (LPS)."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings and log records to ourselves: they quote the values they complain about."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def value(dataset: Dataset, keyword: str | int) -> object:
    """Return the converted value of an attribute, None when it is absent, empty or cannot be converted."""
    tag = Tag(keyword)
    if tag not in dataset:
        return None
    try:
        found: object = dataset[tag].value
    except READ_ERRORS:
        return None
    return found


def filled(dataset: Dataset, keyword: str | int) -> bool:
    """Say whether an attribute is there with a value, usable or not."""
    tag = Tag(keyword)
    element = dataset.get_item(tag) if tag in dataset else None
    return element is not None and element.value not in (None, b"", "")


def text(dataset: Dataset, keyword: str | int) -> str | None:
    """Return an attribute as text, several values joined by a backslash; None when there is none."""
    found = value(dataset, keyword)
    if found is None or isinstance(found, bytes | Sequence):
        return None
    parts = found if isinstance(found, MultiValue) else [found]
    try:
        joined = "\\".join(str(part) for part in parts).strip(" \0\\")
    except READ_ERRORS:
        return None
    return joined or None


def words(dataset: Dataset, keyword: str | int) -> tuple[str, ...]:
    """Return the values of a code string attribute, upper case, blanks trimmed."""
    return tuple(part.strip(" \0").upper() for part in (text(dataset, keyword) or "").split("\\") if part.strip(" \0"))


def numbers(dataset: Dataset, keyword: str | int) -> tuple[float, ...]:
    """Return an attribute's numbers; none when one of them is not finite or no number."""
    found = value(dataset, keyword)
    parts: Iterable[object] = found if isinstance(found, MultiValue | list | tuple) else [found]
    try:
        converted = tuple(float(part) for part in parts)  # type: ignore[arg-type]
    except READ_ERRORS:
        return ()
    return converted if all(math.isfinite(number) for number in converted) else ()


def number(dataset: Dataset, keyword: str | int) -> float | None:
    """Return the first number of an attribute, or None."""
    return next(iter(numbers(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str | int) -> int | None:
    """Return an attribute that holds exactly one whole number, else None."""
    found = numbers(dataset, keyword)
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else None


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none when it is absent, empty or damaged."""
    found = None if dataset is None else value(dataset, keyword)
    return list(found) if isinstance(found, Sequence) else []


def first(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    return next(iter(items(dataset, keyword)), None)


class FrameGroups:
    """The functional groups of a multi-frame object (PS3.3 C.7.6.16): a frame's own, else the shared ones."""

    def __init__(self, dataset: Dataset) -> None:
        self._shared = first(dataset, "SharedFunctionalGroupsSequence")
        self._frames = items(dataset, "PerFrameFunctionalGroupsSequence")

    def __bool__(self) -> bool:
        return bool(self._frames) or self._shared is not None

    def macro(self, keyword: str, index: int) -> Dataset | None:
        """Return the first item of a macro's sequence for the frame with this index (from 0), or None."""
        own = first(self._frames[index], keyword) if index < len(self._frames) else None
        return own if own is not None else first(self._shared, keyword)

    def all(self, keyword: str, index: int) -> list[Dataset]:
        """Return all items of a macro's sequence for the frame with this index (from 0)."""
        own = items(self._frames[index], keyword) if index < len(self._frames) else []
        return own or items(self._shared, keyword)


FARTHEST_MM = 1e6  # a kilometre from the origin: no device has such coordinates


def vector(dataset: Dataset | None, keyword: str = "ImagePositionPatient") -> Vector | None:
    """Return three coordinates in millimetres (LPS: x to the patient's left, y back, z up), or None."""
    found = () if dataset is None else numbers(dataset, keyword)
    if len(found) != 3 or max(abs(number) for number in found) > FARTHEST_MM:
        return None
    return (found[0], found[1], found[2])


COSINE_SLACK = 0.01  # written with 6 digits or fewer; a longer vector or a wider angle (0.6°) is no rotation


def cosines(dataset: Dataset | None) -> Cosines | None:
    """Return Image Orientation (Patient) (0020,0037), or None unless it is two orthogonal unit vectors."""
    found = () if dataset is None else numbers(dataset, "ImageOrientationPatient")
    if len(found) != 6:
        return None
    row, column = found[:3], found[3:]
    with_self = [sum(a * a for a in row) - 1, sum(a * a for a in column) - 1]
    across = sum(a * b for a, b in zip(row, column, strict=True))
    if any(abs(error) > COSINE_SLACK for error in (*with_self, across)):
        return None
    return (found[0], found[1], found[2], found[3], found[4], found[5])


def normal(orientation: Cosines) -> Vector:
    """Return the unit normal of a plane, row × column: towards the head for a standard axial image."""
    rx, ry, rz, cx, cy, cz = orientation
    return (ry * cz - rz * cy, rz * cx - rx * cz, rx * cy - ry * cx)
